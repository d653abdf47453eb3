"""How two kernel generations differ, read off their records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from enum import IntEnum
from typing import Final, NamedTuple

from tdxdbg.abi.ghci import SUB_FUNCTION_NAMES
from tdxdbg.abi.vmx import EXIT_REASON_NAMES
from tdxdbg.engine import Completer, Generation

#: Fields that say what a record is called, not what it does.
_LABELS: Final = frozenset({"name", "kernels", "source"})

_KEY_NAMES: Final[dict[str, Callable[[int], str]]] = {
    "exits": lambda key: EXIT_REASON_NAMES.get(key, str(key)),
    "tdvmcalls": lambda key: SUB_FUNCTION_NAMES.get(key, f"{key:#x}"),
    "completers": lambda key: Completer(key).name,
}


class Rule(NamedTuple):
    """One rule of two generations; "-" where one of them has none."""

    name: str
    first: str
    second: str


def differing_rules(first: Generation, second: Generation) -> list[Rule]:
    """The rules in which two generations differ, in the order of the record."""
    found = []
    for field in fields(Generation):
        if field.name in _LABELS:
            continue
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, dict):
            found.extend(_differing_entries(field.name, one, other))
        elif one != other:
            found.append(Rule(field.name, _describe(one), _describe(other)))
    return found


def _differing_entries(table: str, one: dict[int, object], other: dict[int, object]) -> list[Rule]:
    return [
        Rule(
            f"{table}[{_KEY_NAMES[table](key)}]",
            _describe(one.get(key, "-")),
            _describe(other.get(key, "-")),
        )
        for key in sorted({*one, *other})
        if one.get(key) != other.get(key)
    ]


def _describe(value: object) -> str:
    """A function says what it does in its docstring's first line."""
    if isinstance(value, IntEnum):
        return value.name
    if callable(value):
        lines = (value.__doc__ or "").strip().splitlines()
        name = getattr(value, "__name__", str(value))
        return f"{name}: {lines[0]}" if lines else name
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:#x}" if isinstance(value, int) else str(value)
