"""Journals of MapGPA calls written by hand: what the guest asked, and what it was told."""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.regs import KNOWN_ALL, LINUX_EXPOSE_MASK, R10, R11, R12, R13, Regs
from tdxdbg.engine import Outcome, Step, Td, TdExit
from tdxdbg.engine.recorded import KNOWN_VP_ENTER_RET
from tdxdbg.traces import Trace, TraceMeta
from tdxdbg.traces.records import Record, step_record, td_exit

TD = Td(gpaw=48, maxphyaddr=52)
S = 1 << 47
A = 0x4000_0000
MIB = 1 << 20
RETRY = Status.RETRY
OK = Status.SUCCESS
_R11_AFTER = int(SubFunction.MAP_GPA)
ALL = KNOWN_ALL | KNOWN_VP_ENTER_RET


class Asked(NamedTuple):
    """MapGPA: R12, R13, then R10 and R11 as the guest gets them.

    `asked` and `told` say which registers were recorded.
    """

    start: int
    size: int
    status: int = OK
    reply: int = _R11_AFTER
    vcpu: int = 0
    mask: int = LINUX_EXPOSE_MASK
    asked: int = ALL
    told: int = ALL


class Other(NamedTuple):
    """Another TDVMCALL, done in the kernel."""

    leaf: int = SubFunction.CPUID
    r12: int = 0
    vcpu: int = 0


def hlt(blocked: int = 1, vcpu: int = 0) -> Other:
    return Other(SubFunction.HLT, blocked, vcpu)


#: What `asked` and `told` leave out.
NO_RANGE = ALL & ~(1 << R12 | 1 << R13)
NO_STATUS = ALL & ~(1 << R10)
NO_REPLY = ALL & ~(1 << R11)


def rows(row: int, call: Asked | Other) -> list[Record]:
    """The TD exit and the TD entry."""
    if isinstance(call, Other):
        regs = Regs(rcx=LINUX_EXPOSE_MASK, r11=call.leaf, r12=call.r12)
        done = Step(Outcome.REENTER_TD, regs)
        return [td_exit(row, TdExit(call.vcpu, 77, regs)), step_record(row, call.vcpu, done)]
    regs = Regs(rcx=call.mask, r11=SubFunction.MAP_GPA, r12=call.start, r13=call.size)
    done = Step(Outcome.REENTER_TD, regs._replace(r10=call.status, r11=call.reply))
    asked = td_exit(row, TdExit(call.vcpu, 77, regs))._replace(known=call.asked)
    return [asked, step_record(row, call.vcpu, done, known=call.told)]


def journal(*calls: Asked | Other) -> Trace:
    """A recording of these calls, a row each."""
    records = [record for row, call in enumerate(calls) for record in rows(row, call)]
    return Trace.from_records(TraceMeta(generation="7.2", td=TD, source="the tests"), records)
