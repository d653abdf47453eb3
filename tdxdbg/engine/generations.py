"""The six kernel generations, one record each (facts: kernel_exits, head and 1.2).

Values where kernels differ by a number, functions where they differ by a rule,
and the dispatch tables, each written out in full. No record knows another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.engine import exits, hypercall, notes
from tdxdbg.engine.put import reply
from tdxdbg.engine.state import Completer, Input, Outcome, Reentry, TdExit, Vcpu
from tdxdbg.engine.tdvmcall import cpuid, fatal, hlt, io, map_gpa, mmio, msr, raw, tdx_exit

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

Handler = Callable[["Engine", Vcpu, TdExit], Outcome]
Completion = Callable[["Engine", Vcpu, Reentry], Outcome]


@dataclass(frozen=True, slots=True)
class Generation:
    """What one KVM generation does with a TD exit.

    `exits` maps a VMX exit reason, as KVM sees it, to its handler; `tdvmcalls`
    maps R11 of a standard TDVMCALL; `completers` the armed callback.
    """

    name: str
    kernels: str
    source: str
    handle_exit: Handler
    #: What stands for "no VMX exit reason".
    no_exit_reason: int
    #: Which bits of the exit reason are compared before a TDCALL is renamed.
    rewritten_reason_mask: int
    exits: dict[int, Handler]
    hypercall: Handler
    hypercall_ret: Callable[[Vcpu], tuple[bytes, int]]
    tdvmcalls: dict[int, Handler]
    unknown_sub_function: Handler
    map_gpa_not_enabled: Status
    map_gpa_chunk: Callable[[Engine, Vcpu, Input], Outcome]
    map_gpa_reply: Callable[[Vcpu, int], Outcome]
    io_out_sets_r11: bool
    mmio_write_completer: Completer
    completers: dict[Completer, Completion]

    def __repr__(self) -> str:
        return f"Generation({self.name!r})"


def invalid_operand(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """Up to 6.16-rc1 an unknown sub-function is INVALID_OPERAND."""
    return reply(vcpu, Status.INVALID_OPERAND, notes.UNKNOWN_SUB_FUNCTION)


def subfunc_unsupported(kvm: Engine, vcpu: Vcpu, event: TdExit) -> Outcome:
    """Linux commit b5aafcb4efd2 (in v6.16): unknown is SUBFUNC_UNSUPPORTED."""
    return reply(vcpu, Status.SUBFUNC_UNSUPPORTED, notes.UNKNOWN_SUB_FUNCTION)


V19: Final = Generation(
    name="v19",
    kernels="posted patches v19, Feb 2024: one raw KVM_EXIT_TDX",
    source="v19 098, 101, 104..112, 115 of 130: arch/x86/kvm/vmx/tdx.c",
    handle_exit=exits.handle_exit_v19,
    no_exit_reason=vmx.NO_EXIT_REASON,
    rewritten_reason_mask=0,
    exits={
        vmx.EXCEPTION_NMI: exits.exception_nmi,
        vmx.EXTERNAL_INTERRUPT: exits.external_interrupt_v19,
        vmx.OTHER_SMI: exits.other_smi,
        vmx.EPT_VIOLATION: exits.ept_violation_v19,
        vmx.EPT_MISCONFIG: exits.ept_misconfig_v19,
        vmx.TDCALL: exits.tdvmcall,
    },
    hypercall=hypercall.handle_v19,
    hypercall_ret=hypercall.ret_stale,
    tdvmcalls={
        SubFunction.CPUID: cpuid.handle,
        SubFunction.HLT: hlt.handle,
        SubFunction.IO: io.handle_truncating,
        SubFunction.RDMSR: msr.handle_read_v19,
        SubFunction.WRMSR: msr.handle_write_v19,
        SubFunction.MMIO: mmio.handle_v19,
        SubFunction.GET_TD_VM_CALL_INFO: tdx_exit.handle_info_base_only,
    },
    unknown_sub_function=raw.handle,
    # MapGPA is a raw exit here; the three rules below are never reached.
    map_gpa_not_enabled=Status.INVALID_OPERAND,
    map_gpa_chunk=map_gpa.chunk_stale_ret,
    map_gpa_reply=map_gpa.reply_any_error,
    io_out_sets_r11=True,
    mmio_write_completer=Completer.MMIO_WRITE,
    completers={
        Completer.HYPERCALL: hypercall.complete_v19,
        Completer.PIO_IN: io.complete_in,
        Completer.PIO_OUT: io.complete_out,
        Completer.MMIO_READ: mmio.complete_read_v1,
        Completer.MMIO_WRITE: mmio.complete_write,
        Completer.RAW: raw.complete,
    },
)

EXITS_V1: Final = Generation(
    name="exits-v1",
    kernels='posted series "TDX hypercalls may exit to userspace" v1, Dec 2024',
    source="20241201035358.2193078-1..8: arch/x86/kvm/vmx/tdx.c",
    handle_exit=exits.handle_exit_v1,
    no_exit_reason=vmx.NO_EXIT_REASON,
    rewritten_reason_mask=0,
    exits={vmx.TDCALL: exits.tdvmcall},
    hypercall=hypercall.handle,
    hypercall_ret=hypercall.ret_stale,
    tdvmcalls={
        SubFunction.IO: io.handle_truncating,
        SubFunction.MMIO: mmio.handle,
        SubFunction.MAP_GPA: map_gpa.handle,
        SubFunction.REPORT_FATAL_ERROR: fatal.handle_parsed,
    },
    unknown_sub_function=invalid_operand,
    map_gpa_not_enabled=Status.INVALID_OPERAND,
    map_gpa_chunk=map_gpa.chunk_stale_ret,
    map_gpa_reply=map_gpa.reply_any_error,
    io_out_sets_r11=False,
    mmio_write_completer=Completer.MMIO_WRITE,
    completers={
        Completer.MAP_GPA: map_gpa.complete,
        Completer.HYPERCALL: hypercall.complete,
        Completer.PIO_IN: io.complete_in,
        Completer.PIO_OUT: io.complete_out,
        Completer.MMIO_READ: mmio.complete_read_v1,
        Completer.MMIO_WRITE: mmio.complete_write,
    },
)

V6_16_RC1: Final = Generation(
    name="6.16-rc1",
    kernels="first merged form, never released; what kvm-coco-queue and QEMU 10.1 development saw",
    source="v6.16.1 with the GHCI commits of June and July 2025 reverted: arch/x86/kvm/vmx/tdx.c",
    handle_exit=exits.handle_exit,
    no_exit_reason=vmx.NO_EXIT_REASON,
    rewritten_reason_mask=0xFFFF_FFFF,
    exits={
        vmx.EXCEPTION_NMI: exits.exception_nmi,
        vmx.EXTERNAL_INTERRUPT: exits.external_interrupt,
        vmx.TRIPLE_FAULT: exits.triple_fault,
        vmx.OTHER_SMI: exits.other_smi,
        vmx.CPUID: cpuid.handle,
        vmx.HLT: hlt.handle,
        vmx.VMCALL: hypercall.handle,
        vmx.IO_INSTRUCTION: io.handle,
        vmx.MSR_READ: msr.handle_read,
        vmx.MSR_WRITE: msr.handle_write,
        vmx.EPT_VIOLATION: exits.ept_violation,
        vmx.EPT_MISCONFIG: mmio.handle,
        vmx.TDCALL: exits.tdvmcall_by_leaf,
    },
    hypercall=hypercall.handle,
    hypercall_ret=hypercall.ret_zero,
    tdvmcalls={
        SubFunction.GET_TD_VM_CALL_INFO: tdx_exit.handle_info_base_only,
        SubFunction.MAP_GPA: map_gpa.handle,
        SubFunction.REPORT_FATAL_ERROR: fatal.handle_dump,
    },
    unknown_sub_function=invalid_operand,
    map_gpa_not_enabled=Status.INVALID_OPERAND,
    map_gpa_chunk=map_gpa.chunk,
    map_gpa_reply=map_gpa.reply_any_error,
    io_out_sets_r11=False,
    mmio_write_completer=Completer.NONE,
    completers={
        Completer.MAP_GPA: map_gpa.complete,
        Completer.HYPERCALL: hypercall.complete,
        Completer.PIO_IN: io.complete_in,
        Completer.PIO_OUT: io.complete_out,
        Completer.MMIO_READ: mmio.complete_read,
        Completer.RDMSR: msr.complete_read,
        Completer.WRMSR: msr.complete_write,
    },
)

V6_16: Final = Generation(
    name="6.16",
    kernels="Linux 6.16 up to the 7.0 era",
    source="v6.16.1:arch/x86/kvm/vmx/tdx.c",
    handle_exit=exits.handle_exit,
    no_exit_reason=vmx.NO_EXIT_REASON,
    rewritten_reason_mask=0xFFFF_FFFF,
    exits={
        vmx.EXCEPTION_NMI: exits.exception_nmi,
        vmx.EXTERNAL_INTERRUPT: exits.external_interrupt,
        vmx.TRIPLE_FAULT: exits.triple_fault,
        vmx.OTHER_SMI: exits.other_smi,
        vmx.CPUID: cpuid.handle,
        vmx.HLT: hlt.handle,
        vmx.VMCALL: hypercall.handle,
        vmx.IO_INSTRUCTION: io.handle,
        vmx.MSR_READ: msr.handle_read,
        vmx.MSR_WRITE: msr.handle_write,
        vmx.EPT_VIOLATION: exits.ept_violation,
        vmx.EPT_MISCONFIG: mmio.handle,
        vmx.TDCALL: exits.tdvmcall_by_leaf,
    },
    hypercall=hypercall.handle,
    hypercall_ret=hypercall.ret_zero,
    tdvmcalls={
        SubFunction.GET_TD_VM_CALL_INFO: tdx_exit.handle_info,
        SubFunction.MAP_GPA: map_gpa.handle,
        SubFunction.GET_QUOTE: tdx_exit.handle_get_quote,
        SubFunction.REPORT_FATAL_ERROR: fatal.handle_dump,
        SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: tdx_exit.handle_event_notify,
    },
    unknown_sub_function=subfunc_unsupported,
    map_gpa_not_enabled=Status.SUBFUNC_UNSUPPORTED,
    map_gpa_chunk=map_gpa.chunk,
    map_gpa_reply=map_gpa.reply_any_error,
    io_out_sets_r11=False,
    mmio_write_completer=Completer.NONE,
    completers={
        Completer.MAP_GPA: map_gpa.complete,
        Completer.HYPERCALL: hypercall.complete,
        Completer.PIO_IN: io.complete_in,
        Completer.PIO_OUT: io.complete_out,
        Completer.MMIO_READ: mmio.complete_read,
        Completer.RDMSR: msr.complete_read,
        Completer.WRMSR: msr.complete_write,
        Completer.GET_TD_VM_CALL_INFO: tdx_exit.complete_info,
        Completer.SIMPLE: tdx_exit.complete_simple,
    },
)

V7_2: Final = Generation(
    name="7.2",
    kernels="Linux 7.1 or 7.2 on: userspace's errno counts in MapGPA",
    source="v7.2.13:arch/x86/kvm/vmx/tdx.c",
    handle_exit=exits.handle_exit,
    no_exit_reason=vmx.NO_EXIT_REASON,
    rewritten_reason_mask=0xFFFF_FFFF,
    exits={
        vmx.EXCEPTION_NMI: exits.exception_nmi,
        vmx.EXTERNAL_INTERRUPT: exits.external_interrupt,
        vmx.TRIPLE_FAULT: exits.triple_fault,
        vmx.OTHER_SMI: exits.other_smi,
        vmx.CPUID: cpuid.handle,
        vmx.HLT: hlt.handle,
        vmx.VMCALL: hypercall.handle,
        vmx.IO_INSTRUCTION: io.handle,
        vmx.MSR_READ: msr.handle_read,
        vmx.MSR_WRITE: msr.handle_write,
        vmx.EPT_VIOLATION: exits.ept_violation,
        vmx.EPT_MISCONFIG: mmio.handle,
        vmx.TDCALL: exits.tdvmcall_by_leaf,
    },
    hypercall=hypercall.handle,
    hypercall_ret=hypercall.ret_zero,
    tdvmcalls={
        SubFunction.GET_TD_VM_CALL_INFO: tdx_exit.handle_info,
        SubFunction.MAP_GPA: map_gpa.handle,
        SubFunction.GET_QUOTE: tdx_exit.handle_get_quote,
        SubFunction.REPORT_FATAL_ERROR: fatal.handle_dump,
        SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: tdx_exit.handle_event_notify,
    },
    unknown_sub_function=subfunc_unsupported,
    map_gpa_not_enabled=Status.SUBFUNC_UNSUPPORTED,
    map_gpa_chunk=map_gpa.chunk,
    map_gpa_reply=map_gpa.reply_by_errno,
    io_out_sets_r11=False,
    mmio_write_completer=Completer.NONE,
    completers={
        Completer.MAP_GPA: map_gpa.complete,
        Completer.HYPERCALL: hypercall.complete,
        Completer.PIO_IN: io.complete_in,
        Completer.PIO_OUT: io.complete_out,
        Completer.MMIO_READ: mmio.complete_read,
        Completer.RDMSR: msr.complete_read,
        Completer.WRMSR: msr.complete_write,
        Completer.GET_TD_VM_CALL_INFO: tdx_exit.complete_info,
        Completer.SIMPLE: tdx_exit.complete_simple,
    },
)

V7_3: Final = Generation(
    name="7.3",
    kernels="Linux 7.3: bus-lock and notify exits",
    source="v7.3.4:arch/x86/kvm/vmx/tdx.c",
    handle_exit=exits.with_bus_lock,
    no_exit_reason=vmx.NO_EXIT_REASON_7_3,
    rewritten_reason_mask=vmx.BASIC_MASK,
    exits={
        vmx.EXCEPTION_NMI: exits.exception_nmi,
        vmx.EXTERNAL_INTERRUPT: exits.external_interrupt,
        vmx.TRIPLE_FAULT: exits.triple_fault,
        vmx.OTHER_SMI: exits.other_smi,
        vmx.CPUID: cpuid.handle,
        vmx.HLT: hlt.handle,
        vmx.VMCALL: hypercall.handle,
        vmx.IO_INSTRUCTION: io.handle,
        vmx.MSR_READ: msr.handle_read,
        vmx.MSR_WRITE: msr.handle_write,
        vmx.EPT_VIOLATION: exits.ept_violation,
        vmx.EPT_MISCONFIG: mmio.handle,
        vmx.BUS_LOCK: exits.bus_lock,
        vmx.NOTIFY: exits.notify,
        vmx.TDCALL: exits.tdvmcall_by_leaf,
    },
    hypercall=hypercall.handle,
    hypercall_ret=hypercall.ret_zero,
    tdvmcalls={
        SubFunction.GET_TD_VM_CALL_INFO: tdx_exit.handle_info,
        SubFunction.MAP_GPA: map_gpa.handle,
        SubFunction.GET_QUOTE: tdx_exit.handle_get_quote,
        SubFunction.REPORT_FATAL_ERROR: fatal.handle_dump,
        SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: tdx_exit.handle_event_notify,
    },
    unknown_sub_function=subfunc_unsupported,
    map_gpa_not_enabled=Status.SUBFUNC_UNSUPPORTED,
    map_gpa_chunk=map_gpa.chunk,
    map_gpa_reply=map_gpa.reply_by_errno,
    io_out_sets_r11=False,
    mmio_write_completer=Completer.NONE,
    completers={
        Completer.MAP_GPA: map_gpa.complete,
        Completer.HYPERCALL: hypercall.complete,
        Completer.PIO_IN: io.complete_in,
        Completer.PIO_OUT: io.complete_out,
        Completer.MMIO_READ: mmio.complete_read,
        Completer.RDMSR: msr.complete_read,
        Completer.WRMSR: msr.complete_write,
        Completer.GET_TD_VM_CALL_INFO: tdx_exit.complete_info,
        Completer.SIMPLE: tdx_exit.complete_simple,
    },
)

#: Oldest first; the last one is the default.
GENERATIONS: Final = (V19, EXITS_V1, V6_16_RC1, V6_16, V7_2, V7_3)
BY_NAME: Final[dict[str, Generation]] = {item.name: item for item in GENERATIONS}
NEWEST: Final = GENERATIONS[-1]
