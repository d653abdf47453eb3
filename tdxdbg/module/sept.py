"""Secure EPT: the state of every private page.

Theory of operation. A leaf is a 4 KiB or a 2 MiB page; its state and level
are one number per 4 KiB page in a `RunMap`. The tables above the leaves are
implied: a table exists as long as something below it is not FREE. So a walk
ends at a leaf, at a table where a leaf was asked for, or at the highest entry
below which nothing is mapped (facts: ghci_and_guest 4.3 and 6.2).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from tdxdbg.module.runs import PAGE_SHIFT, Run, RunMap, pages_of

LEVEL_4K: Final = 0
LEVEL_2M: Final = 1
PAGES_2M: Final = 512

#: 4 KiB pages below an entry of each level, from the lowest up.
PAGES_OF_LEVEL: Final = tuple(PAGES_2M**level for level in range(5))


class SeptState(IntEnum):
    """The numbers of extended exit qualification types 1 and 5."""

    FREE = 0
    BLOCKED = 1
    PENDING = 2
    PENDING_BLOCKED = 3
    MAPPED = 4
    #: A table, not a leaf.
    NL_MAPPED = 132


FREE: Final = SeptState.FREE
_LEVEL_SHIFT: Final = 8


class Entry(NamedTuple):
    """Where a walk ended; `is_leaf` is false for a FREE entry."""

    level: int
    state: SeptState
    is_leaf: bool


TABLE_OF_4K: Final = Entry(LEVEL_2M, SeptState.NL_MAPPED, False)


def value_of(state: SeptState, level: int) -> int:
    """How a leaf is kept in the map; FREE has no level."""
    return state | level << _LEVEL_SHIFT if state else 0


class Sept:
    """Private pages by state; immutable: a change returns a new one.

    `root` is the level of the entries in the root table: 3 for GPAW 48, 4
    for 52.
    """

    __slots__ = ("map", "root")

    def __init__(self, root: int = 3, pages: RunMap | None = None) -> None:
        self.root = root
        self.map = RunMap() if pages is None else pages

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sept) and self.root == other.root and self.map == other.map

    def __hash__(self) -> int:
        return hash((self.root, self.map))

    def __repr__(self) -> str:
        return f"Sept({self.root!r}, {self.map!r})"

    def state(self, gpa: int) -> SeptState:
        """The state of the leaf at `gpa` (bytes), FREE where there is none."""
        return SeptState(self.map.at(gpa >> PAGE_SHIFT) & 0xFF)

    def walk(self, gpa: int, level: int) -> Entry:
        """The entry at which a walk to `level` ends.

        Its level is above the one asked for where a leaf or nothing is in
        the way.
        """
        page = gpa >> PAGE_SHIFT
        value = self.map.at(page)
        if value:
            leaf = value >> _LEVEL_SHIFT
            return TABLE_OF_4K if leaf < level else Entry(leaf, SeptState(value & 0xFF), True)
        free = self._free_level(page)
        return TABLE_OF_4K if free < level else Entry(free, FREE, False)

    def _free_level(self, page: int) -> int:
        """The highest level at which the entry over a free page is FREE itself."""
        run = self.map.run(page)
        free = 0
        for level in range(1, self.root + 1):
            size = PAGES_OF_LEVEL[level]
            first = page & -size
            if first < run.first or first + size > run.end:
                break
            free = level
        return free

    # --- changes ----------------------------------------------------------------------

    def _with(self, pages: RunMap) -> Sept:
        return self if pages is self.map else Sept(self.root, pages)

    def with_leaf(self, gpa: int, level: int, state: SeptState) -> Sept:
        """The same with one leaf of `level` at `gpa` (bytes) in `state`."""
        size = PAGES_OF_LEVEL[level]
        first = (gpa >> PAGE_SHIFT) & -size
        return self._with(self.map.put(first, first + size, value_of(state, level)))

    def demote(self, gpa: int) -> Sept:
        """The 2 MiB leaf at `gpa` becomes 512 leaves of 4 KiB in the same state."""
        return self.with_range(gpa & -(PAGES_2M << PAGE_SHIFT), PAGES_2M, self.state(gpa))

    def with_range(self, gpa: int, pages: int, state: SeptState) -> Sept:
        """`pages` leaves of 4 KiB from `gpa` (bytes) on, all in `state`."""
        first = gpa >> PAGE_SHIFT
        return self._with(self.map.put(first, first + pages, value_of(state, LEVEL_4K)))

    def fill(self, gpa: int, size: int, state: SeptState, level: int = LEVEL_4K) -> Sept:
        """Every FREE page that [gpa, gpa + size) touches becomes a leaf in `state`.

        With `level` 1, in leaves of 2 MiB where these fit. The cost depends
        on the number of runs there, not on the size.
        """
        pages = self.map
        for run in self.map.runs(*pages_of(gpa, size)):
            if run.value:
                continue
            low, high = _inner(run, level)
            pages = pages.put(run.first, low, value_of(state, LEVEL_4K))
            pages = pages.put(low, high, value_of(state, level))
            pages = pages.put(high, run.end, value_of(state, LEVEL_4K))
        return self._with(pages)

    def zap(self, gpa: int, size: int) -> Sept:
        """Every page that [gpa, gpa + size) touches becomes FREE.

        What is left of a 2 MiB leaf that only half lies in there becomes
        leaves of 4 KiB, as KVM demotes before it removes.
        """
        first, end = pages_of(gpa, size)
        if first >= end:
            return self
        cut = self
        for page in (first, end):
            if page % PAGES_2M and cut.map.at(page) >> _LEVEL_SHIFT:
                cut = cut.demote(page << PAGE_SHIFT)
        return cut._with(cut.map.put(first, end, FREE))


def _inner(run: Run, level: int) -> tuple[int, int]:
    """The part of a run that whole leaves of `level` fill."""
    size = PAGES_OF_LEVEL[level]
    low = min((run.first + size - 1) & -size, run.end)
    return low, max(low, run.end & -size)
