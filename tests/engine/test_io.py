"""Instruction.IO (facts: kernel_exits 4.4)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import Completer, InKernel, IoAnswer, Reentry, Td
from tests.engine.support import (
    ALL,
    EXIT,
    GUEST,
    INVALID,
    MERGED,
    SINCE_V1,
    answer_of,
    call,
    changed,
    engine_in_td,
    run_of,
    tdcall,
)

OLD = ALL[:2]
BIG = 1 << 32


def io(size: int, direction: int, port: int = 0x3F8, value: int = 0) -> Regs:
    return call(SubFunction.IO, size, direction, port, value)


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("size", [0, 3, 5, 8, 0xFFFF_FFFF, 1 << 63])
@pytest.mark.parametrize("direction", [0, 1])
def test_bad_size(generation: str, size: int, direction: int) -> None:
    regs = io(size, direction)
    step = answer_of(generation, regs)
    assert (step.outcome, changed(regs, step)) == (GUEST, {"r10": INVALID})


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("size", "direction", "old_direction"),
    [(1, 2, 1), (2, BIG, 1), (4, (1 << 64) - 1, 1), (BIG | 1, 0, 0), (BIG | 4, 1, 1)],
)
def test_truncation(generation: str, size: int, direction: int, old_direction: int) -> None:
    # v19 and v1 cut size to 32 bits and take any non-zero direction as out; 6.16 does neither
    regs = io(size, direction)
    step = answer_of(generation, regs)
    if generation in OLD:
        assert step.outcome is EXIT
        run = run_of(step)
        assert (run["size"], run["direction"]) == (size & 0xFFFF_FFFF, old_direction)
    else:
        assert changed(regs, step) == {"r10": INVALID}


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(("size", "value"), [(1, "41"), (2, "4142"), (4, "41424344")])
def test_out(generation: str, size: int, value: str) -> None:
    # the port is cut to 16 bits without a word; the page holds R15's low bytes
    engine = engine_in_td(generation)
    regs = io(size, 1, 0xABCD_0000_1234, 0x4847_4645_4443_4241)
    step = tdcall(engine, regs)
    assert step.run is not None
    assert (step.run.exit_reason, step.completer) == (Exit.IO, Completer.PIO_OUT)
    assert run_of(step) == {
        "direction": 1,
        "size": size,
        "port": 0x1234,
        "count": 1,
        "data_offset": 0x1000,
        "data": value,
    }
    step = engine.feed(Reentry(0, IoAnswer(b"\xff" * 8)))
    # an out returns nothing (v19: R11 = 0)
    assert changed(regs, step) == ({"r11": 0} if generation == "v19" else {})


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("size", "data", "value"),
    [
        (1, b"\x60", 0x60),
        (1, b"\x60\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0x60),
        (2, b"\x34\x12", 0x1234),
        (4, b"\x78\x56\x34\xf2", 0xF234_5678),
        (4, b"\x78", 0x78),
        (4, None, 0),
    ],
)
def test_in(generation: str, size: int, data: bytes | None, value: int) -> None:
    # R11 = zero-extended value read from the page, which KVM had zeroed
    engine = engine_in_td(generation)
    regs = io(size, 0, 0x3F8, 0xFFFF_FFFF)
    step = tdcall(engine, regs)
    assert step.completer is Completer.PIO_IN
    assert run_of(step)["data"] == "00" * size
    step = engine.feed(Reentry(0, IoAnswer(data)))
    assert (step.outcome, changed(regs, step)) == (GUEST, {"r11": value})


@pytest.mark.parametrize("generation", ALL)
def test_no_answer_reads_zero(generation: str) -> None:
    engine = engine_in_td(generation)
    tdcall(engine, io(4, 1, 0x80, 0xFFFF_FFFF))  # leaves its bytes on the page
    engine.feed(Reentry(0))
    regs = io(4, 0)
    tdcall(engine, regs)
    assert changed(regs, engine.feed(Reentry(0))) == {"r11": 0}


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("port", "inside"), [(0x1F, False), (0x20, True), (0x21, True), (0x22, False)]
)
def test_in_kernel_port_range(generation: str, port: int, inside: bool) -> None:
    # in-kernel device first (PIO bus)
    step = answer_of(generation, io(1, 1, port), Td(pio_devices=((0x20, 0x21),)))
    assert (step.outcome is GUEST) is inside


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("size", "value", "seen"), [(1, 0x1FF, 0xFF), (2, 0x1_2345, 0x2345), (4, 1 << 32, 0)]
)
def test_in_kernel_in(generation: str, size: int, value: int, seen: int) -> None:
    regs = io(size, 0, 0x71)
    step = answer_of(generation, regs, in_kernel=InKernel(handled=True, value=value))
    assert (step.outcome, changed(regs, step)) == (GUEST, {"r11": seen})


@pytest.mark.parametrize("generation", ALL)
def test_in_kernel_in_of_an_unseen_value(generation: str) -> None:
    regs = io(1, 0, 0x20)
    step = answer_of(generation, regs, Td(pio_devices=((0x20, 0x21),)))
    assert changed(regs, step) == {"r11": 0}


@pytest.mark.parametrize("generation", ALL)
def test_a_device_that_did_not_take_it(generation: str) -> None:
    step = answer_of(generation, io(1, 0), in_kernel=InKernel(handled=False, value=7))
    assert step.outcome is EXIT


@pytest.mark.parametrize("generation", SINCE_V1)
def test_in_kernel_out(generation: str) -> None:
    regs = io(2, 1, 0x20, 0xABCD)
    step = answer_of(generation, regs, in_kernel=InKernel(handled=True, value=9))
    assert (step.outcome, changed(regs, step)) == (GUEST, {})


def test_in_kernel_out_of_v19_writes_r11() -> None:
    # v19 returned the variable that held the value to write
    regs = io(2, 1, 0x20, 0x1234_5678_9ABC_DEF0)
    step = answer_of("v19", regs, in_kernel=InKernel(handled=True))
    assert changed(regs, step) == {"r11": 0x1234_5678_9ABC_DEF0}


@pytest.mark.parametrize("generation", MERGED)
def test_the_direction_is_refused_before_a_device_is_asked(generation: str) -> None:
    regs = io(1, 2, 0x20)
    step = answer_of(generation, regs, Td(pio_devices=((0, 0xFFFF),)))
    assert changed(regs, step) == {"r10": INVALID}
