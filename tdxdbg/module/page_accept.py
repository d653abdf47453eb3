"""TDG.MEM.PAGE.ACCEPT (facts: ghci_and_guest 1.2, 4.3).

A leaf of the requested size that is PENDING is zeroed and becomes MAPPED. Of
a 2 MiB page, 4 KiB are zeroed at a time; an interrupt stops in between, and
the TDCALL executed again goes on where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.regs import RCX
from tdxdbg.module import exits
from tdxdbg.module.done import Done
from tdxdbg.module.operand import gpa_is_valid, invalid
from tdxdbg.module.results import RETRY, Guest, Result
from tdxdbg.module.runs import PAGE_SIZE
from tdxdbg.module.sept import LEVEL_2M, PAGES_OF_LEVEL, SeptState
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_LEVEL_MASK: Final = 7
_GPA_MASK: Final = 0x000F_FFFF_FFFF_F000


def page_accept(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done | Result:
    """Accept the page that RCX names."""
    operand = guest.regs[RCX]
    level = operand & _LEVEL_MASK
    gpa = operand & _GPA_MASK
    if operand != gpa | level or level > LEVEL_2M or gpa % (PAGES_OF_LEVEL[level] * PAGE_SIZE):
        return Done(invalid(status.OPERAND_RCX), guest.regs)
    if not gpa_is_valid(module.params, gpa, private_only=True):
        return Done(invalid(status.OPERAND_RCX), guest.regs)
    entry = module.td.sept.walk(gpa, level)
    if entry.level == level and gpa in module.td.host_locked:
        return Done(status.OPERAND_BUSY_HOST_PRIORITY | status.OPERAND_RCX, guest.regs)
    if entry.state is SeptState.MAPPED:
        return Done(status.PAGE_ALREADY_ACCEPTED | entry.level, guest.regs)
    if entry.state is SeptState.NL_MAPPED:
        return Done(status.PAGE_SIZE_MISMATCH | entry.level, guest.regs)
    if entry.state is not SeptState.PENDING or entry.level != level:
        return exits.accept_violation(vcpu, guest, gpa, level, entry)
    return _accept(module, guest, gpa, level)


def _accept(module: TdxModule, guest: Guest, gpa: int, level: int) -> Done | Result:
    td = module.td
    done = dict(td.accepting).get(gpa, 0)
    pages = PAGES_OF_LEVEL[level]
    rest = tuple(item for item in td.accepting if item[0] != gpa)
    if guest.interrupt_pending and done + 1 < pages:
        module.memory.zero_gpa(gpa + done * PAGE_SIZE, PAGE_SIZE)
        td.accepting = (*rest, (gpa, done + 1))
        return RETRY
    module.memory.zero_gpa(gpa + done * PAGE_SIZE, (pages - done) * PAGE_SIZE)
    td.accepting = rest
    td.sept = td.sept.with_leaf(gpa, level, SeptState.MAPPED)
    return Done(status.SUCCESS, guest.regs)
