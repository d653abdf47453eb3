"""Keys as people write them, and a key table with other keys in it.

A settings file may name a key as help shows it (`Ctrl-d`, `PgDn`, `?`) or as
textual does (`ctrl+d`, `pagedown`, `question_mark`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from textual.keys import Keys, _character_to_key

from tdxdbg.ui.keys import Key

#: As help writes them; the others are a character, or their own name with a capital.
_WRITTEN: Final[dict[str, str]] = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "delete": "Del",
    "insert": "Ins",
    "space": "Space",
}
_MODIFIERS: Final[dict[str, str]] = {"ctrl": "Ctrl-", "shift": "S-", "alt": "Alt-"}
_SPELLINGS: Final[dict[str, str]] = {
    **{shown.lower(): name for name, shown in _WRITTEN.items()},
    "c": "ctrl",
    "control": "ctrl",
    "s": "shift",
    "a": "alt",
    "m": "alt",
    "meta": "alt",
    "return": "enter",
}
#: The characters of a keyboard by textual's names.
_CHARACTERS: Final = {_character_to_key(chr(number)): chr(number) for number in range(0x21, 0x7F)}
_NAMED: Final = frozenset(item.value for item in Keys if "<" not in item.value)

#: By id: textual's names of the keys that stand for it, none for no key at all.
KeyMap = Mapping[str, tuple[str, ...]]


def written(key: str) -> str:
    """A key of textual's naming as help writes it."""
    *modifiers, base = key.split("+")
    shown = _WRITTEN.get(base) or _CHARACTERS.get(base) or base.capitalize()
    return "".join(_MODIFIERS.get(item, f"{item}-") for item in modifiers) + shown


def key_named(text: str) -> str | None:
    """Textual's name of a key that somebody wrote; None when there is no such key."""
    if len(text) == 1:
        return _character_to_key(text) if text.isascii() and text.isprintable() else None
    words = text.replace("-", "+").split("+")
    if not all(words):
        return None
    *modifiers, base = words
    base = _base(base, bool(modifiers))
    modifiers = [_SPELLINGS.get(item.lower(), item.lower()) for item in modifiers]
    if not set(modifiers) <= set(_MODIFIERS) or len(set(modifiers)) < len(modifiers):
        return None
    name = "+".join([*sorted(modifiers), base])
    return name if base in _NAMED or base in _CHARACTERS else None


def _base(text: str, modified: bool) -> str:
    if len(text) > 1:
        return _SPELLINGS.get(text.lower(), text.lower())
    # A terminal sends the same for Ctrl-d and Ctrl-D.
    return _character_to_key(text.lower() if modified else text)


def remap(table: tuple[Key, ...], wanted: KeyMap) -> tuple[tuple[Key, ...], list[str]]:
    """The table with these keys, and a line for each wish that another one forbids.

    Wishes for ids that the table does not have are left alone. A key that would
    do two things keeps doing what it did.
    """
    known = {key.id for key in table}
    granted = {id: keys for id, keys in wanted.items() if id in known}
    problems = []
    while (clash := _clash(table, granted)) is not None:
        id, key, other = clash
        del granted[id]
        problems.append(f"keys.{id}: {written(key)} is the key of {other}; left as it was")
    return tuple(_with_keys(key, granted.get(key.id)) for key in table), problems


def _clash(table: tuple[Key, ...], granted: KeyMap) -> tuple[str, str, str] | None:
    """The last wish that takes a key which something else has: id, key, and what has it."""
    has: dict[str, str] = {}
    order = [key.id for key in table if key.id not in granted] + list(granted)
    keys = {key.id: tuple(filter(None, key.keys.split(","))) for key in table}
    for id in order:
        for key in granted.get(id, keys[id]):
            other = has.setdefault(key, id)
            if other != id and id in granted:
                return id, key, other
    return None


def _with_keys(key: Key, keys: tuple[str, ...] | None) -> Key:
    if keys is None:
        return key
    return key._replace(keys=",".join(keys), shown=" ".join(written(item) for item in keys))
