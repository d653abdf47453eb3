"""The columns of the exit queue: which there are, which are wanted, and which fit."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple

from tdxdbg.decode.text import Safe
from tdxdbg.ui.lines import own

#: Wider arguments would only stand far from their result.
MOST_ARGUMENTS: Final = 44
#: The narrowest that is worth leaving other columns out for.
_GOOD_ARGUMENTS: Final = 17
_LEAST_ARGUMENTS: Final = 8
#: Beyond these, cells go first to a result as long as INVALID_OPERAND.
_ENOUGH_ARGUMENTS: Final = 22
_LONG_RESULT: Final = 3


class Column(NamedTuple):
    """`width` in cells, with the blank behind it; 0: what the recording or the rest decides.

    `rank`: where there is too little room, the highest goes first; 0 stays.
    """

    name: str
    about: Safe
    width: int
    rank: int = 0


#: In the order in which they stand.
COLUMNS: Final = (
    Column("index", own("number of the exit"), 0),
    Column("time", own("time on the recording's clock, in seconds"), 0, 3),
    Column("delta", own("seconds since the line above"), 12, 6),
    Column("vcpu", own("vCPU"), 3, 1),
    Column("name", own("sub-function, hypercall or VMX exit reason"), 14),
    Column("arguments", own("what the guest asks for"), 0),
    Column("gpa", own("guest physical address, without the shared bit"), 17, 4),
    Column("size", own("bytes, with the suffixes K M G T"), 8, 2),
    Column("exit", own("KVM_EXIT_* that userspace saw"), 15, 5),
    Column("result", own("status that the guest got, or what became of it"), 14),
)
BY_NAME: Final = {column.name: column for column in COLUMNS}
DEFAULT: Final = ("index", "time", "vcpu", "name", "arguments", "result")


def chosen(names: Iterable[object]) -> tuple[str, ...]:
    """These columns in the order of the table; raises ValueError for one that there is not."""
    wanted = set()
    for name in names:
        if not isinstance(name, str) or name not in BY_NAME:
            near = get_close_matches(str(name), BY_NAME, 1)
            hint = f"; did you mean {near[0]}?" if near else f" (there are {' '.join(BY_NAME)})"
            raise ValueError(f"no column {str(name)[:40]!r}{hint}")
        wanted.add(name)
    if not wanted:
        raise ValueError("the queue needs a column: index, name, ...")
    return tuple(name for name in BY_NAME if name in wanted)


def fitted(wanted: Iterable[str], room: int, digits: int, time: int) -> dict[str, int]:
    """The columns that fit into `room` cells, with their widths.

    `digits` of the last index, `time` cells of the longest time, 0 if there is none.
    """
    widths = {name: _width(name, digits, time) for name in wanted}
    widths = {name: width for name, width in widths.items() if width}
    for name in sorted(widths, key=lambda name: -BY_NAME[name].rank):
        if BY_NAME[name].rank == 1 and "arguments" in widths:
            # The vCPU is worth more than long arguments.
            widths["arguments"] = _LEAST_ARGUMENTS + 1
        if not BY_NAME[name].rank or sum(widths.values()) <= room:
            break
        del widths[name]
    if "arguments" in widths:
        others = sum(widths.values()) - widths["arguments"]
        least = _LEAST_ARGUMENTS + 1
        if "result" in widths:
            others += min(max(room - others - _ENOUGH_ARGUMENTS - 1, 0), _LONG_RESULT)
        widths["arguments"] = min(max(room - others, least), MOST_ARGUMENTS + 1)
    return widths


def _width(name: str, digits: int, time: int) -> int:
    if name == "index":
        return digits + 1
    if name == "time":
        return time + 1 if time else 0
    if name == "delta":
        return BY_NAME[name].width if time else 0
    return BY_NAME[name].width or _GOOD_ARGUMENTS + 1
