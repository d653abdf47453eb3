"""MapGPA: checks in order, chunks, events, answers (facts: kernel_exits 4.2)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.kvm import Exit
from tdxdbg.engine import Completer, HypercallAnswer, Reentry, Td
from tdxdbg.engine.state import EVENTS_CHECKED
from tests.engine.support import (
    ALIGN,
    BEFORE_72,
    ERROR,
    EXIT,
    GUEST,
    INVALID,
    MIB2,
    RETRY,
    SHARED,
    SINCE_72,
    SINCE_616,
    SINCE_V1,
    SUCCESS,
    U64,
    UNSUPPORTED,
    answer_of,
    changed,
    engine_in_td,
    map_gpa,
    run_of,
    tdcall,
)

DONE = HypercallAnswer(0)
BIT51 = 1 << 51

#: gpa, size, gpaw, maxphyaddr, status (None: goes to userspace)
CHECKS = [
    # 2: size 0 or wrap
    (0x1000, 0, 48, 52, INVALID),
    (0x1000, U64, 48, 52, INVALID),
    (0xFFFF_FFFF_FFFF_F000, 0x1000, 48, 52, INVALID),
    # ... comes before alignment
    (0x1001, 0, 48, 52, INVALID),
    # 2: illegal: any bit >= maxphyaddr
    (1 << 52, 0x1000, 48, 52, INVALID),
    (1 << 63, 0x1000, 48, 52, INVALID),
    ((1 << 52) - 0x1000, 0x2000, 48, 52, INVALID),
    ((1 << 52) - 0x1000, 0x1000, 48, 52, None),
    # ... GPAW is not used: bits 48..51 pass
    (1 << 48, 0x1000, 48, 52, None),
    (BIT51 | 1 << 47, 0x1000, 48, 52, None),
    # ... maxphyaddr 46 refuses every shared GPA
    (SHARED, 0x1000, 48, 46, INVALID),
    (0x1000, 0x1000, 48, 46, None),
    ((1 << 46) - 0x1000, 0x1000, 48, 46, None),
    (1 << 46, 0x1000, 48, 46, INVALID),
    # 2: the ends differ in the shared bit
    (SHARED - 0x1000, 0x2000, 48, 52, INVALID),
    (SHARED - 0x1000, 0x1000, 48, 52, None),
    (2 * SHARED - 0x1000, 0x2000, 48, 52, INVALID),
    (BIT51 - 0x1000, 0x2000, 52, 52, INVALID),
    (SHARED - 0x1000, 0x2000, 52, 52, None),
    # ... comes before alignment
    (SHARED - 0x1, 0x2, 48, 52, INVALID),
    # 3: not 4 KiB aligned
    (0x1001, 0x1000, 48, 52, ALIGN),
    (0x1000, 0x1001, 48, 52, ALIGN),
    (0x1000, 1, 48, 52, ALIGN),
    (0x800, 0x800, 48, 52, ALIGN),
    (SHARED | 0x1FFF, 0x1000, 48, 52, ALIGN),
]


@pytest.mark.parametrize("generation", SINCE_V1)
@pytest.mark.parametrize(("gpa", "size", "gpaw", "maxphyaddr", "status"), CHECKS)
def test_checks(
    generation: str, gpa: int, size: int, gpaw: int, maxphyaddr: int, status: int | None
) -> None:
    regs = map_gpa(gpa, size)
    step = answer_of(generation, regs, Td(gpaw=gpaw, maxphyaddr=maxphyaddr))
    if status is None:
        assert (step.outcome, step.completer) == (EXIT, Completer.MAP_GPA)
    else:
        assert (step.outcome, changed(regs, step)) == (GUEST, {"r10": status, "r11": gpa})


@pytest.mark.parametrize("generation", SINCE_V1)
@pytest.mark.parametrize(("gpa", "size"), [(0x1000, 0x1000), (0x1001, 0), (1 << 63, 1)])
def test_the_capability_comes_first(generation: str, gpa: int, size: int) -> None:
    # 1: INVALID_OPERAND (v1, rc1), SUBFUNC_UNSUPPORTED (6.16+), R11 = GPA
    regs = map_gpa(gpa, size)
    step = answer_of(generation, regs, Td(exit_hypercall=False))
    status = UNSUPPORTED if generation in SINCE_616 else INVALID
    assert changed(regs, step) == {"r10": status, "r11": gpa}


#: gpa, size, the chunks: (args[0], pages)
CHUNKS = [
    (0x1000, 0x1000, [(0x1000, 1)]),
    (0, MIB2, [(0, 512)]),
    (0x1000, MIB2, [(0x1000, 512)]),  # not aligned to 2 MiB
    (0, MIB2 + 0x1000, [(0, 512), (MIB2, 1)]),
    (0x1000, 5 << 20, [(0x1000, 512), (MIB2 + 0x1000, 512), (2 * MIB2 + 0x1000, 256)]),
    ((1 << 46) - MIB2 - 0x1000, MIB2 + 0x1000, [((1 << 46) - MIB2 - 0x1000, 512)]),
]


@pytest.mark.parametrize("generation", SINCE_V1)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("gpaw", [48, 52])
@pytest.mark.parametrize(("gpa", "size", "chunks"), CHUNKS)
def test_chunks(
    generation: str, shared: bool, gpaw: int, gpa: int, size: int, chunks: list[tuple[int, int]]
) -> None:
    engine = engine_in_td(generation, Td(gpaw=gpaw))
    regs = map_gpa(gpa | (1 << gpaw - 1 if shared else 0), size)
    step = tdcall(engine, regs)
    for start, pages in chunks:
        assert step.run is not None
        assert (step.run.exit_reason, step.completer) == (Exit.HYPERCALL, Completer.MAP_GPA)
        run = run_of(step)
        # the shared bit stripped; 0x10 if private, page-size bits never set; args[3..5] stale
        assert run["args"] == [start, pages, 0 if shared else 0x10, None, None, None]
        assert (run["nr"], run["flags"]) == (12, 1)
        step = engine.feed(Reentry(0, DONE))
    if len(chunks) * MIB2 >= size:
        # R10 = 0, R11 untouched: it still holds the leaf number
        assert (step.outcome, changed(regs, step)) == (GUEST, {})
        expected = (gpa >> 12, (gpa + size) >> 12) if shared else ()
        assert engine.gpa_map.edges == expected


@pytest.mark.parametrize("generation", SINCE_V1)
def test_only_the_shared_bit_is_stripped(generation: str) -> None:
    step = answer_of(generation, map_gpa(1 << 48 | SHARED, 0x1000))
    assert run_of(step)["args"][0] == 1 << 48


@pytest.mark.parametrize("generation", SINCE_V1)
def test_an_event_between_chunks_is_retry(generation: str) -> None:
    engine = engine_in_td(generation)
    regs = map_gpa(SHARED | 0x1000, 5 << 20)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, DONE))
    assert (step.outcome, step.effects) == (EXIT, EVENTS_CHECKED)
    step = engine.feed(Reentry(0, DONE, has_events=True))
    # R11 includes the shared bit
    assert changed(regs, step) == {"r10": RETRY, "r11": SHARED | 0x1000 + 2 * MIB2}
    assert (step.outcome, step.effects) == (GUEST, EVENTS_CHECKED)
    assert engine.gpa_map.edges == (1, 1025)


@pytest.mark.parametrize("generation", SINCE_V1)
def test_no_event_check_after_the_last_chunk(generation: str) -> None:
    engine = engine_in_td(generation)
    regs = map_gpa(0x1000, 0x1000)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, DONE, has_events=True))
    assert (step.effects, changed(regs, step)) == (0, {})


@pytest.mark.parametrize("generation", SINCE_V1)
@pytest.mark.parametrize("ret", [1, 11, 16, 22, U64, -11 & U64, -22 & U64, 1 << 32, INVALID])
@pytest.mark.parametrize("chunk", [0, 1])
def test_userspace_refuses(generation: str, ret: int, chunk: int) -> None:
    engine = engine_in_td(generation)
    regs = map_gpa(SHARED | 0x1000, 5 << 20)
    tdcall(engine, regs)
    for _ in range(chunk):
        engine.feed(Reentry(0, DONE))
    # the error check comes before the event check
    step = engine.feed(Reentry(0, HypercallAnswer(ret), has_events=True))
    assert not step.effects
    assert engine.gpa_map.edges == ((1, 513) if chunk else ())
    where = SHARED | 0x1000 + chunk * MIB2
    if generation in BEFORE_72 or ret == 22:
        assert (step.outcome, changed(regs, step)) == (GUEST, {"r10": INVALID, "r11": where})
    elif ret == 11:
        assert (step.outcome, changed(regs, step)) == (GUEST, {"r10": RETRY, "r11": where})
    else:
        assert (step.outcome, step.errno, changed(regs, step)) == (ERROR, 22, {})


@pytest.mark.parametrize("generation", SINCE_72)
def test_after_a_bad_answer_the_next_kvm_run_says_success(generation: str) -> None:
    # the callback is gone: R10 = 0 although nothing was mapped
    engine = engine_in_td(generation)
    regs = map_gpa(SHARED, 2 * MIB2)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, HypercallAnswer(16)))
    assert (step.completer, engine.vcpu(0).exit_reason) == (Completer.NONE, Exit.HYPERCALL)
    # what userspace writes now, nobody reads
    step = engine.feed(Reentry(0, HypercallAnswer(0)))
    assert (step.outcome, step.regs, step.regs.r10) == (GUEST, regs, SUCCESS)
    assert engine.gpa_map.edges == ()


@pytest.mark.parametrize("generation", SINCE_616)
def test_an_unanswered_chunk_is_converted(generation: str) -> None:
    # ret is preset to 0, which a VMM that never writes it lives by
    engine = engine_in_td(generation)
    tdcall(engine, map_gpa(SHARED, 0x1000))
    assert engine.feed(Reentry(0)).outcome is GUEST
    assert engine.gpa_map.edges == (0, 1)


@pytest.mark.parametrize("generation", SINCE_V1)
def test_a_new_map_gpa_starts_anew(generation: str) -> None:
    engine = engine_in_td(generation)
    tdcall(engine, map_gpa(SHARED, 8 * MIB2))
    engine.feed(Reentry(0, DONE, has_events=True))
    step = tdcall(engine, map_gpa(0x1000, 0x2000))
    assert run_of(step)["args"][:3] == [0x1000, 2, 0x10]
    assert engine.feed(Reentry(0, DONE)).outcome is GUEST


def test_v19_knows_no_map_gpa() -> None:
    # raw exit, whatever the capability says
    step = answer_of("v19", map_gpa(0x1001, 0), Td(exit_hypercall=False))
    assert step.completer is Completer.RAW
