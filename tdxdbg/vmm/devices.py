"""The devices on the board, and where they are."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.vmm import acpi_pm, cmos, debug_exit, fw_cfg, ioapic, pci, pit, reset, serial, virtio
from tdxdbg.vmm.acpi_pm import AcpiPm, PmState, SleepControl
from tdxdbg.vmm.ask import Board, Chipset, Events
from tdxdbg.vmm.bus import Bus, Region
from tdxdbg.vmm.cmos import Cmos, CmosState
from tdxdbg.vmm.console import Console, ConsoleImage
from tdxdbg.vmm.debug_exit import DebugExit
from tdxdbg.vmm.fw_cfg import FwCfg, FwCfgDma, FwCfgState
from tdxdbg.vmm.ioapic import Ioapic, IoapicState
from tdxdbg.vmm.now import Now
from tdxdbg.vmm.pci import Ecam, Pci, PciState
from tdxdbg.vmm.pit import Pit, PitGate, PitState
from tdxdbg.vmm.reset import KeyboardReset
from tdxdbg.vmm.serial import Serial, SerialState
from tdxdbg.vmm.virtio import Virtio, VirtioState

#: What QEMU reads where nothing is: ones from a port, zeroes from memory.
_UNUSED_PORT: Final = 0xFF
_UNUSED_MEMORY: Final = 0
#: The vCPU that the serial port interrupts with a vector of its own.
_SERIAL_VCPU: Final = 0
#: COM1's ISA interrupt, which is the pin of the same number.
_SERIAL_PIN: Final = 4

_FUNCTIONS: Final[dict[Chipset, tuple[pci.Function, ...]]] = {
    Chipset.NONE: (),
    Chipset.PC: (pci.HOST_BRIDGE,),
    Chipset.Q35: (pci.HOST_BRIDGE, pci.LPC_BRIDGE),
}


class DevicesImage(NamedTuple):
    """All of them as a value."""

    console: ConsoleImage
    serial: SerialState
    cmos: CmosState
    virtio: VirtioState
    ioapic: IoapicState
    pci: PciState
    power: PmState
    timer: PitState
    fw_cfg: FwCfgState


class Devices:
    """`ports` and `memory` are the buses that the guest reaches them by.

    `now` is to be set before an access.
    """

    def __init__(self, board: Board) -> None:
        self.now = Now()
        self.console = Console()
        self.serial = Serial(self.console)
        self._cmos = Cmos(board.rtc, sum(size for _, size in board.ram))
        self._virtio = Virtio()
        self._ioapic = Ioapic()
        self._pci = Pci(_FUNCTIONS[board.chipset])
        self._power = AcpiPm(self.now)
        self._timer = Pit(self.now)
        self.fw_cfg = FwCfg(board.fw_cfg)
        self._serial_vector = board.serial_vector
        self._vcpus = board.vcpus
        self._has_ioapic = board.chipset is not Chipset.NONE
        self.ports = Bus(self._ports(board.chipset), _UNUSED_PORT)
        self.memory = Bus(self._memory(board.chipset), _UNUSED_MEMORY)

    def _ports(self, chipset: Chipset) -> tuple[Region, ...]:
        regions: tuple[Region, ...] = (
            Region(cmos.PORT, cmos.SIZE, 1, self._cmos),
            Region(debug_exit.PORT, debug_exit.SIZE, 4, DebugExit()),
            Region(serial.PORT, serial.SIZE, 1, self.serial),
        )
        if chipset is Chipset.NONE:
            return regions
        regions = (
            *regions,
            Region(pit.PORT, pit.SIZE, 1, self._timer),
            Region(pit.GATE_PORT, 1, 1, PitGate(self._timer, self.now)),
            Region(reset.PORT, reset.SIZE, 1, KeyboardReset()),
            Region(acpi_pm.PORT, acpi_pm.SIZE, 4, self._power),
            Region(acpi_pm.SLEEP_PORT, acpi_pm.SLEEP_SIZE, 1, SleepControl()),
            Region(pci.PORT, pci.SIZE, 4, self._pci),
        )
        if chipset is Chipset.PC:
            return regions
        return (
            *regions,
            Region(fw_cfg.PORT, fw_cfg.SIZE, 2, self.fw_cfg),
            Region(fw_cfg.DMA_PORT, fw_cfg.DMA_SIZE, 8, FwCfgDma(self.fw_cfg)),
        )

    def _memory(self, chipset: Chipset) -> tuple[Region, ...]:
        regions = [Region(virtio.BASE, virtio.SIZE, 4, self._virtio)]
        if chipset is not Chipset.NONE:
            regions.append(Region(ioapic.BASE, ioapic.SIZE, 4, self._ioapic))
        if chipset is Chipset.Q35:
            regions.append(Region(pci.ECAM_BASE, pci.ECAM_SIZE, 4, Ecam(self._pci)))
        return tuple(regions)

    def interrupt(self, events: Events) -> None:
        """Raise what the devices want raised since this was last called."""
        if self._has_ioapic:
            self._drive_pin()
            if self._ioapic.due:
                self._ioapic.deliver(events, self._vcpus)
        if self.serial.take_interrupt() and self._serial_vector:
            events.raise_vector(_SERIAL_VCPU, self._serial_vector)

    def _drive_pin(self) -> None:
        """The serial port's line, which may have fallen and risen since."""
        state = self.serial.state
        if state.rose:
            self._ioapic.set_pin(_SERIAL_PIN, high=False)
            self._ioapic.set_pin(_SERIAL_PIN, high=True)
        if state.line != self._ioapic.is_high(_SERIAL_PIN):
            self._ioapic.set_pin(_SERIAL_PIN, high=state.line)

    def checkpoint(self) -> DevicesImage:
        return DevicesImage(
            self.console.checkpoint(),
            self.serial.state,
            self._cmos.state,
            self._virtio.state,
            self._ioapic.state,
            self._pci.state,
            self._power.state,
            self._timer.state,
            self.fw_cfg.state,
        )

    def restore(self, image: DevicesImage) -> None:
        self.console.restore(image.console)
        self.serial.state = image.serial
        self._cmos.state = image.cmos
        self._virtio.state = image.virtio
        self._ioapic.state = image.ioapic
        self._pci.state = image.pci
        self._power.state = image.power
        self._timer.state = image.timer
        self.fw_cfg.state = image.fw_cfg
