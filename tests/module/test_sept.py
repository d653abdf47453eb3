"""Secure EPT and what the host does to it, against a model of single pages."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.module import (
    LEVEL_2M,
    LEVEL_4K,
    SHARED_ABSENT,
    SHARED_RAM,
    Entry,
    Sept,
    SeptState,
    TdParams,
)
from tests.module.support import (
    GIB,
    INVALID_RCX,
    MIB2,
    OK,
    PAGE,
    SHARED,
    Td,
    call,
    running,
    status_of,
)

FREE = SeptState.FREE
PENDING = SeptState.PENDING
MAPPED = SeptState.MAPPED
BLOCKED = SeptState.BLOCKED
PENDING_BLOCKED = SeptState.PENDING_BLOCKED

WALK_FAILED = 0xC000_0B00_0000_0001
ENTRY_FREE = 0xC000_0B01_0000_0001
ENTRY_NOT_FREE = 0xC000_0B02_0000_0001
ENTRY_NOT_LEAF = 0xC000_0B04_0000_0001
NOT_BLOCKED = 0xC000_0B06_0000_0001
ALREADY_BLOCKED = 0x0000_0B07_0000_0001
OP_STATE_INCORRECT = 0xC000_0608_0000_0000
BASE = 16 * MIB2


# --- one page at a time -----------------------------------------------------------------


class Page(NamedTuple):
    """One 4 KiB page of the model; `level` of the leaf that it belongs to."""

    state: SeptState = FREE
    level: int = 0


N_PAGES = 4 * 512
EMPTY: tuple[Page, ...] = (Page(),) * N_PAGES


class Model:
    """A list of pages; every rule spelled out for each of them."""

    def __init__(self) -> None:
        self.pages = list(EMPTY)

    def leaf(self, page: int) -> range:
        first = page - page % 512 if self.pages[page].level else page
        return range(first, first + (512 if self.pages[page].level else 1))

    def fill(self, first: int, end: int, state: SeptState, level: int) -> None:
        free = [page for page in range(first, end) if self.pages[page].state is FREE]
        inside = set(free)
        for page in free:
            whole = range(page - page % 512, page - page % 512 + 512)
            big = level and all(p in inside for p in (whole[0], whole[-1])) and inside >= set(whole)
            self.pages[page] = Page(state, 1 if big else 0)

    def zap(self, first: int, end: int) -> None:
        for page in range(first, end):
            for other in self.leaf(page):
                if not first <= other < end:
                    self.pages[other] = Page(self.pages[other].state, 0)
            self.pages[page] = Page()

    def block(self, page: int, level: int) -> None:
        states = {MAPPED: BLOCKED, PENDING: PENDING_BLOCKED}
        self._change(page, level, states)

    def accept(self, page: int, level: int) -> None:
        self._change(page, level, {PENDING: MAPPED})

    def _change(self, page: int, level: int, states: dict[SeptState, SeptState]) -> None:
        old = self.pages[page]
        aligned = page % 512 == 0 or not level
        if old.state in states and old.level == level and aligned:
            for other in self.leaf(page):
                self.pages[other] = Page(states[old.state], level)


#: Pages near the edges of 2 MiB, where things go wrong.
EDGES = sorted({max(0, 512 * n + d) for n in range(5) for d in (-2, -1, 0, 1, 300)} - {2348})
edges = st.sampled_from([page for page in EDGES if page <= N_PAGES])
levels = st.sampled_from([LEVEL_4K, LEVEL_2M])
changes = st.one_of(
    st.tuples(st.just("fill"), edges, edges, levels),
    st.tuples(st.just("zap"), edges, edges, levels),
    st.tuples(st.just("block"), edges, edges, levels),
    st.tuples(st.just("accept"), edges, edges, levels),
)


@given(st.lists(changes, max_size=12))
def test_equals_a_model_of_single_pages(steps: list[tuple[str, int, int, int]]) -> None:
    td = running()
    model = Model()
    for what, first, other, level in steps:
        low, high = min(first, other), max(first, other)
        gpa, size = BASE + low * PAGE, (high - low) * PAGE
        if what == "fill":
            td.map_private(gpa, size, level)
            model.fill(low, high, PENDING, level)
        elif what == "zap":
            td.convert(gpa, size, private=False)
            model.zap(low, high)
        elif low < N_PAGES:
            if what == "block":
                td.range_block(gpa, level)
                model.block(low, level)
            else:
                call(td, 6, rcx=gpa | level)
                model.accept(low, level)
    for number, page in enumerate(model.pages):
        entry = td.td.sept.walk(BASE + number * PAGE, LEVEL_4K)
        assert (entry.state, entry.is_leaf) == (page.state, page.state is not FREE)
        assert page.state is FREE or entry.level == page.level
    assert td.td.sept.state(BASE - PAGE) is FREE
    assert td.td.sept.state(BASE + N_PAGES * PAGE) is FREE


# --- walks ------------------------------------------------------------------------------

TABLE = Entry(1, SeptState.NL_MAPPED, False)

#: GPA of the one page that there is and its level; GPA and level of the walk; root; where it ends
WALKS = [
    (None, 0, 0, 0, 3, Entry(3, FREE, False)),
    (None, 0, 0, 1, 4, Entry(4, FREE, False)),
    (0, 0, PAGE, 0, 3, Entry(0, FREE, False)),
    (0, 0, PAGE, 1, 3, TABLE),
    (0, 0, 0, 1, 3, TABLE),
    (0, 0, 0, 0, 3, Entry(0, PENDING, True)),
    (0, 0, MIB2, 0, 3, Entry(1, FREE, False)),
    (0, 0, GIB, 0, 3, Entry(2, FREE, False)),
    (0, 0, 512 * GIB, 0, 3, Entry(3, FREE, False)),
    (0, 0, 512 * GIB, 0, 4, Entry(3, FREE, False)),
    (0, 0, 1 << 48, 0, 4, Entry(4, FREE, False)),
    (0, 1, PAGE, 0, 3, Entry(1, PENDING, True)),
    (0, 1, 0, 1, 3, Entry(1, PENDING, True)),
    (GIB, 0, GIB - PAGE, 0, 3, Entry(2, FREE, False)),
    (GIB - PAGE, 0, GIB - MIB2, 0, 3, Entry(0, FREE, False)),
]


@pytest.mark.parametrize(("page", "page_level", "gpa", "level", "root", "entry"), WALKS)
def test_walk(
    page: int | None, page_level: int, gpa: int, level: int, root: int, entry: Entry
) -> None:
    sept = Sept(root)
    if page is not None:
        sept = sept.with_leaf(page, page_level, PENDING)
    assert sept.walk(gpa, level) == entry


# --- SEAMCALLs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpa", "level", "status"),
    [
        (BASE, 0, OK),
        (BASE, 1, OK),
        (BASE + 1, 0, INVALID_RCX),
        (BASE + PAGE, 1, INVALID_RCX),
        (BASE, 2, INVALID_RCX),
        (BASE | SHARED, 0, INVALID_RCX),
        (1 << 48, 0, INVALID_RCX),
    ],
)
def test_operands(gpa: int, level: int, status: int) -> None:
    td = running()
    assert td.page_aug(gpa, level) == status
    assert td.range_block(gpa, level) == status


def test_add_is_for_the_image_and_aug_for_the_running_td() -> None:
    td = Td()
    assert td.page_aug(BASE) == OP_STATE_INCORRECT
    assert td.page_add(BASE) == OK
    assert td.page_add(BASE) == ENTRY_NOT_FREE
    td.finalize()
    assert td.page_add(BASE + PAGE) == OP_STATE_INCORRECT
    assert td.page_aug(BASE + PAGE) == OK
    assert (td.td.sept.state(BASE), td.td.sept.state(BASE + PAGE)) == (MAPPED, PENDING)


def test_a_page_where_there_is_one() -> None:
    td = running()
    td.page_aug(BASE, LEVEL_2M)
    assert td.page_aug(BASE, LEVEL_2M) == ENTRY_NOT_FREE
    assert td.page_aug(BASE + PAGE) == WALK_FAILED
    td.page_aug(BASE + MIB2)
    assert td.page_aug(BASE + MIB2, LEVEL_2M) == ENTRY_NOT_FREE
    assert td.page_aug(BASE + MIB2 + PAGE) == OK


def test_block_unblock_remove() -> None:
    td = running()
    assert td.range_block(BASE) == WALK_FAILED
    td.page_aug(BASE)
    assert td.range_block(BASE + PAGE) == ENTRY_FREE
    assert td.range_block(BASE, LEVEL_2M) == ENTRY_NOT_LEAF
    assert td.range_unblock(BASE) == NOT_BLOCKED
    assert td.page_remove(BASE) == NOT_BLOCKED
    assert td.range_block(BASE) == OK
    assert td.td.sept.state(BASE) is PENDING_BLOCKED
    assert td.range_block(BASE) == ALREADY_BLOCKED
    assert td.range_unblock(BASE) == OK
    assert td.td.sept.state(BASE) is PENDING
    assert status_of(call(td, 6, rcx=BASE)) == OK
    assert td.range_block(BASE) == OK
    assert td.td.sept.state(BASE) is BLOCKED
    assert td.page_remove(BASE) == OK
    assert td.td.sept == running().td.sept
    for operation in (td.range_unblock, td.page_remove):
        assert operation(BASE) == WALK_FAILED


def test_demote() -> None:
    td = running()
    td.page_aug(BASE)
    assert td.page_demote(BASE) == ENTRY_NOT_LEAF
    big = BASE + MIB2
    td.page_aug(big, LEVEL_2M)
    call(td, 6, rcx=big | 1, interrupt_pending=True)
    assert td.page_demote(big) == NOT_BLOCKED
    td.range_block(big, LEVEL_2M)
    assert td.page_demote(big) == OK
    assert td.td.sept.walk(big + MIB2 - PAGE, LEVEL_4K) == Entry(0, PENDING, True)
    assert td.td.accepting == ()


# --- ranges and conversions ---------------------------------------------------------------


def test_pages_mapped_before_finalization_need_no_accept() -> None:
    td = Td()
    td.map_private(BASE, 3 * MIB2, LEVEL_2M)
    assert td.td.sept.walk(BASE + MIB2, LEVEL_2M) == Entry(1, MAPPED, True)


def test_a_conversion_removes_the_mappings_of_the_other_kind() -> None:
    td = running()
    td.map_private(BASE, 2 * PAGE)
    td.map_shared(BASE, 2 * PAGE, SHARED_RAM)
    td.convert(BASE, PAGE, private=False)
    assert [td.td.sept.state(BASE + n * PAGE) for n in (0, 1)] == [FREE, PENDING]
    td.convert(BASE + PAGE, PAGE, private=True)
    page = BASE // PAGE
    assert [td.td.shared_ept.at(page + n) for n in (0, 1)] == [SHARED_RAM, SHARED_ABSENT]
    # Nothing comes back by itself, and nothing else moves.
    assert td.td.sept.state(BASE + PAGE) is PENDING


@pytest.mark.parametrize("private", [False, True])
def test_a_conversion_of_everything_costs_no_more_than_one_of_a_page(private: bool) -> None:
    td = running(TdParams(gpaw=52))
    td.convert(0, 1 << 51, private=private)
    td.map_private(0, 1 << 51, LEVEL_2M)
    assert len(td.td.sept.map.starts) == 2
    td.convert(0, 1 << 52, private=False)
    assert td.td.sept == Sept(4)


def test_nothing_to_do_is_the_same_object() -> None:
    sept = Sept(3).fill(BASE, MIB2, PENDING)
    assert sept.fill(BASE, MIB2, MAPPED, LEVEL_2M) is sept
    assert sept.zap(0, BASE) is sept
    assert sept.zap(BASE, 0) is sept


def test_value_semantics() -> None:
    sept = Sept(4).with_leaf(BASE, LEVEL_2M, BLOCKED)
    same = Sept(4).with_leaf(BASE + PAGE, LEVEL_2M, BLOCKED)
    assert sept == same
    assert hash(sept) == hash(same)
    assert sept != Sept(4)
    assert sept != Sept(3, sept.map)
    assert sept != sept.map
    assert repr(Sept(3)) == "Sept(3, RunMap((0,), (0,)))"
