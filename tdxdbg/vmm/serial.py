"""A 16550 serial port, as far as a guest can tell without a clock.

Registers and bits: the 16550D data sheet (PC16550D, table II). What is sent is
gone at once, so the transmitter is always empty; what is received waits outside
until there is room: 1 byte, or 16 with the FIFOs on. Every byte that waits
counts as old, so the receive time-out of the FIFO is never waited for.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.vmm.console import Console

PORT: Final = 0x3F8
SIZE: Final = 8
#: Received bytes that wait for the guest; more are not taken.
MOST_WAITING: Final = 64 * 1024

# Registers, by offset. With LCR.DLAB the first two are the divisor.
RBR_THR: Final = 0
IER: Final = 1
IIR_FCR: Final = 2
LCR: Final = 3
MCR: Final = 4
LSR: Final = 5
MSR: Final = 6
SCR: Final = 7

IER_RECEIVED: Final = 1
IER_EMPTY: Final = 2
IER_MODEM: Final = 8

IIR_NONE: Final = 0x01
IIR_MODEM: Final = 0x00
IIR_EMPTY: Final = 0x02
IIR_RECEIVED: Final = 0x04
IIR_TIMEOUT: Final = 0x0C
IIR_FIFOS: Final = 0xC0

FCR_ENABLE: Final = 0x01
FCR_CLEAR_RECEIVED: Final = 0x02
_FCR_KEPT: Final = FCR_ENABLE | 0xC8

LCR_DLAB: Final = 0x80

MCR_DTR: Final = 0x01
MCR_RTS: Final = 0x02
MCR_OUT1: Final = 0x04
#: On a PC this one lets the interrupt through.
MCR_OUT2: Final = 0x08
MCR_LOOP: Final = 0x10

LSR_READY: Final = 0x01
LSR_EMPTY: Final = 0x60

MSR_CTS: Final = 0x10
MSR_DSR: Final = 0x20
MSR_RI: Final = 0x40
MSR_DCD: Final = 0x80
#: Somebody is there: carrier, ready, clear to send.
_CONNECTED: Final = MSR_DCD | MSR_DSR | MSR_CTS

#: With FIFOs, "received" waits for so many bytes (FCR bits 7:6).
_TRIGGER: Final = (1, 4, 8, 14)
_FIFO: Final = 16


class SerialState(NamedTuple):
    """All of it but the text that was sent."""

    divisor: int = 12
    ier: int = 0
    fcr: int = 0
    lcr: int = 3
    mcr: int = MCR_OUT2
    scr: int = 0
    #: The lower half of MSR: what changed since it was read.
    changed: int = 0
    #: The transmitter became empty, and nobody has seen it in IIR.
    emptied: bool = True
    received: bytes = b""
    #: The level of the interrupt line, and whether it rose since it was asked for.
    line: bool = False
    rose: bool = False


class Serial:
    """The port; bytes that it sends go to `console`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.state = SerialState()

    # --- the guest's side -------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        state = self.state
        if offset == LSR:
            return LSR_EMPTY | LSR_READY if state.received else LSR_EMPTY
        if state.lcr & LCR_DLAB and offset <= IER:
            return state.divisor >> 8 * offset & 0xFF
        if offset == RBR_THR:
            return self._receive()
        if offset == IIR_FCR:
            return self._identify()
        if offset == MSR:
            self._set(state._replace(changed=0))
            return _lines(state.mcr) | state.changed
        return (0, state.ier, 0, state.lcr, state.mcr, 0, 0, state.scr)[offset]

    def write(self, offset: int, size: int, value: int) -> str:
        state = self.state
        if state.lcr & LCR_DLAB and offset <= IER:
            shift = 8 * offset
            kept = state.divisor & ~(0xFF << shift)
            self.state = state._replace(divisor=kept | value << shift)
        elif offset == RBR_THR:
            self._send(value)
        elif offset == IER:
            self._enable(value & 0xF)
        elif offset == IIR_FCR:
            self._control_fifos(value)
        elif offset == LCR:
            self.state = state._replace(lcr=value)
        elif offset == MCR:
            self._control_modem(value & 0x1F)
        elif offset == SCR:
            self.state = state._replace(scr=value)
        return ""

    def _send(self, value: int) -> None:
        state = self.state
        if state.mcr & MCR_LOOP:
            if len(state.received) < MOST_WAITING:
                state = state._replace(received=state.received + bytes((value,)))
        else:
            self.console.write(value)
            if state.emptied and not state.ier & IER_EMPTY:
                return
        # An interrupt line falls with the byte, and rises when it is gone.
        self._set(state._replace(emptied=False))
        self._set(self.state._replace(emptied=True))

    def _receive(self) -> int:
        state = self.state
        if not state.received:
            return 0
        self._set(state._replace(received=state.received[1:]))
        return state.received[0]

    def _enable(self, value: int) -> None:
        state = self.state
        # Enabling the interrupt of an empty transmitter raises it.
        emptied = state.emptied or bool(value & ~state.ier & IER_EMPTY)
        self._set(state._replace(ier=value, emptied=emptied))

    def _identify(self) -> int:
        """IIR; reading "transmitter empty" is what clears it."""
        state = self.state
        cause = _cause(state)
        if cause == IIR_EMPTY:
            self._set(state._replace(emptied=False))
        return cause | (IIR_FIFOS if state.fcr & FCR_ENABLE else 0)

    def _control_fifos(self, value: int) -> None:
        """FCR. Changing bit 0 clears the FIFOs; without it no other bit counts."""
        state = self.state
        received = state.received
        if (value ^ state.fcr) & FCR_ENABLE or (value & FCR_ENABLE and value & FCR_CLEAR_RECEIVED):
            received = received[_room(state) :]
        fcr = value & _FCR_KEPT if value & FCR_ENABLE else 0
        self._set(state._replace(fcr=fcr, received=received))

    def _control_modem(self, value: int) -> None:
        state = self.state
        old, new = _lines(state.mcr), _lines(value)
        flipped = old ^ new
        if new & MSR_RI:
            # Only the end of a ring is a change.
            flipped &= ~MSR_RI
        self._set(state._replace(mcr=value, changed=state.changed | flipped >> 4))

    # --- the other end of the line ----------------------------------------------------

    def receive(self, data: bytes) -> int:
        """Bytes for the guest; how many were taken."""
        state = self.state
        taken = data[: MOST_WAITING - len(state.received)]
        self._set(state._replace(received=state.received + taken))
        return len(taken)

    def take_interrupt(self) -> bool:
        """Whether the interrupt line rose since this was last asked."""
        if not self.state.rose:
            return False
        self.state = self.state._replace(rose=False)
        return True

    def _set(self, state: SerialState) -> None:
        """A state whose interrupt line may have moved."""
        line = _cause(state) != IIR_NONE and bool(state.mcr & MCR_OUT2)
        if line != state.line:
            state = state._replace(line=line, rose=state.rose or line)
        self.state = state


def _room(state: SerialState) -> int:
    """Bytes of what is received that the port itself holds."""
    return _FIFO if state.fcr & FCR_ENABLE else 1


def _cause(state: SerialState) -> int:
    """IIR bits 3:0: the pending interrupt of the highest priority."""
    ier = state.ier
    if ier & IER_RECEIVED and state.received:
        if not state.fcr & FCR_ENABLE or len(state.received) >= _TRIGGER[state.fcr >> 6]:
            return IIR_RECEIVED
        return IIR_TIMEOUT
    if ier & IER_EMPTY and state.emptied:
        return IIR_EMPTY
    if ier & IER_MODEM and state.changed:
        return IIR_MODEM
    return IIR_NONE


def _lines(mcr: int) -> int:
    """The upper half of MSR; in loopback the port sees its own outputs."""
    if not mcr & MCR_LOOP:
        return _CONNECTED
    return (
        (MSR_CTS if mcr & MCR_RTS else 0)
        | (MSR_DSR if mcr & MCR_DTR else 0)
        | (MSR_RI if mcr & MCR_OUT1 else 0)
        | (MSR_DCD if mcr & MCR_OUT2 else 0)
    )
