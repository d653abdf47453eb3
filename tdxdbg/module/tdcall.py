"""TDCALL: the dispatch on RAX, and what all leaves have in common.

Facts: ghci_and_guest 1.1, 1.2. A leaf answers with a `Done` (status for RAX
and the registers it set), or with what happens in place of a completed
TDCALL: a TD exit, an exception, or the TDCALL executed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.regs import RAX, Regs, replace
from tdxdbg.module import (
    cpuidve_set,
    inject,
    mr_report,
    page_accept,
    rtmr_extend,
    stepping,
    sys_rd,
    veinfo_get,
    vm_rd_wr,
    vmcall,
    vp_info,
)
from tdxdbg.module.done import Done
from tdxdbg.module.exits import leave
from tdxdbg.module.results import Guest, ModuleExit, Result, Resume
from tdxdbg.module.state import LastExit, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_LEAF_MASK: Final = 0xFFFF
_VERSION_SHIFT: Final = 16
_VERSION_MASK: Final = 0xFF
#: RAX bits 31:24 and 63:32.
_RESERVED: Final = 0xFFFF_FFFF_FF00_0000
_STATUS: Final = 0xFFFF_FFFF_0000_0000

Handler = Callable[["TdxModule", VcpuState, Guest], Done | Result]


class Leaf(NamedTuple):
    """A TDG function; `versioned`: it checks RAX[23:16] itself."""

    handler: Handler
    versioned: bool = False


#: RAX[15:0] -> function. Every other leaf is TDX_OPERAND_INVALID.
LEAVES: Final[dict[int, Leaf]] = {
    0: Leaf(vmcall.vmcall),
    1: Leaf(vp_info.vp_info),
    2: Leaf(rtmr_extend.rtmr_extend),
    3: Leaf(veinfo_get.veinfo_get),
    4: Leaf(mr_report.mr_report),
    5: Leaf(cpuidve_set.cpuidve_set),
    6: Leaf(page_accept.page_accept),
    7: Leaf(vm_rd_wr.vm_rd, versioned=True),
    8: Leaf(vm_rd_wr.vm_wr),
    11: Leaf(sys_rd.sys_rd),
}


def tdcall(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Result:
    """One TDCALL."""
    stepping.note_rip(vcpu, guest.rip)
    if guest.cpl or not guest.is_64bit:
        return inject.GP
    rax = guest.regs[RAX]
    leaf = LEAVES.get(rax & _LEAF_MASK)
    if leaf is None or rax & _RESERVED or (_version(rax) and not leaf.versioned):
        outcome: Done | Result = Done(status.OPERAND_INVALID | status.OPERAND_RAX, guest.regs)
    else:
        outcome = leaf.handler(module, vcpu, guest)
    if not isinstance(outcome, Done):
        return outcome
    if outcome.status & _STATUS == status.OPERAND_BUSY_HOST_PRIORITY:
        return _host_priority(module, vcpu, guest, outcome)
    vcpu.hp_lock_since = None
    return Resume(replace(outcome.regs, RAX, outcome.status))


def _version(rax: int) -> int:
    return rax >> _VERSION_SHIFT & _VERSION_MASK


def _host_priority(module: TdxModule, vcpu: VcpuState, guest: Guest, outcome: Done) -> Result:
    """The guest sees plain BUSY; when that lasts too long, the host hears of it.

    The TD exit is trap-like: RAX of the guest already says BUSY.
    """
    busy = status.OPERAND_BUSY | outcome.status & ~_STATUS
    regs = replace(outcome.regs, RAX, busy)
    if vcpu.hp_lock_since is None:
        vcpu.hp_lock_since = guest.tsc
    elif guest.tsc - vcpu.hp_lock_since >= module.params.hp_lock_timeout_ticks:
        vcpu.hp_lock_since = None
        leave(vcpu, guest, LastExit.ASYNC_TRAP, regs)
        return ModuleExit(status.HOST_PRIORITY_BUSY_TIMEOUT, Regs(), advance=True)
    return Resume(regs)
