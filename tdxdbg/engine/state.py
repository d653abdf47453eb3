"""Inputs, outputs and state of the engine.

Messages are frozen tuples; only a `Vcpu` is mutable, and every field of it is
an immutable value, so a checkpoint is a copy of its slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from tdxdbg.abi.regs import KNOWN_ALL, NO_REGS, Regs
from tdxdbg.engine.kvm_run import EMPTY_UNION, KvmRun
from tdxdbg.engine.notes import Note


class ProtocolError(Exception):
    """The driver of the engine fed an input that the vCPU's phase forbids."""


class Outcome(IntEnum):
    """What the handler returned to KVM's run loop."""

    REENTER_TD = 1
    EXIT_TO_USERSPACE = 0
    KVM_ERROR = -1
    #: A VM ioctl (KVM_SET_MEMORY_ATTRIBUTES) returned 0; no vCPU moved.
    IOCTL_DONE = 2


class Phase(IntEnum):
    """Where a vCPU is. A vCPU starts IN_USERSPACE."""

    IN_USERSPACE = 0
    IN_TD = 1
    DEAD = 2


class Completer(IntEnum):
    """vcpu->arch.complete_userspace_io, as data; named after the kernel's functions."""

    NONE = 0
    MAP_GPA = 1
    HYPERCALL = 2
    PIO_IN = 3
    PIO_OUT = 4
    MMIO_READ = 5
    MMIO_WRITE = 6
    RDMSR = 7
    WRMSR = 8
    GET_TD_VM_CALL_INFO = 9
    SIMPLE = 10
    RAW = 11


# Effects of a step, a bit each.
WARNED: Final = 1
VM_BUGGED: Final = 2
HALTED: Final = 4
EVENTS_CHECKED: Final = 8


# --- inputs ---------------------------------------------------------------------------


class InKernel(NamedTuple):
    """What KVM's inside did with an exit, as far as a recording knows it.

    These depend on parts of KVM that the engine does not model (devices, the
    MMU, clocks), so they are part of the input. `handled`: an in-kernel device
    took the port I/O or MMIO; `value`: what it read, or what
    KVM_HC_CLOCK_PAIRING or KVM_HC_SEND_IPI returned; `errno`: EFAULT (14) or
    EHWPOISON (133) when an EPT violation ended in KVM_EXIT_MEMORY_FAULT.
    """

    handled: bool = False
    value: int = 0
    errno: int = 0


class TdExit(NamedTuple):
    """TDH.VP.ENTER returned.

    `vp_enter_ret` is its RAX; `regs` what KVM sees (see `Regs`); `known` a mask
    of registers that were really seen (bit = register number).
    """

    vcpu: int
    vp_enter_ret: int
    regs: Regs
    known: int = KNOWN_ALL
    in_kernel: InKernel | None = None
    signal_pending: bool = False

    @property
    def exit_qualification(self) -> int:
        return self.regs.rcx

    @property
    def ext_exit_qualification(self) -> int:
        return self.regs.rdx

    @property
    def gpa(self) -> int:
        """The faulting GPA of an EPT violation, with the shared bit."""
        return self.regs.r8

    @property
    def intr_info(self) -> int:
        return self.regs.r9 & 0xFFFF_FFFF


class HypercallAnswer(NamedTuple):
    """What userspace wrote after KVM_EXIT_HYPERCALL; None: left as KVM wrote it."""

    ret: int | None = None


class IoAnswer(NamedTuple):
    """Bytes written to the PIO data page (from its start)."""

    data: bytes | None = None


class MmioAnswer(NamedTuple):
    """Bytes written to mmio.data (from its start, at most 8)."""

    data: bytes | None = None


class MsrAnswer(NamedTuple):
    """run->msr: a non-zero error makes the guest's access fail."""

    error: int | None = None
    data: int | None = None


class TdxAnswer(NamedTuple):
    """run->tdx of 6.16 and later; r11..r14 only exist for GetTdVmCallInfo."""

    ret: int | None = None
    r11: int | None = None
    r12: int | None = None
    r13: int | None = None
    r14: int | None = None


class TdxRawAnswer(NamedTuple):
    """out_* of v19's raw exit, in the order of its struct; None: left as KVM preset it."""

    r10: int | None = None
    r11: int | None = None
    r12: int | None = None
    r13: int | None = None
    r14: int | None = None
    r15: int | None = None
    rbx: int | None = None
    rdi: int | None = None
    rsi: int | None = None
    r8: int | None = None
    r9: int | None = None
    rdx: int | None = None


Answer = HypercallAnswer | IoAnswer | MmioAnswer | MsrAnswer | TdxAnswer | TdxRawAnswer


class Reentry(NamedTuple):
    """ioctl(KVM_RUN) again, after userspace wrote its answer into kvm_run.

    `has_events` is what kvm_vcpu_has_events() would say if KVM looks;
    `immediate_exit` is kvm_run.immediate_exit.
    """

    vcpu: int
    answer: Answer | None = None
    has_events: bool = False
    immediate_exit: bool = False
    signal_pending: bool = False


class SetMemoryAttributes(NamedTuple):
    """ioctl(KVM_SET_MEMORY_ATTRIBUTES): `gpa` and `size` in bytes."""

    gpa: int
    size: int
    private: bool


Input = TdExit | Reentry | SetMemoryAttributes


# --- output ---------------------------------------------------------------------------


class Step(NamedTuple):
    """What one input did.

    `regs` is what KVM hands to TDH.VP.ENTER (REENTER_TD), or holds for it;
    `run` is there after an exit to userspace, and after a KVM_RUN that failed
    with a valid exit (memory fault). `run_flags` is kvm_run.flags, `errno` a
    positive number, `effects` a set of WARNED, VM_BUGGED, HALTED,
    EVENTS_CHECKED, `notes` say why.
    """

    outcome: Outcome
    regs: Regs
    run: KvmRun | None = None
    run_flags: int = 0
    completer: Completer = Completer.NONE
    errno: int = 0
    effects: int = 0
    notes: tuple[Note, ...] = ()


# --- state ----------------------------------------------------------------------------


class Msr(NamedTuple):
    """An MSR that KVM emulates for a TD; `filtered`: denied by KVM_X86_SET_MSR_FILTER."""

    data: int = 0
    readable: bool = True
    writable: bool = True
    filtered: bool = False


@dataclass(frozen=True, slots=True)
class Td:
    """`kvm_tdx` and TD_PARAMS: what does not change while the TD runs.

    `maxphyaddr` is CPUID 0x80000008 EAX[7:0] as given to KVM_SET_CPUID2;
    `exit_hypercall` is KVM_CAP_EXIT_HYPERCALL with bit 12; `pv_features` the
    paravirtual feature word; `cpuid` maps (leaf, sub-leaf) to EAX, EBX, ECX,
    EDX of vCPU 0, whose x2APIC id is followed by those of the others;
    `memslots` are (first, end) page numbers; devices in the kernel are (first,
    end) ports or GPAs; `fast_mmio` are ioeventfd GPAs without length.

    `implicit_conversions`: an answer that says "converted" stands for the
    KVM_SET_MEMORY_ATTRIBUTES calls, which nobody recorded. A live run has them
    all, so that a VMM that lies shows.
    """

    gpaw: int = 48
    maxphyaddr: int = 52
    attributes: int = 0
    exit_hypercall: bool = True
    user_space_msr_mask: int = 0
    notify_user: bool = False
    pv_features: int = 0
    cpuid: Mapping[tuple[int, int], tuple[int, int, int, int]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    msrs: Mapping[int, Msr] = field(default_factory=lambda: MappingProxyType({}))
    memslots: tuple[tuple[int, int], ...] = ()
    pio_devices: tuple[tuple[int, int], ...] = ()
    mmio_devices: tuple[tuple[int, int], ...] = ()
    fast_mmio: tuple[int, ...] = ()
    implicit_conversions: bool = True
    #: The bit of a GPA that says shared: bit 47 or 51.
    shared_mask: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared_mask", 1 << (self.gpaw - 1))


class Vcpu:
    """`vcpu_tdx` and what matters of `kvm_vcpu_arch` and `kvm_run`.

    The second group of slots is scratch: set anew by each input, part of the
    Step and not of the state.
    """

    __slots__ = (
        "completer",
        "errno",
        "effects",
        "exit_reason",
        "index",
        "map_gpa_end",
        "map_gpa_next",
        "mmio_len",
        "msrs",
        "notes",
        "phase",
        "pio",
        "pio_size",
        "regs",
        "run",
        "run_flags",
        "union",
        "valid",
        "vmx_exit_reason",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.phase = Phase.IN_USERSPACE
        self.regs = NO_REGS
        self.completer = Completer.NONE
        self.exit_reason = 0
        self.union = EMPTY_UNION
        self.valid = 0
        self.pio = bytes(8)
        self.pio_size = 0
        self.mmio_len = 0
        self.map_gpa_next = 0
        self.map_gpa_end = 0
        self.vmx_exit_reason = 0
        self.msrs: Mapping[int, int] = {}
        self.run: KvmRun | None = None
        self.run_flags = 0
        self.errno = 0
        self.effects = 0
        self.notes: tuple[Note, ...] = ()

    def copy(self) -> Vcpu:
        new = Vcpu.__new__(Vcpu)
        for name in Vcpu.__slots__:
            setattr(new, name, getattr(self, name))
        return new
