"""What KVM does when TDH.VP.ENTER returns: the order of tdx_handle_exit.

Three orders exist: v19's, the posted v1's and the merged one (6.16 and later);
facts: kernel_exits 3. The checks stand in the kernel's order.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import kvm as uapi
from tdxdbg.abi import tdx_module as module
from tdxdbg.abi import vmx
from tdxdbg.abi.regs import R8, R9, R10, R11, RCX, RDX
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import to_userspace
from tdxdbg.engine.state import (
    VM_BUGGED,
    WARNED,
    Completer,
    Input,
    Outcome,
    TdExit,
    Vcpu,
)

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_INTERNAL: Final = Struct("<IIQQ")
_FAIL_ENTRY: Final = Struct("<QI")
_EX: Final = Struct("<II")
_MEMORY_FAULT: Final = Struct("<QQQ")

#: R11 values that become a VMX exit reason of their own (tdcall_to_vmx_exit_reason).
_REWRITTEN: Final[dict[int, int]] = {
    vmx.CPUID: vmx.CPUID,
    vmx.HLT: vmx.HLT,
    vmx.IO_INSTRUCTION: vmx.IO_INSTRUCTION,
    vmx.MSR_READ: vmx.MSR_READ,
    vmx.MSR_WRITE: vmx.MSR_WRITE,
    # The VMX reason for MMIO is EPT_MISCONFIG.
    vmx.EPT_VIOLATION: vmx.EPT_MISCONFIG,
}

_ERROR_BITS: Final = module.ERROR | module.NON_RECOVERABLE


# --- 6.16 and later -------------------------------------------------------------------


def handle_exit(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """tdx_handle_exit as merged."""
    ret = event.vp_enter_ret
    if ret == vmx.TDCALL:
        # What the checks below come to for the one exit that is frequent.
        reason = vcpu.vmx_exit_reason = _call_reason(vcpu)
        return kvm.generation.exits[reason](kvm, vcpu, event)
    if ret & module.STATUS_MASK == module.OPERAND_BUSY:
        vcpu.vmx_exit_reason = kvm.generation.no_exit_reason
        vcpu.notes += (notes.OPERAND_BUSY,)
        return Outcome.REENTER_TD
    reason = vcpu.vmx_exit_reason = _exit_reason(kvm, vcpu, ret)
    if ret == vmx.EPT_MISCONFIG:
        return vm_bugged(vcpu, notes.VP_ENTER_EPT_MISCONFIG)
    if ret & module.SW_ERROR == module.SW_ERROR:
        vcpu.effects |= VM_BUGGED
        return internal_error(vcpu, ret, notes.SW_ERROR)
    if reason & vmx.FAILED_VMENTRY and reason != vmx.NO_EXIT_REASON:
        return _fail_entry(vcpu, ret, reason)
    basic = reason & vmx.BASIC_MASK
    if ret & _ERROR_BITS and basic != vmx.TRIPLE_FAULT:
        return internal_error(vcpu, ret, notes.VP_ENTER_ERROR)
    if basic != vmx.TRIPLE_FAULT and ret & module.STATUS_MASK != module.SUCCESS:
        vcpu.effects |= WARNED
        vcpu.notes += (notes.NOT_SUCCESS,)
    handler = kvm.generation.exits.get(basic, unhandled)
    return handler(kvm, vcpu, event)


def _call_reason(vcpu: Vcpu) -> int:
    """The reason that KVM makes of a TDCALL exit."""
    regs = vcpu.regs
    if regs[R10]:
        return vmx.VMCALL
    return _REWRITTEN.get(regs[R11], vmx.TDCALL)


def _exit_reason(kvm: Engine, vcpu: Vcpu, ret: int) -> int:
    """tdx_to_vmx_exit_reason: which bits it compares is the record's business (bug B1)."""
    generation = kvm.generation
    if ret & module.STATUS_MASK not in module.HAS_EXIT_REASON:
        return generation.no_exit_reason
    reason = ret & 0xFFFF_FFFF
    mask = generation.rewritten_reason_mask
    compared = reason & mask
    if compared == vmx.TDCALL:
        return reason & ~mask | _call_reason(vcpu)
    if compared == vmx.EPT_MISCONFIG:
        return generation.no_exit_reason
    return reason


def _fail_entry(vcpu: Vcpu, ret: int, reason: int) -> Outcome:
    if not ret & module.NON_RECOVERABLE:
        vcpu.effects |= WARNED
    vcpu.notes += (notes.FAILED_VMENTRY,)
    union = _FAIL_ENTRY.pack(reason, 0) + vcpu.union[12:]
    return to_userspace(
        vcpu, uapi.Exit.FAIL_ENTRY, kvm_run.FAIL_ENTRY, union, 0xFFF, Completer.NONE
    )


def with_bus_lock(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """7.3: as vmx_handle_exit, a detected bus lock always ends in userspace."""
    outcome = handle_exit(kvm, vcpu, event)
    if not vcpu.vmx_exit_reason & vmx.BUS_LOCK_DETECTED:
        return outcome
    vcpu.run_flags |= uapi.RUN_X86_BUS_LOCK
    vcpu.notes += (notes.BUS_LOCK,)
    if outcome == Outcome.REENTER_TD:
        vcpu.notes += (notes.BUS_LOCK_EXIT,)
        return to_userspace(
            vcpu, uapi.Exit.X86_BUS_LOCK, kvm_run.EMPTY, vcpu.union, 0, Completer.NONE
        )
    vcpu.errno = 0
    if vcpu.run is None:
        # A handler failed without filling kvm_run, and KVM_RUN returns 0 all the same.
        return to_userspace(vcpu, uapi.Exit.UNKNOWN, kvm_run.EMPTY, vcpu.union, 0, Completer.NONE)
    return Outcome.EXIT_TO_USERSPACE


# --- the posted v1 --------------------------------------------------------------------


def handle_exit_v1(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """tdx_handle_exit of the seven-patch series: only TDCALL and triple fault."""
    ret = event.vp_enter_ret
    if ret in _BUSY_V1:
        vcpu.notes += (notes.OPERAND_BUSY,)
        return Outcome.REENTER_TD
    if ret & module.SW_ERROR == module.SW_ERROR:
        vcpu.effects |= VM_BUGGED
        return internal_error(vcpu, ret, notes.SW_ERROR)
    reason = vcpu.vmx_exit_reason = ret & vmx.BASIC_MASK
    status = ret & module.STATUS_MASK
    if ret & _ERROR_BITS:
        if status in module.HAS_EXIT_REASON and reason == vmx.TRIPLE_FAULT:
            return triple_fault(kvm, vcpu, event)
        return internal_error(vcpu, ret, notes.VP_ENTER_ERROR)
    if status != module.SUCCESS:
        vcpu.effects |= WARNED
        vcpu.notes += (notes.NOT_SUCCESS,)
    return kvm.generation.exits.get(reason, unhandled)(kvm, vcpu, event)


_BUSY_V1: Final = frozenset(
    {
        module.OPERAND_BUSY | module.OPERAND_ID_SEPT,
        module.OPERAND_BUSY | module.OPERAND_ID_TD_EPOCH,
    }
)


# --- v19 ------------------------------------------------------------------------------


def handle_exit_v19(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """tdx_handle_exit of v19: the low 16 bits of RAX are taken as a reason in every case.

    It has no fast path: busy SEPT and TD_EPOCH are its first two checks, and
    have the same outcome.
    """
    ret = event.vp_enter_ret
    if ret in _BUSY_V1:
        vcpu.notes += (notes.OPERAND_BUSY,)
        return Outcome.REENTER_TD
    if ret == module.SEAMCALL_UD:
        return vm_bugged(vcpu, notes.SPURIOUS_FAULT)
    reason = vcpu.vmx_exit_reason = ret & vmx.BASIC_MASK
    if ret & _ERROR_BITS:
        if reason == vmx.TRIPLE_FAULT:
            return triple_fault(kvm, vcpu, event)
        return internal_error(vcpu, ret, notes.VP_ENTER_ERROR)
    if ret & vmx.FAILED_VMENTRY:
        return internal_error(vcpu, ret, notes.FAILED_VMENTRY_INTERNAL)
    return kvm.generation.exits.get(reason, unhandled)(kvm, vcpu, event)


# --- handlers of exit reasons ---------------------------------------------------------


def tdvmcall(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """handle_tdvmcall of v19 and v1: R10 decides, then the whole of R11."""
    regs = vcpu.regs
    generation = kvm.generation
    if regs[R10]:
        return generation.hypercall(kvm, vcpu, event)
    return generation.tdvmcalls.get(regs[R11], generation.unknown_sub_function)(kvm, vcpu, event)


def tdvmcall_by_leaf(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """handle_tdvmcall of 6.16: by R11 only, the others were sorted out by exit reason."""
    generation = kvm.generation
    if vcpu.vmx_exit_reason & vmx.BUS_LOCK_DETECTED and generation.rewritten_reason_mask != 0xFFFF:
        vcpu.notes += (notes.BUS_LOCK_HIDES_REASON,)
    handler = generation.tdvmcalls.get(vcpu.regs[R11], generation.unknown_sub_function)
    return handler(kvm, vcpu, event)


def triple_fault(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """KVM_EXIT_SHUTDOWN."""
    vcpu.notes += (notes.TRIPLE_FAULT,)
    return to_userspace(vcpu, uapi.Exit.SHUTDOWN, kvm_run.EMPTY, vcpu.union, 0, Completer.NONE)


def exception_nmi(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """tdx_handle_exception_nmi: NMI and #MC were handled when they arrived."""
    info = vcpu.regs[R9] & 0xFFFF_FFFF
    kind = info & (vmx.INTR_INFO_TYPE_MASK | vmx.INTR_INFO_VALID)
    if kind == vmx.INTR_TYPE_NMI | vmx.INTR_INFO_VALID or (
        kind == vmx.INTR_TYPE_HARD_EXCEPTION | vmx.INTR_INFO_VALID
        and info & vmx.INTR_INFO_VECTOR_MASK == vmx.MC_VECTOR
    ):
        vcpu.notes += (notes.NMI_OR_MC,)
        return Outcome.REENTER_TD
    vcpu.notes += (notes.EXCEPTION,)
    return _exception(vcpu, info & vmx.INTR_INFO_VECTOR_MASK, 0)


def external_interrupt(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """The host's interrupt was served on the way out."""
    vcpu.notes += (notes.EXTERNAL_INTERRUPT,)
    return Outcome.REENTER_TD


def external_interrupt_v19(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """The same, in a function of its own."""
    vcpu.notes += (notes.EXTERNAL_INTERRUPT_V19,)
    return Outcome.REENTER_TD


def other_smi(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """An SMI was served by the firmware."""
    vcpu.notes += (notes.OTHER_SMI,)
    return Outcome.REENTER_TD


def bus_lock(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """handle_bus_lock_vmexit (7.3): the flag makes the caller exit."""
    vcpu.vmx_exit_reason |= vmx.BUS_LOCK_DETECTED
    return Outcome.REENTER_TD


def notify(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """handle_notify (7.3)."""
    invalid = vcpu.regs[RCX] & vmx.NOTIFY_VM_CONTEXT_INVALID
    if not invalid and not kvm.td.notify_user:
        vcpu.notes += (notes.NOTIFY_RESUME,)
        return Outcome.REENTER_TD
    vcpu.notes += (notes.NOTIFY_EXIT,)
    flags = uapi.NOTIFY_CONTEXT_INVALID if invalid else 0
    union = flags.to_bytes(4, "little") + vcpu.union[4:]
    return to_userspace(vcpu, uapi.Exit.NOTIFY, kvm_run.NOTIFY, union, 0xF, Completer.NONE)


def ept_misconfig_v19(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """tdx_handle_ept_misconfig: the reason alone goes into data[0]."""
    vcpu.effects |= WARNED
    return internal_error(vcpu, vmx.EPT_MISCONFIG, notes.EPT_MISCONFIG_INTERNAL)


def unhandled(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """The default of the switch."""
    return internal_error(vcpu, event.vp_enter_ret, notes.UNHANDLED_EXIT)


def ept_violation(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """tdx_handle_ept_violation (facts: kernel_exits 4.9)."""
    regs = vcpu.regs
    if not regs[R8] & kvm.td.shared_mask:
        qualification = regs[RCX]
        if regs[
            RDX
        ] & module.EXT_EXIT_QUAL_TYPE_MASK == module.EXT_EXIT_QUAL_PENDING and not qualification & (
            vmx.EPT_VIOLATION_PROT_MASK | vmx.EPT_VIOLATION_EXEC_FOR_RING3_LIN
        ):
            # kvm_vm_dead(), with a line in the log and no KVM_BUG_ON.
            kvm.dead = True
            return _io_error(vcpu, notes.EPT_PENDING)
        vcpu.notes += (notes.EPT_PRIVATE_WRITE,)
    elif regs[RCX] & vmx.EPT_VIOLATION_ACC_INSTR:
        return vm_bugged(vcpu, notes.EPT_SHARED_FETCH)
    return _resolve(kvm, vcpu, event)


def ept_violation_v19(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """v19: an instruction fetch from shared memory is an exception exit."""
    regs = vcpu.regs
    if not regs[R8] & kvm.td.shared_mask:
        vcpu.notes += (notes.EPT_PRIVATE_WRITE,)
    elif regs[RCX] & vmx.EPT_VIOLATION_ACC_INSTR:
        vcpu.notes += (notes.EPT_SHARED_FETCH_EXCEPTION,)
        return _exception(vcpu, vmx.PF_VECTOR, regs[RCX] & 0xFFFF_FFFF)
    return _resolve(kvm, vcpu, event)


def _resolve(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """How the MMU ended is part of the input: the MMU is not modelled."""
    error = event.in_kernel.errno if event.in_kernel is not None else 0
    if not error:
        vcpu.notes += (notes.EPT_RESOLVED,)
        return Outcome.REENTER_TD
    shared_mask = kvm.td.shared_mask
    gpa = vcpu.regs[R8]
    flags = 0 if gpa & shared_mask else uapi.MEMORY_EXIT_FLAG_PRIVATE
    union = _MEMORY_FAULT.pack(flags, gpa & ~shared_mask & ~0xFFF, uapi.PAGE_SIZE)
    vcpu.notes += (notes.MEMORY_POISONED if error == uapi.EHWPOISON else notes.MEMORY_FAULT,)
    to_userspace(
        vcpu,
        uapi.Exit.MEMORY_FAULT,
        kvm_run.MEMORY_FAULT,
        union + vcpu.union[24:],
        (1 << 24) - 1,
        Completer.NONE,
    )
    if error == uapi.EHWPOISON:
        # Nobody converts a poisoned page: for the vCPU, KVM_RUN again is only another try.
        vcpu.exit_reason = 0
    vcpu.errno = error
    return Outcome.KVM_ERROR


def _exception(vcpu: Vcpu, vector: int, error_code: int) -> Outcome:
    union = _EX.pack(vector, error_code) + vcpu.union[8:]
    return to_userspace(vcpu, uapi.Exit.EXCEPTION, kvm_run.EX, union, 0xFF, Completer.NONE)


def internal_error(vcpu: Vcpu, data0: int, note: notes.Note) -> Outcome:
    """KVM_EXIT_INTERNAL_ERROR, suberror 4: data[0] = RAX, data[1] = the last CPU (0 here)."""
    vcpu.notes += (note,)
    head = _INTERNAL.pack(uapi.INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, 2, data0, 0)
    return to_userspace(
        vcpu,
        uapi.Exit.INTERNAL_ERROR,
        kvm_run.INTERNAL,
        head + vcpu.union[24:],
        (1 << 24) - 1,
        Completer.NONE,
    )


def vm_bugged(vcpu: Vcpu, note: notes.Note) -> Outcome:
    """KVM_BUG_ON and -EIO: the VM is dead."""
    vcpu.effects |= VM_BUGGED
    return _io_error(vcpu, note)


def _io_error(vcpu: Vcpu, note: notes.Note) -> Outcome:
    vcpu.notes += (note,)
    vcpu.errno = errno.EIO
    return Outcome.KVM_ERROR
