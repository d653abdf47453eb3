"""Whose word counts for what is shared: userspace's answers, or its ioctls alone."""

from __future__ import annotations

import pytest

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import NO_REGS
from tdxdbg.engine import (
    BY_NAME,
    Engine,
    HypercallAnswer,
    InKernel,
    Reentry,
    SetMemoryAttributes,
    Td,
    TdExit,
    TdxRawAnswer,
)
from tdxdbg.engine.state import Answer

GPA = 0x400000
SHARED = 1 << 47
MAP_GPA = NO_REGS._replace(r11=0x10001, r12=SHARED | GPA, r13=0x1000, rcx=0xFC00)
HYPERCALL = NO_REGS._replace(r10=12, r11=GPA, r12=1, r13=0, r14=0, rcx=0xFC00)

CASES = [
    ("MapGPA", "7.2", TdExit(0, vmx.TDCALL, MAP_GPA), HypercallAnswer(0)),
    ("MapGPA in userspace", "v19", TdExit(0, vmx.TDCALL, MAP_GPA), TdxRawAnswer(r10=0)),
    ("KVM_HC_MAP_GPA_RANGE", "7.2", TdExit(0, vmx.TDCALL, HYPERCALL), HypercallAnswer(0)),
    (
        "memory fault",
        "7.2",
        TdExit(
            0, vmx.EPT_VIOLATION, NO_REGS._replace(r8=SHARED | GPA), in_kernel=InKernel(errno=14)
        ),
        None,
    ),
]


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize(
    ("kernel", "event", "answer"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_an_answer_converts(
    kernel: str, event: TdExit, answer: Answer | None, implicit: bool
) -> None:
    engine = Engine(Td(implicit_conversions=implicit), BY_NAME[kernel])
    engine.feed(Reentry(0))
    assert engine.feed(event).run is not None
    engine.feed(Reentry(0, answer))
    assert engine.gpa_map.is_shared(GPA) == implicit


@pytest.mark.parametrize("implicit", [True, False])
def test_an_ioctl_always_converts(implicit: bool) -> None:
    engine = Engine(Td(implicit_conversions=implicit))
    engine.feed(SetMemoryAttributes(GPA, 0x1000, private=False))
    assert engine.gpa_map.is_shared(GPA)
