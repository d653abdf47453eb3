"""What the VMM is asked, what it replies, and what it reaches."""

from __future__ import annotations

import errno
from enum import Enum
from typing import Final, NamedTuple, Protocol

from tdxdbg.abi import fw_cfg
from tdxdbg.abi.ghci import Status, SubFunction, shared_bit
from tdxdbg.abi.kvm import HC_MAP_GPA_RANGE, Exit
from tdxdbg.engine import (
    Answer,
    HypercallAnswer,
    KvmRun,
    SetMemoryAttributes,
    Step,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import TDX_RAW

_MIB: Final = 1 << 20
#: 2026-01-01 00:00:00 UTC.
RTC_START: Final = 1_767_225_600


class GuestMemory(Protocol):
    """Guest memory as the host has it; GPAs in bytes, without the shared bit."""

    def read_gpa(self, gpa: int, size: int) -> bytes | None:
        """`size` bytes; None where some of it is no RAM."""
        ...

    def write_gpa(self, gpa: int, data: bytes) -> bool:
        """False, with nothing written, where some of it is no RAM."""
        ...

    def is_shared(self, gpa: int) -> bool:
        """Whether the memory attributes say that the page of `gpa` is shared."""
        ...


class Events(Protocol):
    """Interrupts for the guest, through its local APICs."""

    def raise_vector(self, vcpu: int, vector: int) -> None:
        """An edge: vector 16..255."""
        ...


class Chipset(Enum):
    """What is on the board beside the serial port, the clock and a virtio-mmio device."""

    #: Nothing: a sample guest's.
    NONE = "none"
    #: An I/O APIC, ACPI's fixed hardware, a PCI bus with a host bridge: what Linux looks for.
    PC = "pc"
    #: That, an LPC bridge, PCI configuration in memory, fw_cfg: what firmware looks for.
    Q35 = "q35"


class Board(NamedTuple):
    """What the VM is built of, and never changes.

    `ram`: (GPA, bytes) of each range, `rom` the same of the firmware's image.
    `rtc`: what the clock on the board says, seconds since 1970; it stands still.
    `serial_vector`: the interrupt vector of the serial port, to vCPU 0; 0: it
    has none, or the I/O APIC's pin 4 where the `chipset` has one. `vcpus` have
    the local APICs 0 and up. `fw_cfg`: what firmware finds, where the `chipset`
    is for firmware. `quoting_service`: whether there is one to ask for quotes;
    `quote_delay`: how many exits to userspace it takes it to answer.
    """

    ram: tuple[tuple[int, int], ...] = ((0, 64 * _MIB),)
    rom: tuple[tuple[int, int], ...] = ()
    gpaw: int = 48
    maxphyaddr: int = 52
    rtc: int = RTC_START
    serial_vector: int = 0
    chipset: Chipset = Chipset.NONE
    vcpus: int = 1
    fw_cfg: fw_cfg.Content = fw_cfg.NOTHING
    quoting_service: bool = True
    quote_delay: int = 0

    @property
    def shared_mask(self) -> int:
        """The bit of a GPA that says shared."""
        return shared_bit(self.gpaw)


class Reply(NamedTuple):
    """What userspace does about one exit.

    It sets the memory attributes of `convert`, writes `answer` into kvm_run
    (None: nothing) and calls KVM_RUN again, unless `stop` says why it stops
    the VM: one line, which can hold text of the guest that has to be escaped
    where it is shown (`tdxdbg.decode.text.safe`).
    """

    answer: Answer | None = None
    convert: tuple[SetMemoryAttributes, ...] = ()
    stop: str = ""


class Ask(NamedTuple):
    """One exit, as the VMM gets it; `time` in ns of the run."""

    vcpu: int
    step: Step
    memory: GuestMemory
    events: Events
    time: int = 0

    @property
    def is_conversion(self) -> bool:
        """Whether userspace is to convert memory: a chunk of MapGPA, KVM's own
        hypercall, or in v19 the whole of MapGPA.
        """
        run = self.step.run
        if run is None:
            return False
        if run.exit_reason == Exit.HYPERCALL:
            return run.get("nr") == HC_MAP_GPA_RANGE
        return run.layout is TDX_RAW and run.get("in_r11") == SubFunction.MAP_GPA

    def conversion_answer(self, ret: int) -> Answer:
        """The answer to a conversion: 0, or an errno.

        v19 takes a status of the GHCI: EAGAIN is RETRY from where the guest
        began, any other error INVALID_OPERAND.
        """
        run = self.step.run
        if run is None or run.layout is not TDX_RAW:
            return HypercallAnswer(ret)
        if ret == errno.EAGAIN:
            return TdxRawAnswer(r10=Status.RETRY, r11=number(run, "in_r12"))
        return TdxRawAnswer(r10=Status.INVALID_OPERAND if ret else Status.SUCCESS)


def number(run: KvmRun, name: str, index: int = 0) -> int:
    """A field of kvm_run; 0 where no value is known."""
    return run.get(name, index) or 0
