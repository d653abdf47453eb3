"""KVM uAPI numbers: KVM_EXIT_*, KVM_HC_*, memory attributes, capabilities.

Source: facts kernel_exits 1.5 (compiled against Linux 6.16.1 and 7.3 headers).
"""

from __future__ import annotations

import errno as _errno
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """kvm_run.exit_reason, as far as a TD can produce or a trace can show it."""

    UNKNOWN = 0
    EXCEPTION = 1
    IO = 2
    HYPERCALL = 3
    DEBUG = 4
    HLT = 5
    MMIO = 6
    IRQ_WINDOW_OPEN = 7
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTR = 10
    SET_TPR = 11
    TPR_ACCESS = 12
    NMI = 16
    INTERNAL_ERROR = 17
    SYSTEM_EVENT = 24
    IOAPIC_EOI = 26
    HYPERV = 27
    X86_RDMSR = 29
    X86_WRMSR = 30
    DIRTY_RING_FULL = 31
    AP_RESET_HOLD = 32
    X86_BUS_LOCK = 33
    XEN = 34
    NOTIFY = 37
    MEMORY_FAULT = 39
    TDX = 40


def exit_name(reason: int) -> str:
    """`KVM_EXIT_IO` for 2; an unnamed reason is shown as its number."""
    name = _EXIT_NAMES.get(reason)
    return f"KVM_EXIT_{name}" if name else f"KVM_EXIT {reason:#x}"


_EXIT_NAMES: Final[dict[int, str]] = {int(member): member.name for member in Exit}

# KVM_HC_*: R10 of a vendor-specific TDVMCALL.
HC_VAPIC_POLL_IRQ: Final = 1
HC_KICK_CPU: Final = 5
HC_CLOCK_PAIRING: Final = 9
HC_SEND_IPI: Final = 10
HC_SCHED_YIELD: Final = 11
HC_MAP_GPA_RANGE: Final = 12

HYPERCALL_NAMES: Final[dict[int, str]] = {
    HC_VAPIC_POLL_IRQ: "KVM_HC_VAPIC_POLL_IRQ",
    HC_KICK_CPU: "KVM_HC_KICK_CPU",
    HC_CLOCK_PAIRING: "KVM_HC_CLOCK_PAIRING",
    HC_SEND_IPI: "KVM_HC_SEND_IPI",
    HC_SCHED_YIELD: "KVM_HC_SCHED_YIELD",
    HC_MAP_GPA_RANGE: "KVM_HC_MAP_GPA_RANGE",
}

# KVM_FEATURE_* bit numbers in the paravirtual CPUID leaf.
FEATURE_PV_UNHALT: Final = 7
FEATURE_PV_SEND_IPI: Final = 11
FEATURE_PV_SCHED_YIELD: Final = 13

# KVM's errno values in hypercall results.
KVM_ENOSYS: Final = 1000
KVM_EPERM: Final = 1
KVM_EINVAL: Final = 22
KVM_EOPNOTSUPP: Final = 95

HYPERCALL_LONG_MODE: Final = 1
MAP_GPA_RANGE_ENCRYPTED: Final = 1 << 4
MAP_GPA_RANGE_PAGE_SIZE_MASK: Final = 0xF

SYSTEM_EVENT_TDX_FATAL: Final = 7
SYSTEM_EVENT_NAMES: Final[dict[int, str]] = {
    1: "KVM_SYSTEM_EVENT_SHUTDOWN",
    2: "KVM_SYSTEM_EVENT_RESET",
    3: "KVM_SYSTEM_EVENT_CRASH",
    4: "KVM_SYSTEM_EVENT_WAKEUP",
    5: "KVM_SYSTEM_EVENT_SUSPEND",
    6: "KVM_SYSTEM_EVENT_SEV_TERM",
    7: "KVM_SYSTEM_EVENT_TDX_FATAL",
}

INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: Final = 4
INTERNAL_ERROR_NAMES: Final[dict[int, str]] = {
    1: "KVM_INTERNAL_ERROR_EMULATION",
    2: "KVM_INTERNAL_ERROR_SIMUL_EX",
    3: "KVM_INTERNAL_ERROR_DELIVERY_EV",
    4: "KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON",
}

MEMORY_ATTRIBUTE_PRIVATE: Final = 1 << 3
MEMORY_EXIT_FLAG_PRIVATE: Final = 1 << 3

RUN_X86_BUS_LOCK: Final = 1 << 1
NOTIFY_CONTEXT_INVALID: Final = 1 << 0

MSR_EXIT_REASON_INVAL: Final = 1
MSR_EXIT_REASON_UNKNOWN: Final = 2
MSR_EXIT_REASON_FILTER: Final = 4

EXIT_IO_IN: Final = 0
EXIT_IO_OUT: Final = 1

#: run->tdx.flags word of v19's raw KVM_EXIT_TDX (type KVM_EXIT_TDX_VMCALL).
TDX_VMCALL: Final = 1

#: Offsets in struct kvm_run, in bytes.
RUN_EXIT_REASON_OFFSET: Final = 8
RUN_FLAGS_OFFSET: Final = 14
RUN_UNION_OFFSET: Final = 32
RUN_UNION_SIZE: Final = 256
RUN_SIZE: Final = 2352
PIO_PAGE_OFFSET: Final = 0x1000

PAGE_SIZE: Final = 4096


def errno_name(number: int) -> str:
    """`EAGAIN` for 11; a number without a name is shown as such."""
    return _ERRNO_NAMES.get(number, str(number))


#: Linux's number; the errno module of Python 3.13 and older lacks it.
EHWPOISON: Final = 133

_ERRNO_NAMES: Final[dict[int, str]] = {**_errno.errorcode, EHWPOISON: "EHWPOISON"}
