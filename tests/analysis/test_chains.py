"""MapGPA chains: what belongs together, and what stands out, on journals written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.analysis import chains as module
from tdxdbg.analysis.chain import Chain, Kind
from tdxdbg.analysis.chains import Chains, Found
from tdxdbg.engine import BY_NAME
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace, open_trace
from tests.analysis.conversions import (
    ALL,
    MIB,
    NO_RANGE,
    NO_REPLY,
    NO_STATUS,
    OK,
    RETRY,
    A,
    Asked,
    Other,
    S,
    hlt,
    journal,
)

B = A + 4 * MIB


def found_at(trace: Trace, row: int) -> Found:
    chains = Chains(Timeline(trace))
    for _ in chains.search(row):
        pass
    found = chains.known(row)
    assert found is not None
    return found


def chain_at(trace: Trace, row: int = 0) -> Chain:
    chain = found_at(trace, row).chain
    assert chain is not None
    return chain


def rows(chain: Chain) -> list[int]:
    return [link.row for link in chain.links]


# --- which requests belong together -----------------------------------------------------------

FIRST = Asked(S | A, 8 * MIB, RETRY, S | B)
REST = Asked(S | B, 4 * MIB)

LINKS: dict[str, tuple[tuple[Asked | Other, ...], int, list[int]]] = {
    "a request alone": ((REST,), 0, [0]),
    "retried, from the first": ((FIRST, REST), 0, [0, 1]),
    "retried, from the last": ((FIRST, REST), 1, [0, 1]),
    "exits between": ((FIRST, hlt(0), Other(), REST), 3, [0, 3]),
    "another request between, of another thread": (
        (FIRST, Asked(S | 0x9000_0000, MIB), REST), 0, [0, 2],
    ),
    "another vCPU between": ((FIRST, Asked(S | 0x9000_0000, MIB, vcpu=1), REST), 0, [0, 2]),
    "the same pages later": ((FIRST, REST, Asked(S | A, 8 * MIB)), 2, [2]),
    "converted back later": ((FIRST, REST, Asked(A, 8 * MIB)), 0, [0, 1]),
    "after a success nothing goes on": ((Asked(S | A, 8 * MIB), REST), 1, [1]),
    "on another vCPU": ((FIRST, REST._replace(vcpu=1)), 1, [0, 1]),
    "another vCPU that asks for less": ((FIRST, Asked(S | B, MIB, vcpu=1)), 0, [0]),
    "an exit without one: that before": ((FIRST, REST, Other()), 2, [0, 1]),
    "an exit while the chain is open": ((FIRST, Other(), REST), 1, [0, 2]),
    "an exit of another vCPU: its own": (
        (Asked(S | 0x9000_0000, MIB, vcpu=1), FIRST, REST, Other(vcpu=1)), 3, [0],
    ),
    "an exit of a vCPU without one: that of another": ((FIRST, REST, Other(vcpu=1)), 2, [0, 1]),
    "retried twice": (
        (FIRST, Asked(S | B, 4 * MIB, RETRY, S | B + MIB), Asked(S | B + MIB, 3 * MIB)), 2,
        [0, 1, 2],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("calls", "row", "expected"), LINKS.values(), ids=LINKS)
def test_links(calls: tuple[Asked | Other, ...], row: int, expected: list[int]) -> None:
    assert rows(chain_at(journal(*calls), row)) == expected


@pytest.mark.parametrize(
    ("row", "current"), [(0, False), (1, True), (2, True), (3, False), (4, True), (5, False)]
)
def test_whether_a_chain_is_that_of_an_exit(row: int, current: bool) -> None:
    trace = journal(Other(), FIRST, Other(), Other(vcpu=1), REST, Other())
    found = found_at(trace, row)
    assert found.current is current
    assert (found.chain is None) == (row == 0)


def test_progress_is_counted_from_the_start_of_the_chain() -> None:
    chain = chain_at(journal(FIRST, REST))
    assert (chain.start, chain.end, chain.size, chain.shared) == (A, A + 8 * MIB, 8 * MIB, True)
    assert [(chain.before(link), link.converted) for link in chain.links] == [
        (0, 4 * MIB), (4 * MIB, 4 * MIB),
    ]  # fmt: skip
    assert chain.finished
    assert chain.faults == ()


# --- what stands out ----------------------------------------------------------------------------

SAME = Asked(S | A, 8 * MIB, RETRY, S | A)

FAULTS: dict[str, tuple[tuple[Asked | Other, ...], int, Kind, str]] = {
    "no progress": ((SAME, Asked(S | A, 8 * MIB)), 0, Kind.NO_PROGRESS, "1 in a row"),
    "no progress, twice": (
        (SAME, SAME, Asked(S | A, 8 * MIB)), 1, Kind.NO_PROGRESS, "2 in a row: R11 is where",
    ),
    "no progress, three times": ((SAME, SAME, SAME, hlt()), 2, Kind.GIVES_UP, "-EIO"),
    "beyond the end": (
        (Asked(S | A, 8 * MIB, RETRY, S | A + 8 * MIB), Other()), 0, Kind.OUT_OF_RANGE,
        f"R11 = {A + 8 * MIB:x} is outside the request ({A:x} to {A + 8 * MIB:x}): Linux fails",
    ),
    "before the start": (
        (Asked(S | A, 8 * MIB, RETRY, S | A - MIB), Other()), 0, Kind.OUT_OF_RANGE,
        "converts other pages",
    ),
    "lost the shared bit": (
        (Asked(S | A, 8 * MIB, RETRY, B), Other()), 0, Kind.SHARED_BIT, "has lost the shared bit",
    ),
    "gained a shared bit": (
        (Asked(A, 8 * MIB, RETRY, S | B), Other()), 0, Kind.SHARED_BIT, "the request had not",
    ),
    "not told": (
        (FIRST._replace(mask=0x3000), Other()), 0, Kind.HIDDEN, "RCX does not let R10 and R11",
    ),
    "skipped pages": (
        (FIRST, Asked(S | B + MIB, 3 * MIB)), 1, Kind.ELSEWHERE, "the 1 MiB between were skipped",
    ),
    "converts twice": (
        (FIRST, Asked(S | A, 8 * MIB)), 1, Kind.ELSEWHERE, "4 MiB are converted once more",
    ),
    "the guest drops the shared bit": (
        (FIRST, Asked(B, 4 * MIB)), 1, Kind.GUEST_BIT, "now it asks for private pages",
    ),
    "the guest adds a shared bit": (
        (Asked(A, 8 * MIB, RETRY, B), Asked(S | B, 4 * MIB)), 1, Kind.GUEST_BIT, "shared pages",
    ),
    "another end": (
        (FIRST, Asked(S | B, 3 * MIB)), 1, Kind.OTHER_END, f"up to {B + 3 * MIB:x}, at first up",
    ),
    "the thread moved": ((FIRST, REST._replace(vcpu=1)), 1, Kind.MOVED, "on vCPU 1"),
    "ignored, other pages": (
        (FIRST, Asked(S | 0x9000_0000, MIB)), 0, Kind.IGNORED, "(exit 1) is for other pages",
    ),
    "ignored, halts": ((FIRST, hlt()), 0, Kind.IGNORED, "the guest went on to HLT (exit 1)"),
    "ignored, gives up": (
        (FIRST, Other(SubFunction.REPORT_FATAL_ERROR)), 0, Kind.IGNORED, "ReportFatalError (exit",
    ),
    "ignored to the end": ((FIRST, hlt(0)), 0, Kind.IGNORED, "to the end of the recording"),
    "the recording ends": ((FIRST,), 0, Kind.UNFOLLOWED, "no later exit of this vCPU"),
    "the recording ends for this vCPU": (
        (FIRST, Other(vcpu=1)), 0, Kind.UNFOLLOWED, "no later exit of this vCPU",
    ),
    "refused": (
        (Asked(S | A, 8 * MIB, Status.INVALID_OPERAND, S | A),), 0, Kind.REFUSED,
        "INVALID_OPERAND: to the guest this is failure",
    ),
    "another vCPU converts back": (
        (FIRST, Asked(A, MIB, vcpu=1), REST), 0, Kind.MEDDLED,
        f"vCPU 1 asked for S→P of {A:x} +1 MiB (exit 1)",
    ),
    "another vCPU converts too": (
        (FIRST, Asked(S | B, MIB, vcpu=1), REST), 0, Kind.MEDDLED, "P→S",
    ),
    "left after a refusal": (
        (FIRST, REST._replace(status=Status.INVALID_OPERAND, reply=S | B + MIB)), 1, Kind.LEFT,
        f"left private: 3 MiB, {B + MIB:x} to {B + 4 * MIB:x}",
    ),
    "left after a RETRY": ((FIRST, hlt()), 0, Kind.LEFT, f"4 MiB, {B:x} to {B + 4 * MIB:x}"),
    "left where pages were skipped": (
        (FIRST, Asked(S | B + MIB, 3 * MIB)), 1, Kind.LEFT, f"1 MiB, {B:x} to {B + MIB:x}",
    ),
    "left shared": (
        (Asked(A, 8 * MIB, RETRY, B), hlt()), 0, Kind.LEFT, "left shared: 4 MiB",
    ),
    "the range is not recorded": (
        (Asked(S | A, 8 * MIB, asked=NO_RANGE),), 0, Kind.UNKNOWN, "R12 and R13 were not recorded",
    ),
    "the status is not recorded": (
        (Asked(S | A, 8 * MIB, told=NO_STATUS),), 0, Kind.UNKNOWN, "R10 was not recorded",
    ),
    "R11 is not recorded": (
        (FIRST._replace(told=NO_REPLY), REST), 0, Kind.UNKNOWN, "R11 was not recorded",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("calls", "row", "kind", "text"), FAULTS.values(), ids=FAULTS)
def test_what_stands_out(calls: tuple[Asked | Other, ...], row: int, kind: Kind, text: str) -> None:
    chain = chain_at(journal(*calls))
    told = [fault.text for fault in chain.faults if (fault.row, fault.kind) == (row, kind)]
    assert len(told) == 1, chain.faults
    assert text in told[0]


@pytest.mark.parametrize(
    ("calls", "kinds"),
    [
        ((FIRST, REST), []),
        ((FIRST, Other(), REST), []),
        # Between chunks of a conversion, an unrelated one of another vCPU is nobody's business.
        ((FIRST, Asked(S | 0x9000_0000, MIB, vcpu=1), REST), []),
        # Progress begins the count anew.
        (
            (SAME, FIRST, REST._replace(status=RETRY, reply=S | B), REST),
            [Kind.NO_PROGRESS, Kind.NO_PROGRESS],
        ),
        # KVM lost the bit, and the guest puts it back.
        ((FIRST._replace(reply=B), REST), [Kind.SHARED_BIT]),
    ],
)
def test_nothing_else_stands_out(calls: tuple[Asked | Other, ...], kinds: list[Kind]) -> None:
    assert [fault.kind for fault in chain_at(journal(*calls)).faults] == kinds


def test_a_mistake_is_told_from_what_is_worth_knowing() -> None:
    faults = chain_at(journal(SAME, SAME, SAME, hlt())).faults
    assert [(fault.kind, fault.is_error) for fault in faults] == [
        (Kind.NO_PROGRESS, False), (Kind.NO_PROGRESS, False), (Kind.GIVES_UP, True),
        (Kind.IGNORED, True), (Kind.LEFT, True),
    ]  # fmt: skip


SAMPLES: dict[str, tuple[int, list[int], list[Kind], int]] = {
    "mapgpa_64mib_interrupted": (11, [9, 11, 14], [], 0),
    "mapgpa_eagain": (2, [0, 1, 2], [Kind.NO_PROGRESS], 0),
    "mapgpa_eagain_before_7_2": (0, [0], [Kind.REFUSED, Kind.LEFT], 2 * MIB),
    "mapgpa_einval": (0, [0], [Kind.REFUSED, Kind.LEFT], 2 * MIB),
    "mapgpa_ebusy": (1, [1], [Kind.FAILED, Kind.LEFT], 2 * MIB),
    "mapgpa_immediate_exit": (0, [0], [], 0),
    "mapgpa_empty": (0, [0], [Kind.REFUSED], 0),
    "mapgpa_wrapping": (0, [0], [Kind.REFUSED], 0),
    "two_vcpus_converting": (2, [1, 2], [], 0),
    "v19_raw_exits": (0, [0, 1], [], 0),
}


@pytest.mark.parametrize(("row", "links", "kinds", "left"), SAMPLES.values(), ids=SAMPLES)
def test_samples(
    request: pytest.FixtureRequest, row: int, links: list[int], kinds: list[Kind], left: int
) -> None:
    name = request.node.callspec.id
    with open_trace(samples_dir() / f"{name}.tdxt") as trace:
        chain = chain_at(trace, row)
    assert rows(chain) == links
    assert [fault.kind for fault in chain.faults] == kinds
    assert sum(high - low for low, high in chain.left) == left


def test_success_after_kvm_run_failed_is_no_success() -> None:
    """Sample mapgpa_ebusy: the guest is told SUCCESS though nothing was mapped."""
    with open_trace(samples_dir() / "mapgpa_ebusy.tdxt") as trace:
        chain = chain_at(trace)
    assert chain.links[0].done
    assert [fault.kind for fault in chain.faults] == [Kind.FALSE_SUCCESS, Kind.LEFT]
    assert not chain.finished


def test_another_kernel_makes_another_chain() -> None:
    with open_trace(samples_dir() / "mapgpa_eagain.tdxt") as trace:
        chains = Chains(Timeline(trace, BY_NAME["6.16"]))
        for _ in chains.search(0):
            pass
        found = chains.known(0)
        assert found is not None
        assert found.chain is not None
        assert [fault.kind for fault in found.chain.faults] == [Kind.REFUSED, Kind.LEFT]


# --- looking around -----------------------------------------------------------------------------


def test_no_chain_and_whether_everything_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = journal(*[Other()] * 1200)
    assert found_at(trace, 3) == Found(None, ends=True)
    assert found_at(trace, 1199) == Found(None, ends=True)
    monkeypatch.setattr(module, "REACH", 1)
    assert found_at(trace, 1199) == Found(None, ends=False)


def test_a_search_pauses_after_each_block_and_keeps_what_it_found() -> None:
    trace = journal(FIRST, *[Other()] * 2000, REST)
    chains = Chains(Timeline(trace))
    pauses = sum(1 for _ in chains.search(2001))
    assert pauses > 4
    first, last = chains.known(0), chains.known(2001)
    assert first is not None
    assert last is not None
    assert first.chain is last.chain
    assert sum(1 for _ in chains.search(0)) <= 1


def test_a_request_too_far_away_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REACH", 1)
    trace = journal(FIRST, *[Other()] * 2000, REST)
    chain = chain_at(trace)
    assert rows(chain) == [0]
    assert [fault.kind for fault in chain.faults] == [Kind.UNFOLLOWED, Kind.LEFT]
    assert "in the records that were looked at" in chain.faults[0].text


def test_a_long_chain_is_cut_around_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    monkeypatch.setattr(module, "_EDGE", 2)
    calls = [Asked(S | A + at, 100 - at, RETRY, S | A + at + 1) for at in range(50)]
    chains = Chains(Timeline(journal(*calls)))
    for _ in chains.search(20):
        pass
    found = chains.known(20)
    assert found is not None
    assert found.chain is not None
    assert rows(found.chain) == list(range(15, 26))
    assert (found.chain.earlier, found.chain.later) == (True, True)
    # At the edges one looks anew.
    assert chains.known(15) is None
    assert chains.known(17) is not None


def test_a_recording_that_grows_is_looked_at_again() -> None:
    trace = journal(FIRST)
    chains = Chains(Timeline(trace))
    for _ in chains.search(0):
        pass
    assert chains.known(0) is not None
    trace._slots.count -= 1
    assert chains.known(0) is None


Calls = st.one_of(
    st.builds(
        Asked,
        st.sampled_from([A, S | A, S | B, B, 0, (1 << 64) - 4096, S]),
        st.sampled_from([0, MIB, 4 * MIB, 8 * MIB, (1 << 64) - 1]),
        st.sampled_from([OK, RETRY, RETRY, Status.INVALID_OPERAND, 7]),
        st.sampled_from([A, S | A, S | B, B, 0, (1 << 64) - 1]),
        st.integers(0, 2),
        st.sampled_from([0xFFCC, 0]),
        st.sampled_from([ALL, NO_RANGE, 0]),
        st.sampled_from([ALL, NO_STATUS, NO_REPLY, 0]),
    ),
    st.builds(Other, st.sampled_from([10, 12, 0x10003]), st.integers(0, 1), st.integers(0, 2)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(Calls, min_size=1, max_size=12))
def test_any_journal(calls: list[Asked | Other]) -> None:
    """Whatever guest and kernel do: an answer at each row, in order, with pages that were asked."""
    trace = journal(*calls)
    for row in range(len(calls)):
        chain = found_at(trace, row).chain
        if chain is None:
            continue
        assert rows(chain) == sorted(set(rows(chain)))
        assert {fault.row for fault in chain.faults} <= set(rows(chain))
        if chain.start is not None and chain.end is not None:
            assert all(chain.start <= low < high <= chain.end for low, high in chain.left)
        call = calls[row]
        if isinstance(call, Asked) and call.asked == ALL:
            assert row in rows(chain)
