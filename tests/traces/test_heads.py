"""Looking around in undecoded records."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.engine import TdExit
from tdxdbg.traces import Trace, TraceMeta
from tdxdbg.traces.heads import BLOCK, Heads, Request
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.records import Record
from tests.analysis.conversions import (
    MIB,
    NO_RANGE,
    TD,
    A,
    Asked,
    Other,
    S,
    journal,
    rows,
)


def test_requests_with_what_was_recorded_of_them() -> None:
    calls = (Other(), Asked(S | A, MIB), Other(0x10001 + 1), Asked(A, 0, vcpu=3, asked=NO_RANGE))
    assert Heads(journal(*calls)).requests(0) == (
        Request(1, 0, S | A, MIB), Request(3, 3, None, None),
    )  # fmt: skip


def test_a_vendor_call_is_no_request() -> None:
    exit_, entry = rows(0, Asked(S | A, MIB))
    assert isinstance(exit_.body, TdExit)
    vendor = exit_.body._replace(regs=exit_.body.regs._replace(r10=1))
    trace = Trace.from_records(TraceMeta(td=TD), [exit_._replace(body=vendor), entry])
    assert Heads(trace).requests(0) == ()


Calls = st.lists(
    st.one_of(st.just(Other()), st.just(Other(vcpu=1)), st.just(Other(vcpu=257)),
              st.just(Asked(A, MIB)), st.just(Asked(A, MIB, vcpu=257))),
    min_size=1, max_size=40,
)  # fmt: skip


@given(Calls, st.integers(0, 39), st.sampled_from([1, -1]), st.sampled_from([0, 1, 257]))
def test_the_nearest_first_and_none_forgotten(
    calls: list[Asked | Other], row: int, direction: int, vcpu: int
) -> None:
    row %= len(calls)
    heads = Heads(journal(*calls))
    beyond = range(row + 1, len(calls)) if direction > 0 else range(row - 1, -1, -1)
    found = [at for at in heads.exits_of(vcpu, row, direction) if at is not None]
    assert found == [at for at in beyond if calls[at].vcpu == vcpu]
    found = [at for at in heads.requests_from(row, direction) if at is not None]
    assert found == [at for at in beyond if isinstance(calls[at], Asked)]


@pytest.mark.parametrize("direction", [1, -1])
def test_a_long_way_pauses_at_each_block(direction: int) -> None:
    calls = [Other(vcpu=1), *[Other()] * 2000, Other(vcpu=1)]
    heads = Heads(journal(*calls))
    row, other = (0, 2001) if direction > 0 else (2001, 0)
    found = list(islice(heads.exits_of(1, row, direction), heads.blocks))
    assert found == [None] * (heads.blocks - 1) + [other]
    assert heads.blocks == -(-2 * 2002 // BLOCK)


def test_what_a_damaged_slot_says_is_not_believed() -> None:
    data = bytearray(journal(*[Asked(A, MIB)] * 3).data())
    at = len(data) - 2 * RECORD_SIZE
    data[at + 8 : at + 16] = (1 << 40).to_bytes(8, "little")
    heads = Heads(Trace(bytes(data)))
    assert [request.row for request in heads.requests(0)] == [0, 1]
    assert [row for row in heads.exits_of(0, 0, 1) if row is not None] == [1, 2]


def test_the_last_block_of_a_recording_that_grows_is_read_again() -> None:
    records: list[Record] = [record for row in range(BLOCK) for record in rows(row, Asked(A, MIB))]
    heads = Heads(Trace.from_records(TraceMeta(td=TD), records))
    heads.trace._slots.count = BLOCK + BLOCK // 2
    first = heads.requests(0)
    assert len(heads.requests(1)) == BLOCK // 4
    heads.trace._slots.count = 2 * BLOCK
    assert len(heads.requests(1)) == BLOCK // 2
    assert heads.requests(0) is first
