"""#VE.RequestMMIO (facts: kernel_exits 4.5)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import Completer, InKernel, MmioAnswer, Reentry, Td
from tests.engine.support import (
    ALL,
    EXIT,
    GUEST,
    INVALID,
    MERGED,
    SHARED,
    SINCE_V1,
    answer_of,
    call,
    changed,
    engine_in_td,
    run_of,
    tdcall,
)

BIG = 1 << 32
IOAPIC = SHARED | 0xFEC0_0000


def mmio(size: int, direction: int, gpa: int = IOAPIC, value: int = 0) -> Regs:
    return call(SubFunction.MMIO, size, direction, gpa, value)


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("size", "direction", "accepted"),
    [
        (0, 0, False),
        (3, 0, False),
        (16, 1, False),
        (BIG, 0, False),
        (1, 0, True),
        (2, 1, True),
        (4, 0, True),
        (8, 1, True),
        (4, 2, False),
        (4, 0xFFFF_FFFF, False),
        # size and direction are C ints in every generation
        (BIG | 4, 0, True),
        (4, BIG, True),
        (4, BIG | 1, True),
        (8, BIG | 2, False),
    ],
)
def test_size_and_direction(generation: str, size: int, direction: int, accepted: bool) -> None:
    regs = mmio(size, direction)
    step = answer_of(generation, regs)
    if not accepted:
        assert (step.outcome, changed(regs, step)) == (GUEST, {"r10": INVALID})
        return
    assert step.outcome is EXIT
    run = run_of(step)
    assert (run["len"], run["is_write"]) == (size & 0xFFFF_FFFF, direction & 1)


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("gpaw", [48, 52])
@pytest.mark.parametrize(
    ("low", "size", "shared", "since_v1"),
    [
        (0x1000, 4, True, True),
        (0x1000, 4, False, False),
        # both ends must have the bit
        (-1, 1, True, False),
        (-2, 4, True, False),
        (0x0FFF, 1, True, True),
    ],
)
def test_shared_bit(
    generation: str, gpaw: int, low: int, size: int, shared: bool, since_v1: bool
) -> None:
    bit = 1 << gpaw - 1
    gpa = low + (bit if shared else 0)
    regs = mmio(size, 0, gpa)
    step = answer_of(generation, regs, Td(gpaw=gpaw))
    # v19 strips the bit and takes private GPAs too, but no access across a page
    accepted = since_v1 if generation != "v19" else not (gpa ^ (gpa + size - 1)) >> 12
    assert (step.outcome is EXIT) is accepted
    if accepted:
        assert run_of(step)["phys_addr"] == gpa & ~bit
    else:
        assert changed(regs, step) == {"r10": INVALID}


def test_the_end_of_the_address_space() -> None:
    regs = mmio(8, 0, (1 << 64) - 1)
    assert changed(regs, answer_of("v19", regs)) == {"r10": INVALID}
    assert changed(regs, answer_of("7.3", regs)) == {"r10": INVALID}


@pytest.mark.parametrize("generation", ALL)
def test_page_crossing(generation: str) -> None:
    regs = mmio(8, 0, IOAPIC | 0xFFC)
    step = answer_of(generation, regs)
    if generation == "v19":
        assert changed(regs, step) == {"r10": INVALID}
    else:
        assert run_of(step)["phys_addr"] == 0xFEC0_0FFC


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("gpa", "inside"),
    [(0xFFF, False), (0x1000, True), (0x2FFF, True), (0x3000, False), (SHARED | 0x2000, True)],
)
def test_memslot(generation: str, gpa: int, inside: bool) -> None:
    # v19: refused if a slot exists; later userspace's job
    regs = mmio(1, 0, gpa | SHARED)
    step = answer_of(generation, regs, Td(memslots=((1, 3), (0x80000, 0x80000))))
    refused = inside and generation == "v19"
    assert (changed(regs, step) == {"r10": INVALID}) is refused
    assert (step.outcome is EXIT) is not refused


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("gpa", "direction", "old", "later"),
    [(IOAPIC, 1, True, True), (IOAPIC, 0, True, False), (IOAPIC | 4, 1, False, False)],
)
def test_fast_mmio(generation: str, gpa: int, direction: int, old: bool, later: bool) -> None:
    # v19: tried before the direction is looked at; later only for writes; R10, R11 untouched
    regs = mmio(4, direction, gpa)
    step = answer_of(generation, regs, Td(fast_mmio=(0xFEC0_0000,)))
    taken = old if generation == "v19" else later
    assert (step.outcome is GUEST) is taken
    assert changed(regs, step) == {}


@pytest.mark.parametrize("generation", ALL)
def test_a_memslot_comes_before_the_devices_in_v19(generation: str) -> None:
    regs = mmio(4, 1)
    td = Td(memslots=((0xFEC00, 0xFEC01),), fast_mmio=(0xFEC0_0000,))
    step = answer_of(generation, regs, td)
    assert changed(regs, step) == ({"r10": INVALID} if generation == "v19" else {})


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("low", "inside"), [(0xFFF, False), (0x1000, True), (0x1FFF, True), (0x2000, False)]
)
def test_in_kernel_device_range(generation: str, low: int, inside: bool) -> None:
    regs = mmio(1, 1, IOAPIC + low)
    td = Td(mmio_devices=((0xFEC0_1000, 0xFEC0_1FFF),))
    step = answer_of(generation, regs, td)
    assert (step.outcome is GUEST) is inside
    assert changed(regs, step) == {}


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("size", "value", "seen"), [(1, 0x1FF, 0xFF), (8, 1 << 64, 0), (4, 0x1_0000_0002, 2)]
)
def test_in_kernel_read(generation: str, size: int, value: int, seen: int) -> None:
    regs = mmio(size, 0)
    step = answer_of(generation, regs, in_kernel=InKernel(handled=True, value=value))
    assert (step.outcome, changed(regs, step)) == (GUEST, {"r11": seen})


@pytest.mark.parametrize("generation", ALL)
def test_in_kernel_read_of_an_unseen_value(generation: str) -> None:
    regs = mmio(4, 0)
    td = Td(mmio_devices=((0xFEC0_0000, 0xFEC0_0FFF),))
    assert changed(regs, answer_of(generation, regs, td)) == {"r11": 0}


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_write(generation: str, size: int) -> None:
    # data: value bytes, those beyond len are not written; phys_addr without the shared bit
    engine = engine_in_td(generation)
    regs = mmio(size, 1, IOAPIC | 0x10, 0x8877_6655_4433_2211)
    step = tdcall(engine, regs)
    assert step.run is not None
    assert step.run.exit_reason == Exit.MMIO
    data: list[int | None] = [0x11 * n for n in range(1, size + 1)]
    assert run_of(step) == {
        "phys_addr": 0xFEC0_0010,
        "data": data + [None] * (8 - size),
        "len": size,
        "is_write": 1,
    }
    # a callback up to v1, none at all in 6.16
    expected = Completer.NONE if generation in MERGED else Completer.MMIO_WRITE
    assert step.completer is expected
    step = engine.feed(Reentry(0))
    assert (step.outcome, changed(regs, step)) == (GUEST, {})


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("size", "data", "value"),
    [
        (1, b"\x80", 0x80),
        (2, b"\x34\x12\xff\xff", 0x1234),
        (4, b"\x78\x56\x34\xf2\xff\xff\xff\xff\xff\xff", 0xF234_5678),
        (8, b"\xff" * 8, (1 << 64) - 1),
        (8, b"\x01", 1),
        (4, None, 0),
    ],
)
def test_read(generation: str, size: int, data: bytes | None, value: int) -> None:
    engine = engine_in_td(generation)
    regs = mmio(size, 0)
    step = tdcall(engine, regs)
    assert step.completer is Completer.MMIO_READ
    assert run_of(step)["data"] == [None] * 8, "stale"
    step = engine.feed(Reentry(0, MmioAnswer(data)))
    assert (step.outcome, changed(regs, step)) == (GUEST, {"r11": value})


@pytest.mark.parametrize("generation", SINCE_V1)
def test_an_unanswered_read_returns_what_is_there(generation: str) -> None:
    # data of a read is stale: the bytes of the write before
    engine = engine_in_td(generation)
    tdcall(engine, mmio(4, 1, value=0xDEAD_BEEF))
    engine.feed(Reentry(0))
    step = tdcall(engine, mmio(8, 0))
    assert run_of(step)["data"][:4] == [0xEF, 0xBE, 0xAD, 0xDE]
    assert step.run is not None
    data = step.run.layout.fields[1]
    assert not step.run.was_written(data, 0)
    assert engine.feed(Reentry(0)).regs.r11 == 0xDEAD_BEEF


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("maxphyaddr", [36, 46])
def test_legality_is_not_checked(generation: str, maxphyaddr: int) -> None:
    step = answer_of(generation, mmio(4, 0), Td(maxphyaddr=maxphyaddr))
    assert step.outcome is EXIT
