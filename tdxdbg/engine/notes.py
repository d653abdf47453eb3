"""Why a step went the way it went: a table of reasons.

Handlers refer to these constants; nothing is formatted on the way. `function`
is the kernel function whose check the note mirrors.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Note(NamedTuple):
    """A few words, and the kernel function that they mirror."""

    text: str
    function: str


# TDH.VP.ENTER and the exit handler (facts: kernel_exits 3)
OPERAND_BUSY: Final = Note(
    "TDH.VP.ENTER was refused, an operand is busy: enter again", "tdx_exit_handlers_fastpath"
)
VP_ENTER_EPT_MISCONFIG: Final = Note(
    "EPT_MISCONFIG from the TDX module is a host bug: VM bugged, -EIO", "tdx_handle_exit"
)
SW_ERROR: Final = Note(
    "the SEAMCALL itself failed (SW_ERROR): VM bugged, internal error", "tdx_handle_exit"
)
SPURIOUS_FAULT: Final = Note(
    "SEAMCALL raised #UD: kvm_spurious_fault(), the host kernel stops here", "tdx_handle_exit"
)
FAILED_VMENTRY: Final = Note(
    "the exit reason has bit 31 (failed VM entry): KVM_EXIT_FAIL_ENTRY", "tdx_handle_exit"
)
FAILED_VMENTRY_INTERNAL: Final = Note(
    "the exit reason has bit 31 (failed VM entry): internal error", "tdx_handle_exit"
)
VP_ENTER_ERROR: Final = Note(
    "TDH.VP.ENTER returned an error or a non-recoverable status: internal error", "tdx_handle_exit"
)
NOT_SUCCESS: Final = Note(
    "the status is neither SUCCESS nor an error: WARN_ON_ONCE", "tdx_handle_exit"
)
UNHANDLED_EXIT: Final = Note("no handler for this exit reason: internal error", "tdx_handle_exit")
TRIPLE_FAULT: Final = Note("triple fault: KVM_EXIT_SHUTDOWN", "tdx_handle_exit")
NMI_OR_MC: Final = Note(
    "NMI or #MC, already handled when it arrived: resume", "tdx_handle_exception_nmi"
)
EXCEPTION: Final = Note(
    "an exception reached the host: KVM_EXIT_EXCEPTION, error code 0", "tdx_handle_exception_nmi"
)
EXTERNAL_INTERRUPT: Final = Note("external interrupt: resume", "tdx_handle_exit")
EXTERNAL_INTERRUPT_V19: Final = Note("external interrupt: resume", "tdx_handle_external_interrupt")
OTHER_SMI: Final = Note("SMI: resume", "tdx_handle_exit")
BUS_LOCK: Final = Note(
    "a bus lock was detected: KVM_RUN_X86_BUS_LOCK in run.flags", "vmx_handle_exit"
)
BUS_LOCK_EXIT: Final = Note(
    "KVM would have resumed, so the bus lock itself exits: KVM_EXIT_X86_BUS_LOCK",
    "vmx_handle_exit",
)
NOTIFY_EXIT: Final = Note(
    "context invalid, or userspace asked for notify exits: KVM_EXIT_NOTIFY", "handle_notify"
)
NOTIFY_RESUME: Final = Note("notify VM exit with a valid context: resume", "handle_notify")
EPT_MISCONFIG_INTERNAL: Final = Note(
    "EPT misconfiguration: WARN, internal error", "tdx_handle_ept_misconfig"
)
EPT_RESOLVED: Final = Note("EPT violation resolved by the MMU: resume", "tdx_handle_ept_violation")
EPT_PRIVATE_WRITE: Final = Note(
    "a private GPA is always treated as a write fault", "tdx_handle_ept_violation"
)
EPT_PENDING: Final = Note(
    "the guest touched a private page before accepting it, without #VE: VM dead, -EIO",
    "tdx_is_sept_violation_unexpected_pending",
)
EPT_SHARED_FETCH: Final = Note(
    "instruction fetch from shared memory: VM bugged, -EIO", "tdx_handle_ept_violation"
)
EPT_SHARED_FETCH_EXCEPTION: Final = Note(
    "instruction fetch from shared memory: KVM_EXIT_EXCEPTION, vector 14",
    "tdx_handle_ept_violation",
)
MEMORY_FAULT: Final = Note(
    "the access does not match the page's memory attribute (implicit conversion): "
    "KVM_EXIT_MEMORY_FAULT, -EFAULT",
    "kvm_mmu_prepare_memory_fault_exit",
)
MEMORY_POISONED: Final = Note(
    "the page is poisoned: KVM_EXIT_MEMORY_FAULT, -EHWPOISON", "kvm_mmu_prepare_memory_fault_exit"
)

# The KVM_RUN protocol (facts: kernel_exits 3, last paragraph)
VM_DEAD: Final = Note("the VM is dead: every ioctl returns -EIO", "kvm_vcpu_ioctl")
NO_COMPLETER: Final = Note(
    "no complete_userspace_io is armed: nothing to complete", "kvm_arch_vcpu_ioctl_run"
)
IMMEDIATE_EXIT: Final = Note(
    "immediate_exit is looked at after the completion: -EINTR", "kvm_arch_vcpu_ioctl_run"
)
SIGNAL: Final = Note("a signal is pending: KVM_EXIT_INTR, -EINTR", "kvm_handle_signal_exit")
ATTRIBUTES_SET: Final = Note("the range got new memory attributes", "kvm_vm_set_mem_attributes")
ATTRIBUTES_INVALID: Final = Note(
    "size 0, wrapping, or not 4 KiB aligned: -EINVAL", "kvm_vm_ioctl_set_mem_attributes"
)
IMPLICIT_CONVERSION: Final = Note(
    "KVM_RUN again after a memory fault: the page is taken as converted", "kvm_arch_vcpu_ioctl_run"
)

# TDVMCALL dispatch (facts: kernel_exits 1.2)
VENDOR: Final = Note("R10 is not 0: a KVM hypercall", "tdx_emulate_vmcall")
BUS_LOCK_HIDES_REASON: Final = Note(
    "bit 26 keeps this kernel from recognising the call: it is dispatched by R11 alone",
    "tdx_to_vmx_exit_reason",
)
UNKNOWN_SUB_FUNCTION: Final = Note(
    "R11 is no sub-function that this kernel handles", "handle_tdvmcall"
)
RAW_EXIT: Final = Note(
    "not handled in the kernel: raw KVM_EXIT_TDX, out_* preset to the inputs",
    "tdx_vp_vmcall_to_user",
)
RAW_COMPLETE: Final = Note(
    "every register that RCX selects is loaded from out_*", "tdx_complete_vp_vmcall"
)

# KVM hypercalls (facts: kernel_exits 4.1)
HYPERCALL_DONE: Final = Note("done in the kernel", "kvm_emulate_hypercall")
HYPERCALL_NO_FEATURE: Final = Note(
    "the guest's CPUID lacks the paravirtual feature: -KVM_ENOSYS", "kvm_emulate_hypercall"
)
HYPERCALL_UNKNOWN: Final = Note("unknown hypercall number: -KVM_ENOSYS", "kvm_emulate_hypercall")
HYPERCALL_NOT_ENABLED: Final = Note(
    "KVM_CAP_EXIT_HYPERCALL is off for KVM_HC_MAP_GPA_RANGE: -KVM_ENOSYS", "kvm_emulate_hypercall"
)
HYPERCALL_BAD_RANGE: Final = Note(
    "GPA not page aligned, no pages, or the range wraps: -KVM_EINVAL", "kvm_emulate_hypercall"
)
HYPERCALL_EXIT: Final = Note(
    "goes to userspace unchecked and in one piece: KVM_EXIT_HYPERCALL", "kvm_emulate_hypercall"
)
HYPERCALL_COMPLETE: Final = Note("R10 = hypercall.ret", "complete_hypercall_exit")
HYPERCALL_COMPLETE_RAX: Final = Note(
    "hypercall.ret goes to RAX, which the guest never sees; R10 stays 0", "complete_hypercall_exit"
)

# MapGPA (facts: kernel_exits 4.2)
MAP_GPA_NOT_ENABLED: Final = Note(
    "KVM_CAP_EXIT_HYPERCALL is off for KVM_HC_MAP_GPA_RANGE: refused, R11 = the GPA",
    "tdx_map_gpa",
)
MAP_GPA_EMPTY: Final = Note(
    "GPA + size is not above GPA (size 0 or wraps): INVALID_OPERAND, R11 = the GPA", "tdx_map_gpa"
)
MAP_GPA_ILLEGAL: Final = Note(
    "an end of the range has bits at or above MAXPHYADDR: INVALID_OPERAND, R11 = the GPA",
    "tdx_map_gpa",
)
MAP_GPA_CROSSES: Final = Note(
    "the ends of the range differ in the shared bit: INVALID_OPERAND, R11 = the GPA", "tdx_map_gpa"
)
MAP_GPA_GPA_UNALIGNED: Final = Note(
    "R12 is not a multiple of 4 KiB: ALIGN_ERROR, R11 = the GPA", "tdx_map_gpa"
)
MAP_GPA_SIZE_UNALIGNED: Final = Note(
    "R13 is not a multiple of 4 KiB: ALIGN_ERROR, R11 = the GPA", "tdx_map_gpa"
)
MAP_GPA_CHUNK: Final = Note("the next chunk of at most 2 MiB goes to userspace", "__tdx_map_gpa")
MAP_GPA_DONE: Final = Note(
    "the last chunk is converted: R10 = SUCCESS, R11 keeps the leaf number",
    "tdx_complete_vmcall_map_gpa",
)
MAP_GPA_EVENT: Final = Note(
    "an event is pending between chunks: RETRY, R11 = the next chunk",
    "tdx_complete_vmcall_map_gpa",
)
MAP_GPA_REFUSED: Final = Note(
    "userspace answered non-zero: INVALID_OPERAND, R11 = the chunk",
    "tdx_complete_vmcall_map_gpa",
)
MAP_GPA_EAGAIN: Final = Note(
    "userspace answered EAGAIN: RETRY, R11 = the chunk", "tdx_complete_vmcall_map_gpa"
)
MAP_GPA_EINVAL: Final = Note(
    "userspace answered EINVAL: INVALID_OPERAND, R11 = the chunk", "tdx_complete_vmcall_map_gpa"
)
MAP_GPA_BAD_ANSWER: Final = Note(
    "userspace answered neither 0, EAGAIN nor EINVAL: KVM_RUN = -EINVAL and the callback is gone",
    "tdx_complete_vmcall_map_gpa",
)

# Instruction.IO (facts: kernel_exits 4.4)
IO_BAD_SIZE: Final = Note("size is not 1, 2 or 4: INVALID_OPERAND", "tdx_emulate_io")
IO_BAD_DIRECTION: Final = Note("direction is not 0 or 1: INVALID_OPERAND", "tdx_emulate_io")
IO_IN_KERNEL: Final = Note("a device in the kernel answered", "tdx_emulate_io")
IO_EXIT: Final = Note("no device in the kernel at this port: KVM_EXIT_IO", "tdx_emulate_io")
IO_IN_COMPLETE: Final = Note(
    "R11 = the value on the PIO page, zero-extended", "tdx_complete_pio_in"
)
IO_OUT_COMPLETE: Final = Note("an OUT returns nothing", "tdx_complete_pio_out")

# #VE.RequestMMIO (facts: kernel_exits 4.5)
MMIO_BAD_SIZE: Final = Note("size is not 1, 2, 4 or 8: INVALID_OPERAND", "tdx_emulate_mmio")
MMIO_BAD_DIRECTION: Final = Note("direction is not 0 or 1: INVALID_OPERAND", "tdx_emulate_mmio")
MMIO_PRIVATE: Final = Note("the GPA lacks the shared bit: INVALID_OPERAND", "tdx_emulate_mmio")
MMIO_CROSSES_PAGE: Final = Note("the access crosses a page: INVALID_OPERAND", "tdx_emulate_mmio")
MMIO_MEMSLOT: Final = Note("there is memory at this GPA: INVALID_OPERAND", "tdx_emulate_mmio")
MMIO_FAST: Final = Note("an ioeventfd without length took it", "tdx_emulate_mmio")
MMIO_IN_KERNEL: Final = Note("a device in the kernel answered", "tdx_emulate_mmio")
MMIO_EXIT: Final = Note("no device in the kernel at this GPA: KVM_EXIT_MMIO", "tdx_emulate_mmio")
MMIO_READ_COMPLETE: Final = Note("R11 = mmio.data, zero-extended", "tdx_complete_mmio_read")
MMIO_READ_COMPLETE_V1: Final = Note("R11 = mmio.data, zero-extended", "tdx_complete_mmio")
MMIO_WRITE_COMPLETE: Final = Note("a write returns nothing", "tdx_complete_mmio")

# CPUID, HLT, MSR (facts: kernel_exits 4.6)
CPUID: Final = Note("R12..R15 = EAX, EBX, ECX, EDX from KVM's table", "tdx_emulate_cpuid")
HLT: Final = Note("halts in the kernel until an event wakes it", "kvm_emulate_halt_noskip")
RDMSR: Final = Note("R11 = the MSR's value", "kvm_emulate_rdmsr")
WRMSR: Final = Note("the MSR was written", "kvm_emulate_wrmsr")
RDMSR_V19: Final = Note("R11 = the MSR's value", "tdx_emulate_rdmsr")
WRMSR_V19: Final = Note("the MSR was written", "tdx_emulate_wrmsr")
RDMSR_REFUSED_V19: Final = Note(
    "KVM does not emulate this MSR for a TD, or the filter denies it: INVALID_OPERAND",
    "tdx_emulate_rdmsr",
)
WRMSR_REFUSED_V19: Final = Note(
    "KVM does not emulate this MSR for a TD, or the filter denies it: INVALID_OPERAND",
    "tdx_emulate_wrmsr",
)
MSR_REFUSED: Final = Note(
    "KVM does not emulate this MSR for a TD, or the filter denies it: INVALID_OPERAND",
    "tdx_complete_emulated_msr",
)
MSR_EXIT: Final = Note(
    "KVM_CAP_X86_USER_SPACE_MSR asks for this failure: exit to userspace", "kvm_msr_user_space"
)
MSR_USER_ERROR: Final = Note(
    "userspace answered with an error: INVALID_OPERAND", "tdx_complete_emulated_msr"
)
MSR_USER_DONE: Final = Note("userspace did it", "tdx_complete_emulated_msr")

# GetTdVmCallInfo, GetQuote, SetupEventNotifyInterrupt, ReportFatalError
INFO_BASE: Final = Note(
    "leaf 0: all calls of the base API are there, outputs are 0", "tdx_get_td_vm_call_info"
)
INFO_EXIT: Final = Note("leaf 1 goes to userspace: KVM_EXIT_TDX", "tdx_get_td_vm_call_info")
INFO_BAD_LEAF: Final = Note(
    "this kernel knows no such leaf: INVALID_OPERAND", "tdx_get_td_vm_call_info"
)
INFO_COMPLETE: Final = Note(
    "R10 = ret, R11..R14 as userspace left them", "tdx_complete_get_td_vm_call_info"
)
QUOTE_PRIVATE: Final = Note("the buffer lacks the shared bit: INVALID_OPERAND", "tdx_get_quote")
QUOTE_EXIT: Final = Note(
    "goes to userspace with ret preset to SUBFUNC_UNSUPPORTED: KVM_EXIT_TDX", "tdx_get_quote"
)
NOTIFY_BAD_VECTOR: Final = Note(
    "the vector is not in 32..255: INVALID_OPERAND", "tdx_setup_event_notify_interrupt"
)
NOTIFY_SETUP_EXIT: Final = Note(
    "goes to userspace with ret preset to SUBFUNC_UNSUPPORTED: KVM_EXIT_TDX",
    "tdx_setup_event_notify_interrupt",
)
SIMPLE_COMPLETE: Final = Note("R10 = ret", "tdx_complete_simple")
FATAL: Final = Note(
    "KVM_EXIT_SYSTEM_EVENT, type KVM_SYSTEM_EVENT_TDX_FATAL; no callback", "tdx_report_fatal_error"
)
