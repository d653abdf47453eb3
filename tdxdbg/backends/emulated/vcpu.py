"""What the machine remembers of a vCPU beside what the TDX module does."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from tdxdbg.backends.emulated.apic import LocalApic
from tdxdbg.backends.emulated.context import Context

DR6_RESET: Final = 0xFFFF_0FF0
DR7_RESET: Final = 0x400


class Where(IntEnum):
    """Who has the vCPU."""

    #: The host: it waits for TDH.VP.ENTER.
    HOST = 0
    TD = 1
    #: KVM keeps it until an interrupt comes (Instruction.HLT).
    HALTED = 2


class Origin(IntEnum):
    """Where an event to deliver comes from; decides the checks and the EXT bit."""

    EXCEPTION = 0
    SOFTWARE = 1
    EXTERNAL = 2


class Event(NamedTuple):
    """An exception or interrupt on its way to the guest.

    `return_rip` is what the frame gets; -1: where the guest is. `cr2` is
    loaded for a #PF.
    """

    vector: int
    error_code: int | None = None
    origin: Origin = Origin.EXCEPTION
    return_rip: int = -1
    cr2: int | None = None


class HostCall(NamedTuple):
    """What KVM does inside for the exit that the host has, once it goes well.

    `gpa` (with the shared bit, else -1): an EPT violation to map, `level` as
    the guest asked in TDG.MEM.PAGE.ACCEPT. `msr`: a register of the APIC to
    write (else -1).
    """

    gpa: int = -1
    level: int = 0
    msr: int = -1
    value: int = 0


NO_CALL: Final = HostCall()


class Vcpu:
    """One vCPU; `context` belongs to the engine, the others are values."""

    __slots__ = (
        "apic",
        "call",
        "context",
        "debug_registers",
        "event",
        "index",
        "msrs",
        "where",
    )

    def __init__(self, index: int, context: Context) -> None:
        self.index = index
        self.context = context
        self.where = Where.HOST
        self.apic = LocalApic(index)
        #: An event whose delivery was interrupted by a TD exit.
        self.event: Event | None = None
        self.call = NO_CALL
        self.debug_registers: tuple[int, ...] = (0, 0, 0, 0, 0, 0, DR6_RESET, DR7_RESET)
        #: Values of native MSRs that the CPU model does not have.
        self.msrs: dict[int, int] = {}


class VcpuImage(NamedTuple):
    """A vCPU at a checkpoint."""

    registers: bytes
    where: Where
    apic: LocalApic
    event: Event | None
    call: HostCall
    debug_registers: tuple[int, ...]
    msrs: dict[int, int]


def image_of(vcpu: Vcpu) -> VcpuImage:
    """A copy that the vCPU's further life does not change."""
    return VcpuImage(
        vcpu.context.dump(),
        vcpu.where,
        vcpu.apic.copy(),
        vcpu.event,
        vcpu.call,
        vcpu.debug_registers,
        dict(vcpu.msrs),
    )


def restore(vcpu: Vcpu, image: VcpuImage) -> None:
    """Back to `image`, which stays usable."""
    vcpu.context.restore_dump(image.registers)
    vcpu.where = image.where
    vcpu.apic = image.apic.copy()
    vcpu.event = image.event
    vcpu.call = image.call
    vcpu.debug_registers = image.debug_registers
    vcpu.msrs = dict(image.msrs)
