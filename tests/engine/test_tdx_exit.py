"""GetTdVmCallInfo, GetQuote, SetupEventNotifyInterrupt, unknown calls (facts: kernel_exits 4.7)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.engine import Completer, Reentry, Td, TdxAnswer
from tests.engine.support import (
    ALL,
    GUEST,
    INVALID,
    MERGED,
    RETRY,
    SHARED,
    SINCE_616,
    SINCE_V1,
    UNSUPPORTED,
    answer_of,
    call,
    changed,
    engine_in_td,
    run_of,
    tdcall,
)

INFO, QUOTE, EVENT = (
    SubFunction.GET_TD_VM_CALL_INFO,
    SubFunction.GET_QUOTE,
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT,
)
RC1 = MERGED[0]


@pytest.mark.parametrize("generation", SINCE_V1)
@pytest.mark.parametrize(
    "leaf", [0, 18, 49, 54, 65, 77, 0x10005, 0x10006, 0x1_0000_000A, 1 << 63, 0x10007, 0xFFFF]
)
def test_unknown_sub_function(generation: str, leaf: int) -> None:
    # facts: kernel_exits 1.2: INVALID_OPERAND up to rc1, then SUBFUNC_UNSUPPORTED
    regs = call(leaf, 1, 2, 3, 4)
    status = UNSUPPORTED if generation in SINCE_616 else INVALID
    step = answer_of(generation, regs)
    assert (step.outcome, changed(regs, step)) == (GUEST, {"r10": status})


@pytest.mark.parametrize("generation", ["exits-v1", RC1])
@pytest.mark.parametrize("leaf", [QUOTE, EVENT])
def test_quote_and_event_notify_came_with_616(generation: str, leaf: int) -> None:
    regs = call(leaf, SHARED | 0x1000, 0x1000)
    assert changed(regs, answer_of(generation, regs)) == {"r10": INVALID}


def test_v1_has_no_info() -> None:
    regs = call(INFO)
    assert changed(regs, answer_of("exits-v1", regs)) == {"r10": INVALID}


@pytest.mark.parametrize("generation", ["v19", *MERGED])
def test_info_leaf_0(generation: str) -> None:
    # R11..R14 = 0, R10 = 0, no exit
    regs = call(INFO, 0, 7, 8, 9)
    step = answer_of(generation, regs)
    assert (step.outcome, changed(regs, step)) == (GUEST, {"r11": 0, "r13": 0, "r14": 0})


@pytest.mark.parametrize("generation", ["v19", *MERGED])
@pytest.mark.parametrize("leaf", [1, 2, 1 << 32, 1 << 63])
def test_info_other_leaves(generation: str, leaf: int) -> None:
    regs = call(INFO, leaf, 7, 8, 9)
    step = answer_of(generation, regs)
    if leaf == 1 and generation in SINCE_616:
        assert step.run is not None
        assert (step.run.exit_reason, step.completer) == (Exit.TDX, Completer.GET_TD_VM_CALL_INFO)
        zeros = dict.fromkeys(("flags", "ret", "r11", "r12", "r13", "r14"), 0)
        assert run_of(step) == {"nr": 0x10000, "leaf": 1, **zeros}
    else:
        assert changed(regs, step) == {"r10": INVALID}


@pytest.mark.parametrize("generation", SINCE_616)
@pytest.mark.parametrize(
    ("answer", "r10_to_r14"),
    [
        (None, (0, 0, 0, 0, 0)),
        (TdxAnswer(), (0, 0, 0, 0, 0)),
        (TdxAnswer(r11=2), (0, 2, 0, 0, 0)),
        (TdxAnswer(0, 1, 2, 3, (1 << 64) - 1), (0, 1, 2, 3, (1 << 64) - 1)),
        # always, also on an error
        (TdxAnswer(INVALID, 1, 2, 3, 4), (INVALID, 1, 2, 3, 4)),
    ],
)
def test_info_completion(
    generation: str, answer: TdxAnswer | None, r10_to_r14: tuple[int, ...]
) -> None:
    engine = engine_in_td(generation)
    regs = call(INFO, 1, 7, 8, 9)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, answer))
    assert step.outcome is GUEST
    assert step.regs[10:15] == r10_to_r14
    assert (step.regs[:10], step.regs[15]) == (regs[:10], 9)


@pytest.mark.parametrize("generation", SINCE_616)
@pytest.mark.parametrize("gpaw", [48, 52])
@pytest.mark.parametrize(
    ("low", "size", "shared", "accepted"),
    [
        (0x1000, 0x1000, True, True),
        (0x1001, 0, True, True),  # no alignment or size check
        (0, (1 << 64) - 1, True, True),
        (0x1000, 0x1000, False, False),
        (1 << 60, 0x1000, True, True),  # the rest of the GPA is not looked at
    ],
)
def test_get_quote(
    generation: str, gpaw: int, low: int, size: int, shared: bool, accepted: bool
) -> None:
    regs = call(QUOTE, low | (1 << gpaw - 1 if shared else 0), size)
    step = answer_of(generation, regs, Td(gpaw=gpaw))
    if not accepted:
        assert changed(regs, step) == {"r10": INVALID}
        return
    assert step.completer is Completer.SIMPLE
    assert run_of(step) == {
        "flags": 0,
        "nr": 0x10002,
        "ret": UNSUPPORTED,
        "gpa": low,
        "size": size,
    }


@pytest.mark.parametrize("generation", SINCE_616)
@pytest.mark.parametrize(
    ("vector", "accepted"),
    [(0, False), (31, False), (32, True), (255, True), (256, False), (1 << 32 | 64, False)],
)
def test_event_notify_bounds(generation: str, vector: int, accepted: bool) -> None:
    # 32..255, a 64-bit compare
    regs = call(EVENT, vector)
    step = answer_of(generation, regs)
    if not accepted:
        assert changed(regs, step) == {"r10": INVALID}
        return
    assert step.completer is Completer.SIMPLE
    assert run_of(step) == {"flags": 0, "nr": 0x10004, "ret": UNSUPPORTED, "vector": vector}


@pytest.mark.parametrize("generation", SINCE_616)
@pytest.mark.parametrize("regs", [call(QUOTE, SHARED, 0x1000), call(EVENT, 64)])
@pytest.mark.parametrize(
    ("answer", "r10"),
    [
        # a userspace that ignores the exit answers "unsupported"
        (None, UNSUPPORTED),
        (TdxAnswer(), UNSUPPORTED),
        (TdxAnswer(0), 0),
        (TdxAnswer(RETRY), RETRY),
        (TdxAnswer((1 << 64) - 1), (1 << 64) - 1),
    ],
)
def test_simple_completion(
    generation: str, regs: object, answer: TdxAnswer | None, r10: int
) -> None:
    engine = engine_in_td(generation)
    assert isinstance(regs, type(call(0)))
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, answer))
    assert (step.outcome, step.regs) == (GUEST, regs._replace(r10=r10))


@pytest.mark.parametrize("generation", ALL)
def test_the_leaf_is_compared_as_64_bits(generation: str) -> None:
    # facts: kernel_exits 1.2
    regs = call(1 << 32 | SubFunction.MAP_GPA, 0, 0x1000)
    step = answer_of(generation, regs)
    if generation == "v19":
        assert step.completer is Completer.RAW
    else:
        assert step.regs.r10 in (INVALID, UNSUPPORTED)
