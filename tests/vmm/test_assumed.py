"""What is assumed of userspace where nobody recorded it."""

from __future__ import annotations

from typing import Any

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.engine import (
    Answer,
    HypercallAnswer,
    IoAnswer,
    KvmRun,
    MmioAnswer,
    MsrAnswer,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import EMPTY, MEMORY_FAULT, MSR
from tdxdbg.vmm import Reply
from tdxdbg.vmm.assumed import assumed_reply
from tests.engine.support import ALIGN, INVALID, SHARED, call, map_gpa
from tests.vmm.support import exit_of

MMIO = SHARED | 0xFE00_0000
NOTIFY = call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, 40)


@pytest.mark.parametrize(
    ("generation", "regs", "answer"),
    [
        ("7.3", map_gpa(SHARED, 4096), HypercallAnswer()),
        ("7.3", call(SubFunction.IO, 2, 0, 0x80), IoAnswer(b"\xff\xff")),
        ("7.3", call(SubFunction.IO, 1, 1, 0x80, 5), None),
        ("7.3", call(SubFunction.MMIO, 4, 0, MMIO), MmioAnswer(bytes(8))),
        ("7.3", call(SubFunction.MMIO, 4, 1, MMIO, 5), None),
        ("7.3", call(SubFunction.GET_TD_VM_CALL_INFO, 1), TdxAnswer(0, 2, 0, 0, 0)),
        ("7.3", call(SubFunction.GET_QUOTE, SHARED, 4096), TdxAnswer(0)),
        ("7.3", call(SubFunction.GET_QUOTE, SHARED, 0), TdxAnswer(INVALID)),
        ("7.3", call(SubFunction.GET_QUOTE, SHARED | 1, 4096), TdxAnswer(ALIGN)),
        ("7.3", NOTIFY, TdxAnswer(0)),
        ("v19", NOTIFY, TdxRawAnswer(r10=0)),
        ("v19", call(SubFunction.WBINVD), TdxRawAnswer(r10=INVALID)),
    ],
)
def test_answers(generation: str, regs: Any, answer: Answer | None) -> None:
    run = exit_of(generation, regs).run
    assert run is not None
    assert assumed_reply(run) == Reply(answer)


@pytest.mark.parametrize(
    ("reason", "layout", "reply"),
    [
        (29, MSR, Reply(MsrAnswer(error=1))),
        (30, MSR, Reply(MsrAnswer(error=1))),
        (33, EMPTY, Reply()),
        (10, EMPTY, Reply()),
        (39, MEMORY_FAULT, Reply()),
        (8, EMPTY, Reply(stop="KVM_EXIT_SHUTDOWN")),
        (24, EMPTY, Reply(stop="KVM_EXIT_SYSTEM_EVENT")),
    ],
)
def test_exits(reason: int, layout: Any, reply: Reply) -> None:
    assert assumed_reply(KvmRun(reason, layout, bytes(256))) == reply
