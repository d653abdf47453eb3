"""The 8254 interval timer and the gate of its third channel, which Linux measures the TSC with.

Registers and modes: Intel 82C54 data sheet; port 0x61: the PC/AT's system
control port B (bit 0 gate, bit 1 speaker, bit 4 refresh, bit 5 output). No
channel is connected to an interrupt: a TD has the local APIC's timer.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.vmm.now import Now

PORT: Final = 0x40
SIZE: Final = 4
GATE_PORT: Final = 0x61

#: Hz, of all channels.
FREQUENCY: Final = 1_193_182

CONTROL: Final = 3
_READ_BACK: Final = 3
_LATCH, _LSB, _MSB, _BOTH = range(4)
#: Modes 2 and 3 begin again by themselves, and have a second number each.
_PERIODIC: Final = (2, 3)
_ALIASES: Final = {6: 2, 7: 3}
_GATE: Final = 1
_SPEAKER: Final = 2
_REFRESH: Final = 1 << 4
_OUTPUT: Final = 1 << 5
_REFRESH_NS: Final = 15_085


class Channel(NamedTuple):
    """`start`: when it began to count, in ns. `latch`: a count that waits to be read, or -1.

    `second`: the next byte to read or write is the upper one. `low`: the lower
    byte that was written.
    """

    mode: int = 0
    access: int = _BOTH
    reload: int = 0x10000
    start: int = 0
    latch: int = -1
    second: bool = False
    low: int = 0

    def ticks(self, now: int) -> int:
        return (now - self.start) * FREQUENCY // 1_000_000_000

    def count(self, now: int) -> int:
        """What the counter holds, 16 bits."""
        ticks = self.ticks(now)
        if self.mode in _PERIODIC:
            ticks %= self.reload
        return self.reload - ticks & 0xFFFF

    def output(self, now: int) -> bool:
        """Its OUT line."""
        ticks = self.ticks(now)
        if self.mode == _PERIODIC[1]:
            return ticks % self.reload < (self.reload + 1) // 2
        return self.mode in _PERIODIC or ticks >= self.reload


class PitState(NamedTuple):
    """All of it; `gate`: bits 0 and 1 of port 0x61."""

    channels: tuple[Channel, Channel, Channel] = (Channel(), Channel(), Channel())
    gate: int = 0


class Pit:
    """Ports 0x40 to 0x43; `gate` is port 0x61."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self.state = PitState()

    def _put(self, number: int, channel: Channel) -> None:
        first, second, third = self.state.channels
        channels = [first, second, third]
        channels[number] = channel
        self.state = self.state._replace(channels=(channels[0], channels[1], channels[2]))

    def read(self, offset: int, size: int) -> int:
        if offset == CONTROL:
            return 0xFF
        channel = self.state.channels[offset]
        count = channel.latch if channel.latch >= 0 else channel.count(self._now.ns)
        upper = channel.access == _MSB or (channel.access == _BOTH and channel.second)
        done = channel.access != _BOTH or channel.second
        self._put(
            offset,
            channel._replace(
                latch=-1 if done else channel.latch,
                second=channel.access == _BOTH and not channel.second,
            ),
        )
        return count >> 8 if upper else count & 0xFF

    def write(self, offset: int, size: int, value: int) -> str:
        if offset == CONTROL:
            self._control(value)
            return ""
        channel = self.state.channels[offset]
        if channel.access == _BOTH and not channel.second:
            self._put(offset, channel._replace(low=value, second=True))
            return ""
        count = value << 8 if channel.access == _MSB else value
        if channel.access == _BOTH:
            count = value << 8 | channel.low
        reload = count or 0x10000
        self._put(
            offset, channel._replace(reload=reload, start=self._now.ns, second=False, latch=-1)
        )
        return ""

    def _control(self, value: int) -> None:
        number, access, mode = value >> 6, value >> 4 & 3, value >> 1 & 7
        if number == _READ_BACK:
            self._read_back(value)
            return
        channel = self.state.channels[number]
        if access == _LATCH:
            self._latch(number)
            return
        mode = _ALIASES.get(mode, mode)
        self._put(number, Channel(mode, access, channel.reload, self._now.ns))

    def _read_back(self, value: int) -> None:
        """Counts only: bit 5 low latches them. A status is not kept."""
        for number in range(3):
            if value & 2 << number and not value & 1 << 5:
                self._latch(number)

    def _latch(self, number: int) -> None:
        channel = self.state.channels[number]
        if channel.latch < 0:
            self._put(number, channel._replace(latch=channel.count(self._now.ns)))


class PitGate:
    """Port 0x61. Raising the gate lets the third channel begin to count."""

    def __init__(self, pit: Pit, now: Now) -> None:
        self._pit = pit
        self._now = now

    def read(self, offset: int, size: int) -> int:
        pit, now = self._pit.state, self._now.ns
        refresh = _REFRESH if now // _REFRESH_NS & 1 else 0
        return pit.gate | refresh | (_OUTPUT if pit.channels[2].output(now) else 0)

    def write(self, offset: int, size: int, value: int) -> str:
        pit = self._pit.state
        channels = pit.channels
        if value & ~pit.gate & _GATE:
            channels = (*channels[:2], channels[2]._replace(start=self._now.ns))
        self._pit.state = PitState(channels, value & (_GATE | _SPEAKER))
        return ""
