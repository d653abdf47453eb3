"""TDH.VP.ENTER returns: what each generation looks at, and in which order.

Rows cite facts: kernel_exits 3 (order of checks, table of reasons) and 1.4 (classes of RAX).
"""

from __future__ import annotations

import pytest

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import Reentry, Step, TdExit
from tdxdbg.engine.state import VM_BUGGED, WARNED
from tests.engine.support import ALL, ERROR, EXIT, GUEST, MERGED, engine_in_td, run_of

NON_RECOVERABLE_TD = 0x4000_0002_0000_0000
NON_RECOVERABLE_VCPU = 0x4000_0001_0000_0000
NON_ACCESSIBLE = 0x6000_0005_0000_0000
WRONG_APIC_MODE = 0x6000_0007_0000_0000
OPERAND_BUSY = 0x8000_0200_0000_0000
OPERAND_INVALID = 0xC000_0100_0000_0000
INTERRUPTED_RESUMABLE = 0x8000_0003_0000_0000
KEY_CONFIGURED = 0x0000_0815_0000_0000
SW_ERROR = 0x8000_FF00_0000_0000
FAILED = 1 << 31
NMI = Regs(r9=0x8000_0202)
MACHINE_CHECK = Regs(r9=0x8000_0312)
DIVIDE_ERROR = Regs(r9=0x8000_0300)
GENERAL_PROTECTION = Regs(r9=0xFFFF_FFFF_8000_0B0D)

V19 = "v19"
V1 = "exits-v1"
RC1, V616, V72, V73 = MERGED

#: What a row may expect, by its short name.
KINDS = {
    "guest": (GUEST, None),
    "internal": (EXIT, Exit.INTERNAL_ERROR),
    "shutdown": (EXIT, Exit.SHUTDOWN),
    "fail": (EXIT, Exit.FAIL_ENTRY),
    "exception": (EXIT, Exit.EXCEPTION),
    "notify": (EXIT, Exit.NOTIFY),
    "bus lock": (EXIT, Exit.X86_BUS_LOCK),
    "EIO": (ERROR, None),
}


def each(v19: str, v1: str, merged: str, v73: str | None = None) -> dict[str, str]:
    """What v19, v1, the merged generations and (when it differs) 7.3 do."""
    return {V19: v19, V1: v1, RC1: merged, V616: merged, V72: merged, V73: v73 or merged}


ROWS: list[tuple[str, int, Regs, dict[str, str]]] = [
    # 3, row "fast path": v19/v1 by the whole value, later any OPERAND_BUSY.
    ("busy SEPT", OPERAND_BUSY | 0x92, Regs(), each("guest", "guest", "guest")),
    ("busy epoch", OPERAND_BUSY | 0xA9, Regs(), each("guest", "guest", "guest")),
    ("busy TDR", OPERAND_BUSY | 0x80, Regs(), each("internal", "internal", "guest")),
    # 3, order: EPT_MISCONFIG alone, before all else.
    ("misconfig", 49, Regs(), each("internal warned", "internal", "EIO bugged")),
    # ... with a status it is no reason at all (1.4, the low 32 bits are rewritten).
    ("misconfig, TD dead", NON_RECOVERABLE_TD | 49, Regs(), each(*["internal"] * 3)),
    # 3, order: SW_ERROR.
    ("SEAMCALL #GP", SW_ERROR | 0xD, Regs(), each("internal", *["internal bugged"] * 2)),
    ("SEAMCALL #UD", SW_ERROR | 6, Regs(), each("EIO bugged", *["internal bugged"] * 2)),
    ("VMFAILINVALID", SW_ERROR | 0xFFFF_0000, Regs(), each("internal", *["internal bugged"] * 2)),
    # SW_ERROR is looked at before a triple fault in its low bits ...
    ("SW_ERROR, 2", SW_ERROR | 2, Regs(), each("shutdown", *["internal bugged"] * 2)),
    # ... and failed VM entry before ERROR and the reason.
    (
        "failed entry",
        FAILED | 34,
        Regs(),
        each("internal", "internal", "fail warned"),
    ),
    (
        "failed entry, vCPU dead",
        NON_RECOVERABLE_VCPU | FAILED | 33,
        Regs(),
        each("internal", "internal", "fail"),
    ),
    (
        "failed entry with a triple fault",
        NON_RECOVERABLE_TD | FAILED | 2,
        Regs(),
        each("shutdown", "shutdown", "fail"),
    ),
    # 3, order: ERROR or NON_RECOVERABLE.
    ("operand invalid", OPERAND_INVALID | 1, Regs(), each(*["internal"] * 3)),
    ("resumable", INTERRUPTED_RESUMABLE, Regs(), each(*["internal"] * 3)),
    ("TD dead", NON_RECOVERABLE_TD | 77, Regs(), each(*["internal"] * 3)),
    ("TD dead, halt", NON_RECOVERABLE_TD | 12, Regs(), each(*["internal"] * 3)),
    ("not accessible", NON_ACCESSIBLE, Regs(), each(*["internal"] * 3)),
    ("APIC mode", WRONG_APIC_MODE, Regs(), each(*["internal"] * 3)),
    # Neither an error nor success.
    ("KEY_CONFIGURED", KEY_CONFIGURED, Regs(), each("exception", *["internal warned"] * 2)),
    ("KEY_CONFIGURED, 1", KEY_CONFIGURED | 1, Regs(), each("guest", *["internal warned"] * 2)),
    (
        "KEY_CONFIGURED, 2",
        KEY_CONFIGURED | 2,
        Regs(),
        each("internal", *["internal warned"] * 2),
    ),
    # 3, table, TRIPLE_FAULT.
    ("triple fault", 2, Regs(), each("internal", "internal", "shutdown")),
    ("triple fault, TD dead", NON_RECOVERABLE_TD | 2, Regs(), each(*["shutdown"] * 3)),
    ("triple fault, APIC mode", WRONG_APIC_MODE | 2, Regs(), each(*["shutdown"] * 3)),
    # An error that carries no reason: v19 takes the low bits all the same.
    ("operand 2 invalid", OPERAND_INVALID | 2, Regs(), each("shutdown", "internal", "internal")),
    # 3, table, EXCEPTION_NMI: by R9.
    ("NMI", 0, NMI, each("guest", "internal", "guest")),
    ("#MC", 0, MACHINE_CHECK, each("guest", "internal", "guest")),
    ("#DE", 0, DIVIDE_ERROR, each("exception", "internal", "exception")),
    ("#GP", 0, GENERAL_PROTECTION, each("exception", "internal", "exception")),
    ("invalid NMI", 0, Regs(r9=0x202), each("exception", "internal", "exception")),
    # 3, table, the other reasons.
    ("interrupt", 1, Regs(), each("guest", "internal", "guest")),
    ("SMI", 6, Regs(), each("guest", "internal", "guest")),
    ("bus lock", 74, Regs(), each("internal", "internal", "internal", "bus lock")),
    ("notify", 75, Regs(), each("internal", "internal", "internal", "guest")),
    ("notify, invalid", 75, Regs(rcx=1), each("internal", "internal", "internal", "notify")),
    ("MCE during entry", 41, Regs(), each(*["internal"] * 3)),
    ("reserved reason", 0x1234, Regs(), each(*["internal"] * 3)),
    ("VMX preemption timer", 52, Regs(), each(*["internal"] * 3)),
    # 1.3: bit 27 (enclave) makes it another value, and no generation looks at that bit.
    ("enclave bit", 1 << 27 | 1, Regs(), each("guest", "internal", "guest")),
]


def check_kind(step: Step, expected: str) -> None:
    words = expected.split()
    effects = {"warned": WARNED, "bugged": VM_BUGGED}.get(words[-1], 0)
    name = expected if not effects else " ".join(words[:-1])
    outcome, exit_reason = KINDS[name]
    assert step.outcome is outcome
    assert (step.run.exit_reason if step.run else None) == exit_reason
    assert step.effects == effects
    assert step.errno == (5 if name == "EIO" else 0)
    assert step.notes


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("ret", "regs", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_outcome(generation: str, ret: int, regs: Regs, expected: dict[str, str]) -> None:
    engine = engine_in_td(generation)
    step = engine.feed(TdExit(0, ret, regs))
    check_kind(step, expected[generation])
    assert step.regs == regs, "an exit that is no TDCALL touches no register"


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("ret", [OPERAND_INVALID | 1, NON_RECOVERABLE_TD | 77, 0x1234])
def test_internal_error_shows_rax(generation: str, ret: int) -> None:
    # facts: kernel_exits 3, after the table
    step = engine_in_td(generation).feed(TdExit(0, ret, Regs()))
    assert run_of(step) == {"suberror": 4, "ndata": 2, "data": [ret, 0]}
    assert step.completer == 0


def test_internal_error_of_a_misconfig_shows_the_reason_alone_in_v19() -> None:
    # facts: kernel_exits 3, row EPT_MISCONFIG
    step = engine_in_td(V19).feed(TdExit(0, KEY_CONFIGURED | 49, Regs()))
    assert run_of(step)["data"] == [49, 0]


@pytest.mark.parametrize("generation", MERGED)
def test_fail_entry_shows_the_32_bit_reason(generation: str) -> None:
    # facts: kernel_exits 3, order of checks
    step = engine_in_td(generation).feed(TdExit(0, NON_RECOVERABLE_VCPU | FAILED | 34, Regs()))
    assert run_of(step) == {"hardware_entry_failure_reason": FAILED | 34, "cpu": 0}


@pytest.mark.parametrize("generation", [name for name in ALL if name != V1])
@pytest.mark.parametrize(("regs", "vector"), [(DIVIDE_ERROR, 0), (GENERAL_PROTECTION, 13)])
def test_exception_exit(generation: str, regs: Regs, vector: int) -> None:
    # facts: kernel_exits 3, row EXCEPTION_NMI: the error code is always 0
    step = engine_in_td(generation).feed(TdExit(0, 0, regs))
    assert run_of(step) == {"exception": vector, "error_code": 0}


@pytest.mark.parametrize("generation", MERGED)
def test_a_leaf_of_a_dead_td_is_not_dispatched(generation: str) -> None:
    # facts: kernel_exits 3: the reason is rewritten (HLT), but the error comes first
    regs = Regs(rcx=0xFFCC, r11=12)
    step = engine_in_td(generation).feed(TdExit(0, NON_RECOVERABLE_TD | 77, regs))
    assert run_of(step)["data"] == [NON_RECOVERABLE_TD | 77, 0]
    assert not step.effects


@pytest.mark.parametrize("generation", MERGED)
def test_all_ones_is_no_failed_entry(generation: str) -> None:
    # facts: kernel_exits 1.3: 0xffffffff stands for "no exit reason" there
    step = engine_in_td(generation).feed(TdExit(0, NON_RECOVERABLE_TD | 49, Regs()))
    assert step.run is not None
    assert step.run.exit_reason == Exit.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("generation", "ret"),
    [(V1, SW_ERROR | 6), (V19, SW_ERROR | 6), (V616, 49), (V73, SW_ERROR)],
)
def test_a_bugged_vm_is_dead(generation: str, ret: int) -> None:
    # facts: kernel_exits 3: VM bugged, every later KVM_RUN fails with -EIO
    engine = engine_in_td(generation)
    engine.feed(TdExit(0, ret, Regs()))
    assert engine.dead
    step = engine.feed(Reentry(0))
    assert (step.outcome, step.errno, step.run) == (ERROR, 5, None)
