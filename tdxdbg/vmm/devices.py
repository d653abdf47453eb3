"""The devices on the board, and where they are."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.vmm import cmos, debug_exit, serial, virtio
from tdxdbg.vmm.ask import Board, Events
from tdxdbg.vmm.bus import Bus, Region
from tdxdbg.vmm.cmos import Cmos, CmosState
from tdxdbg.vmm.console import Console, ConsoleImage
from tdxdbg.vmm.debug_exit import DebugExit
from tdxdbg.vmm.serial import Serial, SerialState
from tdxdbg.vmm.virtio import Virtio, VirtioState

#: What QEMU reads where nothing is: ones from a port, zeroes from memory.
_UNUSED_PORT: Final = 0xFF
_UNUSED_MEMORY: Final = 0
#: The vCPU that the serial port interrupts.
_SERIAL_VCPU: Final = 0


class DevicesImage(NamedTuple):
    """All of them as a value."""

    console: ConsoleImage
    serial: SerialState
    cmos: CmosState
    virtio: VirtioState


class Devices:
    """`ports` and `memory` are the buses that the guest reaches them by."""

    def __init__(self, board: Board) -> None:
        self.console = Console()
        self.serial = Serial(self.console)
        self._cmos = Cmos(board.rtc, sum(size for _, size in board.ram))
        self._virtio = Virtio()
        self._serial_vector = board.serial_vector
        self.ports = Bus(
            (
                Region(cmos.PORT, cmos.SIZE, 1, self._cmos),
                Region(debug_exit.PORT, debug_exit.SIZE, 4, DebugExit()),
                Region(serial.PORT, serial.SIZE, 1, self.serial),
            ),
            _UNUSED_PORT,
        )
        self.memory = Bus((Region(virtio.BASE, virtio.SIZE, 4, self._virtio),), _UNUSED_MEMORY)

    def interrupt(self, events: Events) -> None:
        """Raise what the devices want raised since this was last called."""
        if self.serial.take_interrupt() and self._serial_vector:
            events.raise_vector(_SERIAL_VCPU, self._serial_vector)

    def checkpoint(self) -> DevicesImage:
        return DevicesImage(
            self.console.checkpoint(), self.serial.state, self._cmos.state, self._virtio.state
        )

    def restore(self, image: DevicesImage) -> None:
        self.console.restore(image.console)
        self.serial.state = image.serial
        self._cmos.state = image.cmos
        self._virtio.state = image.virtio
