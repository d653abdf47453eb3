"""Answers that belong to another exit, or that no field can hold, change nothing."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import (
    Answer,
    Engine,
    HypercallAnswer,
    InKernel,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    ProtocolError,
    Reentry,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tests.engine.support import SHARED, call, engine_in_td, state_of

ANSWERS: list[Answer] = [
    HypercallAnswer(1),
    HypercallAnswer(),
    IoAnswer(b"\1"),
    MmioAnswer(b"\1"),
    MsrAnswer(1, 2),
    TdxAnswer(1, 2, 3, 4, 5),
    TdxRawAnswer(1, 2),
]
FAULT = InKernel(errno=14)

#: generation, the TD exit, the type that answers it
EXITS: list[tuple[str, TdExit, type[Answer] | None]] = [
    ("6.16", TdExit(0, 77, call(SubFunction.MAP_GPA, 0, 4096)), HypercallAnswer),
    ("v19", TdExit(0, 77, call(0, 1, r10=12)), HypercallAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.IO, 1, 0, 0x60)), IoAnswer),
    ("exits-v1", TdExit(0, 77, call(SubFunction.IO, 1, 1, 0x60)), IoAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.MMIO, 1, 0, SHARED)), MmioAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.MMIO, 1, 1, SHARED)), MmioAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.RDMSR, 1)), MsrAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.WRMSR, 1)), MsrAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.GET_TD_VM_CALL_INFO, 1)), TdxAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.GET_QUOTE, SHARED)), TdxAnswer),
    ("6.16", TdExit(0, 77, call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, 64)), TdxAnswer),
    ("v19", TdExit(0, 77, call(SubFunction.GET_QUOTE, SHARED)), TdxRawAnswer),
    # exits that have no answer at all
    ("6.16", TdExit(0, 77, call(SubFunction.REPORT_FATAL_ERROR)), None),
    ("6.16", TdExit(0, 2, Regs()), None),
    ("7.3", TdExit(0, 74, Regs()), None),
    ("6.16", TdExit(0, 0x1234, Regs()), None),
    ("6.16", TdExit(0, 48, Regs(), in_kernel=FAULT), None),
    ("6.16", TdExit(0, 77, call(0, r10=1), signal_pending=True), None),
]


def engine_after(generation: str, event: TdExit) -> Engine:
    engine = engine_in_td(generation, Td(user_space_msr_mask=7))
    engine.feed(event)
    return engine


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
@pytest.mark.parametrize(("generation", "event", "fitting"), EXITS)
def test_type(generation: str, event: TdExit, fitting: type[Answer] | None, answer: Answer) -> None:
    engine = engine_after(generation, event)
    if type(answer) is fitting:
        engine.feed(Reentry(0, answer))
        return
    before = state_of(engine)
    with pytest.raises(ProtocolError, match="does not answer exit reason"):
        engine.feed(Reentry(0, answer))
    assert state_of(engine) == before
    # the exit can still be answered
    engine.feed(Reentry(0))


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_a_new_vcpu_has_nothing_to_answer(answer: Answer) -> None:
    engine = engine_in_td("6.16")
    before = state_of(engine)
    with pytest.raises(ProtocolError, match="vCPU 9"):
        engine.feed(Reentry(9, answer))
    assert state_of(engine) == before
    assert 9 not in engine.vcpus


def test_an_answer_is_not_looked_at_when_the_vm_is_dead() -> None:
    engine = engine_after("6.16", TdExit(0, 49, Regs()))
    assert engine.feed(Reentry(0, IoAnswer(b"\1"))).errno == 5


TOO_BIG = 1 << 64
OVERFLOWS: list[tuple[str, TdExit, Answer]] = [
    ("6.16", EXITS[0][1], HypercallAnswer(TOO_BIG)),
    ("6.16", EXITS[0][1], HypercallAnswer(-22)),
    ("6.16", EXITS[6][1], MsrAnswer(256, 7)),
    ("6.16", EXITS[6][1], MsrAnswer(1, TOO_BIG)),
    ("6.16", EXITS[6][1], MsrAnswer(-1, 7)),
    ("6.16", EXITS[8][1], TdxAnswer(1, 2, 3, 4, TOO_BIG)),
    ("6.16", EXITS[8][1], TdxAnswer(-1)),
    ("v19", EXITS[11][1], TdxRawAnswer(1, rdx=TOO_BIG)),
]


@pytest.mark.parametrize(("generation", "event", "answer"), OVERFLOWS)
def test_a_number_that_the_field_cannot_hold(
    generation: str, event: TdExit, answer: Answer
) -> None:
    engine = engine_after(generation, event)
    before = state_of(engine)
    with pytest.raises(ProtocolError, match="cannot hold"):
        engine.feed(Reentry(0, answer))
    assert state_of(engine) == before


@pytest.mark.parametrize(
    ("index", "long", "short"),
    [
        (2, IoAnswer(b"\x55" + b"\xff" * 100), IoAnswer(b"\x55")),
        (4, MmioAnswer(b"\x55" + b"\xff" * 100), MmioAnswer(b"\x55")),
    ],
)
def test_bytes_beyond_the_size_do_not_matter(index: int, long: Answer, short: Answer) -> None:
    generation, event, _ = EXITS[index]
    steps = [engine_after(generation, event).feed(Reentry(0, answer)) for answer in (long, short)]
    assert steps[0].regs == steps[1].regs
    assert steps[0].regs.r11 == 0x55
