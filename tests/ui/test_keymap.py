"""Keys as people write them, and other keys in the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.keymap import key_named, remap, written
from tdxdbg.ui.keys import BY_ID, KEYS, LIVE_KEYS, Key
from tdxdbg.ui.screen import bindings

EVERY = sorted({name for key in (*KEYS, *LIVE_KEYS) for name in key.keys.split(",")})


@pytest.mark.parametrize("key", EVERY)
def test_what_help_writes_can_be_written_in_the_settings(key: str) -> None:
    assert key_named(written(key)) == key
    assert key_named(key) == key


@pytest.mark.parametrize("key", [*KEYS, *LIVE_KEYS], ids=lambda key: key.id)
def test_the_table_writes_keys_as_the_settings_would(key: Key) -> None:
    if "{key}" not in key.action:
        assert key.shown.split()[0] == written(key.keys.split(",")[0])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("x", "x"),
        ("X", "X"),
        ("?", "question_mark"),
        (":", "colon"),
        (",", "comma"),
        ("-", "minus"),
        ("Ctrl-d", "ctrl+d"),
        ("C-D", "ctrl+d"),
        ("ctrl+d", "ctrl+d"),
        ("Alt-x", "alt+x"),
        ("M-x", "alt+x"),
        ("S-Tab", "shift+tab"),
        ("shift+ctrl+up", "ctrl+shift+up"),
        ("Ctrl-Up", "ctrl+up"),
        ("PgDn", "pagedown"),
        ("Esc", "escape"),
        ("Return", "enter"),
        ("f5", "f5"),
        ("F99", None),
        ("foo", None),
        ("", None),
        ("-x", None),
        ("ctrl", None),
        ("ctrl+", None),
        ("ctrl+ctrl+x", None),
        ("\x1b", None),
        ("é", None),
        ("\u202e", None),
        ("<any>", None),
    ],
)
def test_names_of_keys(text: str, key: str | None) -> None:
    assert key_named(text) == key


@given(st.text(max_size=12))
def test_any_text_is_a_key_or_none(text: str) -> None:
    name = key_named(text)
    assert name is None or key_named(name) == name


# --- the table with other keys ---------------------------------------------------------------

TABLE = (
    Key("down", "j", "row(1)", "j", "next", "move"),
    Key("up", "k", "row(-1)", "k", "previous", "move"),
    Key("zoom", "z,space", "zoom", "z", "alone", "panes"),
)


def keys_of(table: tuple[Key, ...]) -> dict[str, str]:
    return {key.id: key.keys for key in table}


@pytest.mark.parametrize(
    ("wanted", "keys", "problems"),
    [
        ({}, "j k z,space", 0),
        ({"down": ("x",)}, "x k z,space", 0),
        ({"down": ("x", "ctrl+n")}, "x,ctrl+n k z,space", 0),
        ({"down": ()}, " k z,space", 0),
        ({"elsewhere": ("j",)}, "j k z,space", 0),
        # Two that change places do not meet.
        ({"down": ("k",), "up": ("j",)}, "k j z,space", 0),
        ({"down": ("k",)}, "j k z,space", 1),
        ({"up": ("x",), "zoom": ("x",)}, "j x z,space", 1),
        # What falls back to its own key may meet another wish there.
        ({"down": ("k",), "up": ("z",)}, "j k z,space", 2),
        ({"zoom": ("space",), "up": ("z",)}, "j z space", 0),
    ],
)
def test_wishes_that_meet_are_left_out(
    wanted: dict[str, tuple[str, ...]], keys: str, problems: int
) -> None:
    table, said = remap(TABLE, wanted)
    assert list(keys_of(table).values()) == keys.split(" ")
    assert len(said) == problems


def test_what_is_wrong_names_the_key_and_who_has_it() -> None:
    _, said = remap(TABLE, {"zoom": ("ctrl+x", "j")})
    assert said == ["keys.zoom: j is the key of down; left as it was"]


def test_other_keys_are_shown() -> None:
    table, _ = remap(TABLE, {"zoom": ("ctrl+x", "question_mark"), "up": ()})
    assert [key.shown for key in table] == ["j", "", "Ctrl-x ?"]


@given(
    st.dictionaries(
        st.sampled_from(sorted(BY_ID)),
        st.lists(st.sampled_from(EVERY), max_size=3, unique=True).map(tuple),
        max_size=12,
    ),
    st.sampled_from([KEYS, LIVE_KEYS]),
)
def test_no_key_ever_does_two_things(
    wanted: dict[str, tuple[str, ...]], table: tuple[Key, ...]
) -> None:
    changed, _ = remap(table, wanted)
    names = [name for key in changed for name in key.keys.split(",") if name]
    assert len(names) == len(set(names))
    assert len(bindings(changed)) == len(names)
    assert [key.id for key in changed] == [key.id for key in table]
