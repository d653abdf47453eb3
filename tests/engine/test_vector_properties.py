"""Metamorphic rules over the schema of the vectors: what must not matter, does not."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tdxdbg.abi.regs import Regs
from tdxdbg.engine import (
    BY_NAME,
    Engine,
    GpaMap,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    Step,
    Td,
)
from tdxdbg.verify import make_td
from tests.engine.strategies import generation_names, words
from tests.engine.support import (
    ALL,
    BUS_LOCK,
    MIB2,
    RETRY,
    SINCE_72,
    SINCE_616,
    SINCE_V1,
    call,
    engine_in_td,
    map_gpa,
    tdcall,
)
from tests.engine.vectors import Drive, Given, dict_of, drive, hidden, inputs, is_tdcall, regs_of

examples = settings(max_examples=80)


@examples
@given(generation_names, inputs(), words)
def test_a_register_that_rcx_does_not_select_never_matters(
    generation: str, given_: Given, noise: int
) -> None:
    assume(is_tdcall(given_))
    regs = regs_of(given_)
    other = regs._replace(**dict.fromkeys(hidden(regs), noise))
    assert drive(given_, generation) == drive({**given_, "regs": dict_of(other)}, generation)


@examples
@given(generation_names, inputs())
def test_the_same_exit_on_two_vcpus_gives_the_same_steps(generation: str, given_: Given) -> None:
    engine = Engine(make_td(given_), BY_NAME[generation])
    first = Drive(given_, generation, 0, engine).steps()
    assume(not engine.dead)
    assert Drive(given_, generation, 1, engine).steps() == first
    # ... and when their inputs take turns
    engine = Engine(make_td(given_), BY_NAME[generation])
    drives = [Drive(given_, generation, vcpu, engine).walk() for vcpu in (0, 1)]
    assert list(zip(*drives, strict=True)) == [(step, step) for step in first]


@examples
@given(inputs())
def test_72_and_73_differ_only_in_bus_locks_and_notify(given_: Given) -> None:
    # facts: kernel_exits 7
    ret = given_.get("vp_enter_ret", 77)
    assume(not ret & BUS_LOCK and ret & 0xFFFF not in (74, 75))
    assert drive(given_, "7.2") == drive(given_, "7.3")


@examples
@given(inputs())
def test_616_and_72_differ_only_in_errnos(given_: Given) -> None:
    # facts: kernel_exits, head and 4.2
    every = [*given_["answers"], given_.get("default_answer")]
    assume(all((answer or {}).get("ret", 0) in (0, 22) for answer in every))
    old, new = (
        [step._replace(notes=()) for step in drive(given_, generation)]
        for generation in ("6.16", "7.2")
    )
    assert old == new


@examples
@given(st.sampled_from(SINCE_616), inputs())
def test_what_an_older_exit_left_does_not_matter(generation: str, given_: Given) -> None:
    # facts: kernel_exits 5, B2: settled by writing every answer field at the exit, so that a
    # VMM may leave ret alone; only the data of an unanswered MMIO read is stale
    whole = {"data": "00" * 8, "error": 0}
    given_ = {**given_, "answers": [], "default_answer": whole}
    before = [step.regs for step in drive({**given_, "prelude": []}, generation)]
    assume(not any(_writes_msr(registers) for registers in given_["prelude"]))
    assert [step.regs for step in drive(given_, generation)] == before


def _writes_msr(registers: dict[str, int]) -> bool:
    return registers.get("r11") == 32


# --- MapGPA ---------------------------------------------------------------------------

_pages = st.integers(0, 4096)
_lengths = st.integers(1, 5 * 512)
_before = st.lists(st.tuples(_pages, _lengths, st.booleans()), max_size=4)


def mapped(before: list[tuple[int, int, bool]]) -> GpaMap:
    gpa_map = GpaMap()
    for page, pages, private in before:
        gpa_map = gpa_map.convert(page << 12, pages << 12, private=private)
    return gpa_map


def guest_map_gpa(engine: Engine, gpa: int, size: int, answers: list[int]) -> int:
    """tdx_map_gpa of a guest: again from R11 while the status is RETRY; how many retries."""
    end = gpa + size
    retries = 0
    while True:
        step = tdcall(engine, map_gpa(gpa, end - gpa))
        while step.outcome is not Outcome.REENTER_TD:
            code = answers.pop(0) if answers else 0
            reentry = Reentry(0, HypercallAnswer(code & 0xFF), has_events=bool(code >> 8))
            step = engine.feed(reentry)
        if step.regs.r10 != RETRY:
            assert step.regs.r10 == 0
            return retries
        assert gpa <= step.regs.r11 < end
        gpa = step.regs.r11
        retries += 1


@examples
@given(
    st.sampled_from(SINCE_V1), _before, _pages, _lengths, st.booleans(), st.sampled_from([48, 52])
)
def test_chunks_convert_what_one_conversion_would(
    generation: str,
    before: list[tuple[int, int, bool]],
    page: int,
    pages: int,
    private: bool,
    gpaw: int,
) -> None:
    td = Td(gpaw=gpaw)
    engine = engine_in_td(generation, td)
    engine.gpa_map = start = mapped(before)
    gpa, size = page << 12, pages << 12
    assert not guest_map_gpa(engine, gpa | (0 if private else td.shared_mask), size, [])
    assert engine.gpa_map == start.convert(gpa, size, private=private)


@examples
@given(
    st.sampled_from(SINCE_V1),
    _before,
    _pages,
    _lengths,
    st.booleans(),
    st.lists(st.sampled_from([0, 1 << 8, 11, 11 | 1 << 8]), max_size=12),
)
def test_retry_from_r11_converts_the_same_in_the_end(
    generation: str,
    before: list[tuple[int, int, bool]],
    page: int,
    pages: int,
    private: bool,
    answers: list[int],
) -> None:
    if generation not in SINCE_72:
        # EAGAIN is an error there
        answers = [code & ~0xFF for code in answers]
    engine = engine_in_td(generation)
    engine.gpa_map = start = mapped(before)
    gpa, size = page << 12, pages << 12
    shared = 0 if private else engine.td.shared_mask
    guest_map_gpa(engine, gpa | shared, size, answers)
    assert engine.gpa_map == start.convert(gpa, size, private=private)


@examples
@given(st.sampled_from(SINCE_V1), _pages, _lengths, st.integers(0, 6))
def test_an_interrupted_map_gpa_converted_the_chunks_before(
    generation: str, page: int, pages: int, events_after: int
) -> None:
    engine = engine_in_td(generation)
    gpa, size = page << 12, pages << 12
    step = tdcall(engine, map_gpa(gpa | engine.td.shared_mask, size))
    done = 0
    while step.outcome is not Outcome.REENTER_TD:
        done += 1
        step = engine.feed(Reentry(0, HypercallAnswer(0), has_events=done > events_after))
    length = min(done * MIB2, size)
    assert engine.gpa_map == GpaMap().convert(gpa, length, private=False)
    assert (step.regs.r10 == RETRY) is (length < size)


# --- answers --------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ALL)
@given(st.sampled_from([1, 2, 4, 8]), st.binary(min_size=8, max_size=8), st.binary(max_size=12))
def test_answer_bytes_beyond_the_size_never_matter(
    generation: str, size: int, data: bytes, tail: bytes
) -> None:
    reads: list[tuple[Regs, type[IoAnswer] | type[MmioAnswer]]] = [
        (call(48, size, 0, 1 << 47 | 0x1000), MmioAnswer)
    ]
    if size < 8:
        reads.append((call(30, size, 0, 0x3F8), IoAnswer))
    for regs, answer in reads:
        steps: list[Step] = []
        for read in (data, data[:size], data[:size] + tail):
            engine = engine_in_td(generation)
            tdcall(engine, regs)
            steps.append(engine.feed(Reentry(0, answer(read))))
        assert steps[0] == steps[1] == steps[2]
        assert steps[0].regs.r11 == int.from_bytes(data[:size], "little")
