"""The I/O APIC: registers and pins (82093AA; QEMU's hw/intc/ioapic.c)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.vmm import Board, Chipset, Vmm
from tdxdbg.vmm.ioapic import (
    ARBITRATION,
    BASE,
    EOI,
    ID,
    LEVEL,
    LOGICAL,
    MASKED,
    PINS,
    REMOTE_IRR,
    SELECT,
    TABLE,
    VERSION,
    VERSION_VALUE,
    WINDOW,
    Ioapic,
    destinations,
)
from tests.engine.support import SHARED, call
from tests.vmm.support import Interrupts, World

VECTOR = 0x31


def get(ioapic: Ioapic, register: int) -> int:
    assert ioapic.write(SELECT, 4, register) == ""
    return ioapic.read(WINDOW, 4)


def put(ioapic: Ioapic, register: int, value: int) -> None:
    ioapic.write(SELECT, 4, register)
    assert ioapic.write(WINDOW, 4, value) == ""


def program(ioapic: Ioapic, pin: int, entry: int) -> None:
    put(ioapic, TABLE + 2 * pin + 1, entry >> 32)
    put(ioapic, TABLE + 2 * pin, entry & 0xFFFF_FFFF)


def arrived(ioapic: Ioapic, vcpus: int = 1) -> list[tuple[int, int]]:
    interrupts = Interrupts()
    ioapic.deliver(interrupts, vcpus)
    assert not ioapic.due
    return interrupts.raised


@pytest.mark.parametrize(
    ("register", "written", "read"),
    [
        pytest.param(ID, 0xFFFF_FFFF, 0x0F00_0000, id="four bits of ID"),
        pytest.param(VERSION, 0, VERSION_VALUE, id="the version is read-only"),
        pytest.param(ARBITRATION, 0xFFFF_FFFF, 0, id="and so is arbitration"),
        pytest.param(TABLE, 0xFFFF_FFFF, 0xFFFF_AFFF, id="status and remote IRR are not written"),
        pytest.param(TABLE + 1, 0xFFFF_FFFF, 0xFFFF_FFFF, id="the high half"),
        pytest.param(TABLE + 2 * PINS - 1, 0x0300_0000, 0x0300_0000, id="the last pin"),
        pytest.param(TABLE + 2 * PINS, 0xFFFF_FFFF, 0, id="no pin"),
        pytest.param(0x03, 0xFFFF_FFFF, 0, id="no register"),
        pytest.param(0xFF, 0xFFFF_FFFF, 0, id="the last index"),
    ],
)
def test_registers(register: int, written: int, read: int) -> None:
    ioapic = Ioapic()
    put(ioapic, register, written)
    assert get(ioapic, register) == read


def test_every_pin_is_masked_at_the_start() -> None:
    ioapic = Ioapic()
    assert {get(ioapic, TABLE + 2 * pin) for pin in range(PINS)} == {MASKED}
    assert VERSION_VALUE == 0x0017_0020


@pytest.mark.parametrize("size", [1, 2])
def test_the_window_takes_words_of_32_bits_only(size: int) -> None:
    ioapic = Ioapic()
    ioapic.write(SELECT, size, VERSION)
    assert ioapic.read(SELECT, 1) == VERSION
    assert ioapic.read(WINDOW, size) == 0
    ioapic.write(SELECT, 4, TABLE)
    ioapic.write(WINDOW, size, VECTOR)
    assert get(ioapic, TABLE) == MASKED


#: Each step is a level of pin 4, an entry for it, or ("eoi", vector); then what arrived.
Step = tuple[bool | int | tuple[str, int], int]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(VECTOR, 0), (True, 1), (False, 0), (True, 1)], id="edge: each rise"),
        pytest.param([(VECTOR, 0), (True, 1), (True, 0)], id="edge: high again is no rise"),
        pytest.param([(True, 0), (VECTOR, 0), (False, 0)], id="edge: lost while masked"),
        pytest.param(
            [(LEVEL | VECTOR, 0), (True, 1), (True, 0), (("eoi", VECTOR), 1)],
            id="level: again after EOI as long as it is high",
        ),
        pytest.param(
            [(LEVEL | VECTOR, 0), (True, 1), (False, 0), (("eoi", VECTOR), 0), (True, 1)],
            id="level: not when it fell",
        ),
        pytest.param(
            [(LEVEL | VECTOR, 0), (True, 1), (("eoi", 0x99), 0), (True, 0)],
            id="level: another vector's EOI",
        ),
        pytest.param(
            [(LEVEL | VECTOR, 0), (True, 1), (VECTOR, 1), (LEVEL | VECTOR, 1)],
            id="level: edge mode and back is an EOI",
        ),
        pytest.param([(True, 0), (LEVEL | VECTOR, 1)], id="level: waits while masked"),
        pytest.param(
            [(LEVEL | MASKED | VECTOR, 0), (True, 0), (False, 0), (LEVEL | VECTOR, 0)],
            id="level: fell while masked",
        ),
        pytest.param([(2 << 8 | VECTOR, 0), (True, 0)], id="no SMI"),
        pytest.param([(4 << 8 | VECTOR, 0), (True, 0)], id="no NMI"),
        pytest.param([(15, 0), (True, 0)], id="no vector below 16"),
    ],
)
def test_a_pin(steps: list[Step]) -> None:
    ioapic = Ioapic()
    for place, (what, count) in enumerate(steps):
        if isinstance(what, bool):
            ioapic.set_pin(4, high=what)
            assert ioapic.is_high(4) is what
        elif isinstance(what, int):
            program(ioapic, 4, what)
        else:
            ioapic.write(EOI, 4, what[1])
        assert arrived(ioapic) == [(0, VECTOR)] * count, f"step {place}"


def test_remote_irr_is_shown_until_the_eoi() -> None:
    ioapic = Ioapic()
    program(ioapic, 4, LEVEL | VECTOR)
    ioapic.set_pin(4, high=True)
    assert get(ioapic, TABLE + 8) == LEVEL | REMOTE_IRR | VECTOR
    ioapic.set_pin(4, high=False)
    ioapic.write(EOI, 4, VECTOR)
    assert get(ioapic, TABLE + 8) == LEVEL | VECTOR


@pytest.mark.parametrize(
    ("entry", "vcpus", "found"),
    [
        pytest.param(0, 2, (0,), id="physical 0"),
        pytest.param(1 << 56, 2, (1,), id="physical 1"),
        pytest.param(2 << 56, 2, (), id="nobody"),
        pytest.param(0xFF << 56, 3, (0, 1, 2), id="broadcast"),
        pytest.param(1 << 56 | 1 << 49, 300, (257,), id="more bits of the destination"),
        pytest.param(LOGICAL | 5 << 56, 3, (0, 2), id="logical"),
        pytest.param(LOGICAL | 5 << 56, 1, (0,), id="logical, too few vCPUs"),
        pytest.param(LOGICAL | 0x7F << 49, 40, tuple(range(8, 15)), id="logical, cluster 0"),
        pytest.param(LOGICAL | 6 << 56 | 1 << 8, 3, (1,), id="lowest priority is one of them"),
        pytest.param(2 << 56 | 1 << 8, 2, (), id="lowest priority, nobody"),
    ],
)
def test_destinations(entry: int, vcpus: int, found: tuple[int, ...]) -> None:
    assert destinations(entry | VECTOR, vcpus) == found


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SELECT, WINDOW, EOI, 0x1C, 0xFFC]),
            st.sampled_from([1, 2, 4]),
            st.one_of(st.integers(0, 0x50), st.integers(0, 0xFFFF_FFFF)),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_whatever_is_written(accesses: list[tuple[int, int, int, bool]]) -> None:
    """Vectors of vCPUs that exist only, and a state that makes an equal one go on equally."""
    first, second = Ioapic(), Ioapic()
    for offset, size, value, high in accesses:
        second.state = first.state
        ends = []
        for ioapic in (first, second):
            ioapic.write(offset, size, value & (1 << 8 * size) - 1)
            ioapic.set_pin(4, high=high)
            read = ioapic.read(offset, size)
            assert 0 <= read < 1 << 8 * size
            ends.append((read, arrived(ioapic, 2), ioapic.state))
        assert ends[0] == ends[1]
        assert all(vcpu < 2 and 16 <= vector < 256 for vcpu, vector in ends[0][1])


def test_the_serial_port_interrupts_by_pin_4() -> None:
    world = World("7.3", Vmm(board=Board(chipset=Chipset.PC, vcpus=2)))
    for register, value in ((TABLE + 9, 1 << 24), (TABLE + 8, VECTOR)):
        world.call(call(SubFunction.MMIO, 4, 1, SHARED | BASE, register))
        world.call(call(SubFunction.MMIO, 4, 1, SHARED | BASE + WINDOW, value))
    raised = []
    # Both interrupts on: the empty transmitter; asked for; a byte sent, and asked for again.
    for size, direction, offset, value in (
        (1, 1, 1, 3),
        (1, 0, 2, 0),
        (1, 1, 0, 65),
        (1, 1, 0, 66),
        (1, 0, 2, 0),
    ):
        world.call(call(SubFunction.IO, size, direction, 0x3F8 + offset, value))
        raised.append(len(world.interrupts.raised))
    assert raised == [1, 1, 2, 3, 3]
    world.vmm.serial_input(b"ab", world.interrupts)
    assert world.interrupts.raised == [(1, VECTOR)] * 4
    start = world.vmm.checkpoint()
    for _ in range(2):
        world.vmm.restore(start)
        world.interrupts.raised.clear()
        for expected in (ord("a"), ord("b"), 0):
            assert world.call(call(SubFunction.IO, 1, 0, 0x3F8)).regs.r11 == expected
        world.vmm.serial_input(b"c", world.interrupts)
        assert world.interrupts.raised == [(1, VECTOR)]
