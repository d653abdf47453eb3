"""What a text means that is being typed: conditions, watches and places of a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from tdxdbg.breakpoints import REGISTERS
from tdxdbg.decode.values import size_text
from tdxdbg.filters import Filter, FilterError, compile_filter, complete, completion_start
from tdxdbg.filters.tree import Compare, In, Range
from tdxdbg.ui.prompt import Verdict

PAGE: Final = 4096
_TOP: Final = 1 << 52
_RANGE: Final = re.compile(
    r"(?:gpa\s+)?(?:0x)?([0-9a-f]{1,16})(?:\s*\+\s*(0x[0-9a-f]+|\d+)([kmgt]?))?",
    re.ASCII | re.IGNORECASE,
)
_INDEX: Final = re.compile(r"\d[\d,_]*", re.ASCII)
_SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class PlaceError(ValueError):
    """Why a text names no place or range: one line with the remedy."""


# --- conditions -------------------------------------------------------------------------


def judge_condition(text: str, cursor: int, says: str = "") -> Verdict:
    """A display filter; `says` is what a good one means."""
    words, start = tuple(complete(text, cursor)), completion_start(text, cursor)
    if not text.strip():
        return Verdict(False, "", start, words)
    try:
        compile_filter(text)
    except FilterError as error:
        return Verdict(False, str(error), start, words, at=error.column)
    return Verdict(True, says, start, words)


# --- watches ----------------------------------------------------------------------------


class Watch(NamedTuple):
    """A GPA range (bytes), or with `condition` registers."""

    gpa: int = 0
    size: int = 0
    condition: str = ""


def parse_watch(text: str) -> Watch:
    """`gpa in 2G..3G`, `gpa == 2G`, `74000000 +2M`, or a condition on registers.

    Raises PlaceError, and FilterError where it is no condition.
    """
    short = _RANGE.fullmatch(text.strip())
    if short is not None:
        size = int(short[2], 0) * _SIZES[short[3].lower()] if short[2] else PAGE
        return _ranged(int(short[1], 16), size)
    compiled = compile_filter(text)
    tree = compiled.tree
    if isinstance(tree, Compare) and tree.field == "gpa" and tree.operator == "==":
        return _ranged(int(tree.value), 1)
    if isinstance(tree, In) and tree.field == "gpa" and len(tree.elements) == 1:
        only = tree.elements[0]
        assert isinstance(only, Range)
        return _ranged(only.first, only.last - only.first + 1)
    if REGISTERS.intersection(compiled.fields):
        return Watch(condition=text.strip())
    raise PlaceError("watch gpa in A..B, or a condition on a register, as r11 == 0x10001;"
                     " b stops at exits")  # fmt: skip


def _ranged(gpa: int, size: int) -> Watch:
    if size < 1:
        raise PlaceError("the range has no bytes: 74000000 +2M")
    if gpa + size > _TOP:
        raise PlaceError(f"{gpa:#x} +{size:#x} is beyond the 52 bits of a GPA")
    return Watch(gpa, size)


def judge_watch(text: str, cursor: int) -> Verdict:
    """A watch in a recording."""
    condition = judge_condition(text, cursor)
    if not text.strip():
        return condition
    try:
        watch = parse_watch(text)
    except PlaceError as error:
        return condition._replace(good=False, says=str(error), at=None)
    except FilterError:
        return condition
    if watch.condition:
        says = "stops where it holds at the TD exit, or with the registers the guest gets"
    else:
        first, last = watch.gpa, watch.gpa + watch.size - 1
        says = f"stops where pages in {first:#x}..{last:#x} ({size_text(watch.size)}) are converted"
    return condition._replace(good=True, says=says, at=None)


# --- places -----------------------------------------------------------------------------


class Here(NamedTuple):
    """Where one is: the row, how many there are, and bookmarks by letter."""

    row: int
    total: int
    bookmarks: Mapping[str, int]


class Target(NamedTuple):
    """Where to run to: a row, or the next one that a condition selects."""

    row: int = 0
    condition: Filter | None = None


def parse_target(text: str, here: Here, direction: int) -> Target:
    """`415`, `'a` or a condition; raises PlaceError, and FilterError for a condition."""
    text = text.strip()
    if text.startswith("'"):
        row = here.bookmarks.get(text[1:])
        if row is None:
            known = " ".join(f"'{letter}" for letter in sorted(here.bookmarks))
            raise PlaceError(f"no bookmark {text[:9]}" + (f"; there are {known}" if known else
                             ": m and a letter set one"))  # fmt: skip
        return _ahead(row, here, direction)
    if _INDEX.fullmatch(text):
        return _ahead(int(re.sub("[,_]", "", text)), here, direction)
    return Target(condition=compile_filter(text))


def _ahead(row: int, here: Here, direction: int) -> Target:
    if row >= here.total:
        raise PlaceError(f"there is no exit {row}: the last is {here.total - 1}")
    if (row - here.row) * direction > 0:
        return Target(row)
    if row == here.row:
        raise PlaceError(f"this is exit {row}")
    wrong, key = ("before", "T goes back") if direction > 0 else ("after", "t goes forward")
    raise PlaceError(f"exit {row} is {wrong} this one: {key}")


def judge_target(text: str, cursor: int, here: Here, direction: int) -> Verdict:
    """A place to run to (`direction` 1) or back to (-1)."""
    condition = judge_condition(text, cursor)
    if not text.strip():
        return condition
    way = "on" if direction > 0 else "back"
    try:
        target = parse_target(text, here, direction)
    except PlaceError as error:
        return Verdict(False, str(error))
    except FilterError:
        return condition
    if target.condition is not None:
        which = "next" if direction > 0 else "previous"
        return condition._replace(says=f"{way} to the {which} exit that matches")
    many = abs(target.row - here.row)
    return Verdict(True, f"{way} to exit {target.row:,}, {many:,} exit{'s' * (many != 1)} {way}")
