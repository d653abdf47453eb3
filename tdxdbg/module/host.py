"""What the host does to the TD's memory: SEAMCALLs on single pages, and KVM's habits on ranges.

Statuses are the module's (TDH.MEM.*). TLB tracking is not modelled: an
emulated vCPU has no stale translations, so a blocked page can be removed at
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_status as status
from tdxdbg.module.operand import gpa_is_valid
from tdxdbg.module.runs import PAGE_SIZE, RunMap, pages_of
from tdxdbg.module.sept import LEVEL_2M, LEVEL_4K, PAGES_OF_LEVEL, SeptState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_INVALID_RCX: Final = status.OPERAND_INVALID | status.OPERAND_RCX

_BLOCKED: Final = {
    SeptState.MAPPED: SeptState.BLOCKED,
    SeptState.PENDING: SeptState.PENDING_BLOCKED,
}
_UNBLOCKED: Final = {blocked: state for state, blocked in _BLOCKED.items()}


def _is_valid(module: TdxModule, gpa: int, level: int) -> bool:
    if level not in (LEVEL_4K, LEVEL_2M) or gpa % (PAGES_OF_LEVEL[level] * PAGE_SIZE):
        return False
    return gpa_is_valid(module.params, gpa, private_only=True)


def _map(module: TdxModule, gpa: int, level: int, state: SeptState) -> int:
    if not _is_valid(module, gpa, level):
        return _INVALID_RCX
    entry = module.td.sept.walk(gpa, level)
    if entry.state is not SeptState.FREE:
        above = entry.level > level
        code = status.EPT_WALK_FAILED if above else status.EPT_ENTRY_NOT_FREE
        return code | status.OPERAND_RCX
    module.td.sept = module.td.sept.with_leaf(gpa, level, state)
    return status.SUCCESS


def page_add(module: TdxModule, gpa: int) -> int:
    """TDH.MEM.PAGE.ADD: a 4 KiB page of the initial image; only before the TD is finalized."""
    if module.td.finalized:
        return status.OP_STATE_INCORRECT
    return _map(module, gpa, LEVEL_4K, SeptState.MAPPED)


def page_aug(module: TdxModule, gpa: int, level: int = LEVEL_4K) -> int:
    """TDH.MEM.PAGE.AUG: a page that the guest has to accept; only after finalization."""
    if not module.td.finalized:
        return status.OP_STATE_INCORRECT
    return _map(module, gpa, level, SeptState.PENDING)


def _leaf(module: TdxModule, gpa: int, level: int) -> SeptState | int:
    """The state of the leaf of exactly this level at `gpa`, or the status of its absence."""
    if not _is_valid(module, gpa, level):
        return _INVALID_RCX
    entry = module.td.sept.walk(gpa, level)
    if entry.state is SeptState.NL_MAPPED:
        return status.EPT_ENTRY_NOT_LEAF | status.OPERAND_RCX
    if entry.level > level:
        return status.EPT_WALK_FAILED | status.OPERAND_RCX
    if entry.state is SeptState.FREE:
        return status.EPT_ENTRY_FREE | status.OPERAND_RCX
    return entry.state


def range_block(module: TdxModule, gpa: int, level: int = LEVEL_4K) -> int:
    """TDH.MEM.RANGE.BLOCK of one leaf."""
    state = _leaf(module, gpa, level)
    if not isinstance(state, SeptState):
        return state
    if state not in _BLOCKED:
        return status.GPA_RANGE_ALREADY_BLOCKED | status.OPERAND_RCX
    module.td.sept = module.td.sept.with_leaf(gpa, level, _BLOCKED[state])
    return status.SUCCESS


def range_unblock(module: TdxModule, gpa: int, level: int = LEVEL_4K) -> int:
    """TDH.MEM.RANGE.UNBLOCK of one leaf."""
    state = _leaf(module, gpa, level)
    if not isinstance(state, SeptState):
        return state
    if state not in _UNBLOCKED:
        return status.GPA_RANGE_NOT_BLOCKED | status.OPERAND_RCX
    module.td.sept = module.td.sept.with_leaf(gpa, level, _UNBLOCKED[state])
    return status.SUCCESS


def page_remove(module: TdxModule, gpa: int, level: int = LEVEL_4K) -> int:
    """TDH.MEM.PAGE.REMOVE of a blocked leaf."""
    state = _leaf(module, gpa, level)
    if not isinstance(state, SeptState):
        return state
    if state not in _UNBLOCKED:
        return status.GPA_RANGE_NOT_BLOCKED | status.OPERAND_RCX
    zap_private(module, gpa, PAGES_OF_LEVEL[level] * PAGE_SIZE)
    return status.SUCCESS


def page_demote(module: TdxModule, gpa: int) -> int:
    """TDH.MEM.PAGE.DEMOTE of a blocked 2 MiB leaf: 512 leaves of 4 KiB that are not blocked."""
    state = _leaf(module, gpa, LEVEL_2M)
    if not isinstance(state, SeptState):
        return state
    if state not in _UNBLOCKED:
        return status.GPA_RANGE_NOT_BLOCKED | status.OPERAND_RCX
    pages = PAGES_OF_LEVEL[LEVEL_2M]
    module.td.sept = module.td.sept.with_range(gpa, pages, _UNBLOCKED[state])
    _forget_progress(module, gpa, pages * PAGE_SIZE)
    return status.SUCCESS


# --- ranges, as KVM's MMU treats them -------------------------------------------------


def map_private(module: TdxModule, gpa: int, size: int, level: int = LEVEL_4K) -> None:
    """Every absent page that [gpa, gpa + size) touches: PENDING, or MAPPED before finalization.

    In bytes, without the shared bit. With `level` 1, in 2 MiB leaves where
    these fit.
    """
    state = SeptState.PENDING if module.td.finalized else SeptState.MAPPED
    module.td.sept = module.td.sept.fill(gpa, size, state, level)


def zap_private(module: TdxModule, gpa: int, size: int) -> None:
    """Block, track and remove every private page that [gpa, gpa + size) touches."""
    module.td.sept = module.td.sept.zap(gpa, size)
    _forget_progress(module, gpa, size)


def map_shared(module: TdxModule, gpa: int, size: int, kind: int) -> None:
    """What the host's shared EPT holds for [gpa, gpa + size): absent, RAM or device memory.

    In bytes, without the shared bit; `kind` is one of `operand.SHARED_*`.
    """
    first, end = pages_of(gpa, size)
    shared: RunMap = module.td.shared_ept
    module.td.shared_ept = shared.put(first, end, kind)


def convert(module: TdxModule, gpa: int, size: int, *, private: bool) -> None:
    """Memory attributes changed: KVM removes the mappings of the other kind.

    In bytes, without the shared bit. The pages come back with the next
    access, as EPT violations.
    """
    if private:
        map_shared(module, gpa, size, 0)
    else:
        zap_private(module, gpa, size)


def _forget_progress(module: TdxModule, gpa: int, size: int) -> None:
    """A half-accepted 2 MiB page that is gone starts anew."""
    span = PAGES_OF_LEVEL[LEVEL_2M] * PAGE_SIZE
    module.td.accepting = tuple(
        item for item in module.td.accepting if item[0] >= gpa + size or item[0] + span <= gpa
    )
