"""The interval timer: counts, latches, the output of channel 2."""

from __future__ import annotations

import pytest

from tdxdbg.vmm import pit
from tdxdbg.vmm.now import Now
from tdxdbg.vmm.pit import Pit, PitGate

TICK_NS = 1_000_000_000 / pit.FREQUENCY


def make() -> tuple[Pit, PitGate, Now]:
    now = Now()
    timer = Pit(now)
    return timer, PitGate(timer, now), now


def load(timer: Pit, channel: int, mode: int, count: int) -> None:
    timer.write(pit.CONTROL, 1, channel << 6 | 3 << 4 | mode << 1)
    timer.write(channel, 1, count & 0xFF)
    timer.write(channel, 1, count >> 8)


def read(timer: Pit, channel: int) -> int:
    low = timer.read(channel, 1)
    return low | timer.read(channel, 1) << 8


@pytest.mark.parametrize(
    ("mode", "count", "ticks", "expected"),
    [
        (0, 1000, 0, 1000),
        (0, 1000, 400, 600),
        (0, 1000, 1001, 0xFFFF),
        (0, 0, 1, 0xFFFF),
        (2, 1000, 400, 600),
        (2, 1000, 1400, 600),
        (6, 1000, 1400, 600),
        (3, 1000, 2400, 600),
    ],
)
def test_counts_down(mode: int, count: int, ticks: int, expected: int) -> None:
    timer, _, now = make()
    load(timer, 0, mode, count)
    now.ns = round(ticks * TICK_NS) + 1
    assert read(timer, 0) == expected


@pytest.mark.parametrize("command", [0x80, 0xC8])
def test_a_latched_count_stands_still_until_it_is_read(command: int) -> None:
    timer, _, now = make()
    load(timer, 2, 0, 5000)
    timer.write(pit.CONTROL, 1, command)
    now.ns += round(100 * TICK_NS)
    timer.write(pit.CONTROL, 1, command)
    assert read(timer, 2) == 5000
    assert read(timer, 2) == 4900


@pytest.mark.parametrize(("access", "expected"), [(1, 0x34), (2, 0x12)])
def test_one_byte_of_a_count(access: int, expected: int) -> None:
    timer, _, _ = make()
    timer.write(pit.CONTROL, 1, access << 4)
    timer.write(0, 1, expected)
    assert timer.read(0, 1) == expected
    assert timer.read(0, 1) == expected


def test_the_gate_starts_channel_2_and_its_output_ends_mode_0() -> None:
    timer, gate, now = make()
    load(timer, 2, 0, 1000)
    now.ns = 500_000
    gate.write(0, 1, 1)
    assert read(timer, 2) == 1000
    assert not gate.read(0, 1) & 1 << 5
    now.ns += round(1000 * TICK_NS) + 1
    assert gate.read(0, 1) & 1 << 5
    assert gate.read(0, 1) & 3 == 1


def test_output_of_a_square_wave() -> None:
    timer, gate, now = make()
    load(timer, 2, 3, 100)
    seen = []
    for half in range(4):
        now.ns = round((half * 50 + 25) * TICK_NS)
        seen.append(bool(gate.read(0, 1) & 1 << 5))
    assert seen == [True, False, True, False]


def test_a_state_is_a_value() -> None:
    timer, _, now = make()
    load(timer, 1, 2, 777)
    state = timer.state
    now.ns = 10_000_000
    load(timer, 1, 0, 5)
    timer.read(1, 1)
    timer.state = state
    now.ns = round(77 * TICK_NS) + 1
    assert read(timer, 1) == 700
    assert timer.read(pit.CONTROL, 1) == 0xFF
