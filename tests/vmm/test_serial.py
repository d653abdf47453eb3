"""The 16550: registers and interrupts, by the PC16550D data sheet."""

from __future__ import annotations

import pytest

from tdxdbg.vmm.console import Console
from tdxdbg.vmm.serial import (
    FCR_CLEAR_RECEIVED,
    FCR_ENABLE,
    IER,
    IER_EMPTY,
    IER_MODEM,
    IER_RECEIVED,
    IIR_FCR,
    IIR_FIFOS,
    IIR_NONE,
    IIR_RECEIVED,
    IIR_TIMEOUT,
    LCR,
    LCR_DLAB,
    LSR,
    MCR,
    MCR_LOOP,
    MCR_OUT2,
    MOST_WAITING,
    MSR,
    RBR_THR,
    SCR,
    Serial,
)

#: (offset, value) writes; (offset, None, expected) reads.
Script = list[tuple[int, int] | tuple[int, None, int]]


def port() -> Serial:
    return Serial(Console())


def play(serial: Serial, script: Script) -> None:
    for place, step in enumerate(script):
        if len(step) == 2:
            assert serial.write(step[0], 1, step[1]) == ""
        else:
            assert serial.read(step[0], 1) == step[2], f"access {place}"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([(LSR, None, 0x60), (MSR, None, 0xB0), (IIR_FCR, None, 1)], id="at the start"),
        pytest.param([(SCR, 0x5A), (SCR, None, 0x5A), (SCR, 0), (SCR, None, 0)], id="scratch"),
        pytest.param([(IER, 0xFF), (IER, None, 0x0F)], id="IER has four bits"),
        pytest.param([(MCR, 0xFF), (MCR, None, 0x1F)], id="MCR has five bits"),
        pytest.param([(LSR, 0), (LSR, None, 0x60)], id="LSR is read-only"),
        pytest.param([(MSR, 0xFF), (MSR, None, 0xB0)], id="MSR is read-only"),
        pytest.param(
            [(LCR, LCR_DLAB), (0, 3), (1, 1), (0, None, 3), (1, None, 1), (LCR, 3), (IER, None, 0)],
            id="the divisor is behind DLAB",
        ),
        pytest.param([(IIR_FCR, FCR_ENABLE), (IIR_FCR, None, IIR_FIFOS | 1)], id="FIFOs on"),
        pytest.param(
            [(IIR_FCR, 0xC1), (IIR_FCR, 0xC0), (IIR_FCR, None, 1)], id="no FIFOs without bit 0"
        ),
        pytest.param(
            [
                (IER, IER_EMPTY),
                (IIR_FCR, None, 2),
                (IIR_FCR, None, 1),
                (RBR_THR, 65),
                (IIR_FCR, None, 2),
                (IIR_FCR, None, 1),
            ],
            id="the empty transmitter: cleared by reading IIR, raised by sending",
        ),
        pytest.param(
            [(IER, IER_EMPTY), (IIR_FCR, None, 2), (IER, 0), (IER, IER_EMPTY), (IIR_FCR, None, 2)],
            id="enabling raises it again",
        ),
        pytest.param(
            [(MCR, MCR_LOOP | 0x05), (MSR, None, 0x60 | 0x09), (MSR, None, 0x60)],
            id="loopback: DTR is DSR, OUT1 is RI; DCD and CTS fell",
        ),
        pytest.param(
            [(MCR, MCR_LOOP | 4), (MSR, None, 0x4B), (MCR, MCR_LOOP), (MSR, None, 0x04)],
            id="the end of a ring is a change",
        ),
        pytest.param(
            [
                (MCR, MCR_LOOP),
                (RBR_THR, 0x41),
                (LSR, None, 0x61),
                (RBR_THR, None, 0x41),
                (LSR, None, 0x60),
                (RBR_THR, None, 0),
            ],
            id="loopback: what is sent comes back",
        ),
        pytest.param(
            [
                (MCR, MCR_OUT2),
                (IER, IER_MODEM),
                (IIR_FCR, None, 1),
                (MCR, MCR_LOOP),
                (IIR_FCR, None, 0),
                (MSR, None, 0x0B),
                (IIR_FCR, None, 1),
            ],
            id="modem status has the lowest priority",
        ),
    ],
)
def test_registers(script: Script) -> None:
    play(port(), script)


def test_text_goes_to_the_console_but_not_in_loopback() -> None:
    serial = port()
    for value in b"hello":
        serial.write(RBR_THR, 1, value)
    serial.write(MCR, 1, MCR_LOOP)
    serial.write(RBR_THR, 1, 33)
    assert bytes(serial.console) == b"hello"


def test_receiving_without_fifos() -> None:
    serial = port()
    assert serial.receive(b"abc") == 3
    play(serial, [(LSR, None, 0x61), (RBR_THR, None, 97), (RBR_THR, None, 98), (LSR, None, 0x61)])
    play(serial, [(RBR_THR, None, 99), (LSR, None, 0x60)])


@pytest.mark.parametrize(
    ("fcr", "waiting", "cause"),
    [
        (0, 1, IIR_RECEIVED),
        (0, 0, IIR_NONE),
        (0x01, 1, IIR_RECEIVED | IIR_FIFOS),
        (0x41, 3, IIR_TIMEOUT | IIR_FIFOS),
        (0x41, 4, IIR_RECEIVED | IIR_FIFOS),
        (0x81, 7, IIR_TIMEOUT | IIR_FIFOS),
        (0x81, 8, IIR_RECEIVED | IIR_FIFOS),
        (0xC1, 13, IIR_TIMEOUT | IIR_FIFOS),
        (0xC1, 14, IIR_RECEIVED | IIR_FIFOS),
    ],
)
def test_the_trigger_level(fcr: int, waiting: int, cause: int) -> None:
    serial = port()
    play(serial, [(IIR_FCR, fcr), (IER, IER_RECEIVED)])
    serial.receive(bytes(waiting))
    assert serial.read(IIR_FCR, 1) == cause


@pytest.mark.parametrize(
    ("before", "fcr", "left"),
    [
        (0, FCR_ENABLE, 19),
        (FCR_ENABLE, FCR_ENABLE, 20),
        (FCR_ENABLE, FCR_ENABLE | FCR_CLEAR_RECEIVED, 4),
        (FCR_ENABLE, 0, 4),
        (0, FCR_CLEAR_RECEIVED, 20),
    ],
)
def test_clearing_the_fifo_loses_what_is_in_it(before: int, fcr: int, left: int) -> None:
    serial = port()
    play(serial, [(IIR_FCR, before)])
    serial.receive(bytes(20))
    play(serial, [(IIR_FCR, fcr)])
    assert len(serial.state.received) == left


def test_what_waits_is_bounded() -> None:
    serial = port()
    assert serial.receive(bytes(MOST_WAITING - 1)) == MOST_WAITING - 1
    assert serial.receive(b"abc") == 1
    assert serial.receive(b"abc") == 0
    play(serial, [(MCR, MCR_LOOP), (RBR_THR, 1)])
    assert len(serial.state.received) == MOST_WAITING


def test_the_line_rises_once_for_each_byte_sent() -> None:
    serial = port()
    assert not serial.take_interrupt()
    play(serial, [(IER, IER_EMPTY)])
    assert serial.take_interrupt()
    assert not serial.take_interrupt()
    for _ in range(3):
        play(serial, [(RBR_THR, 65)])
        assert serial.take_interrupt()
    play(serial, [(IIR_FCR, None, 2)])
    assert not serial.take_interrupt()


def test_out2_lets_interrupts_through() -> None:
    serial = port()
    play(serial, [(MCR, 0), (IER, IER_RECEIVED)])
    serial.receive(b"a")
    assert not serial.take_interrupt()
    play(serial, [(MCR, MCR_OUT2)])
    assert serial.take_interrupt()


def test_a_byte_that_is_left_keeps_the_line_up() -> None:
    serial = port()
    play(serial, [(IER, IER_RECEIVED)])
    serial.receive(b"ab")
    assert serial.take_interrupt()
    play(serial, [(RBR_THR, None, 97)])
    assert not serial.take_interrupt()
    play(serial, [(RBR_THR, None, 98)])
    serial.receive(b"c")
    assert serial.take_interrupt()
