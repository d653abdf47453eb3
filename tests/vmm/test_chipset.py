"""PCI configuration, ACPI's fixed hardware and resets, through a guest's calls."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.engine import IoAnswer, Outcome
from tdxdbg.vmm import Board, Chipset, Vmm
from tdxdbg.vmm.acpi_pm import FREQUENCY
from tests.engine.support import SHARED, call
from tests.vmm.support import Interrupts, Memory, World, exit_of

ECAM = SHARED | 0xE000_0000

#: ("out", port, size, value), ("in", port, size, expected) and the same of memory.
Access = tuple[str, int, int, int]


def world_of(chipset: Chipset) -> World:
    return World("7.3", Vmm(board=Board(chipset=chipset)))


def play(world: World, accesses: list[Access]) -> str:
    """Do all of them; why the VM ended by the last one."""
    for place, (what, address, size, value) in enumerate(accesses):
        function = SubFunction.IO if what in ("in", "out") else SubFunction.MMIO
        writes = what in ("out", "store")
        step = world.call(call(function, size, int(writes), address, value if writes else 0))
        if not writes:
            assert step.regs.r11 == value, f"access {place}"
        if step.outcome is not Outcome.REENTER_TD:
            assert place == len(accesses) - 1
            return world.replies[-1].stop
    return ""


def select(bus: int, device: int, function: int, register: int) -> Access:
    address = 1 << 31 | bus << 16 | device << 11 | function << 8 | register
    return ("out", 0xCF8, 4, address)


@pytest.mark.parametrize(
    "accesses",
    [
        pytest.param([select(0, 0, 0, 0), ("in", 0xCFC, 4, 0x29C0_8086)], id="host bridge"),
        pytest.param([select(0, 0, 0, 8), ("in", 0xCFC, 4, 0x0600_0000)], id="its class"),
        pytest.param([select(0, 0, 0, 0), ("in", 0xCFE, 2, 0x29C0)], id="two bytes"),
        pytest.param([select(0, 0, 0, 0), ("in", 0xCFF, 1, 0x29)], id="one byte"),
        pytest.param([select(0, 0x1F, 0, 0), ("in", 0xCFC, 4, 0x2918_8086)], id="LPC bridge"),
        pytest.param([select(0, 0x1F, 0, 0xE), ("in", 0xCFE, 1, 0x80)], id="many functions"),
        pytest.param([select(0, 0x1F, 1, 0), ("in", 0xCFC, 4, 0xFFFF_FFFF)], id="no function"),
        pytest.param([select(1, 0, 0, 0), ("in", 0xCFC, 4, 0xFFFF_FFFF)], id="no bus"),
        pytest.param([("in", 0xCFC, 4, 0xFFFF_FFFF)], id="no address"),
        pytest.param([("out", 0xCF8, 4, 0), ("in", 0xCFC, 4, 0xFFFF_FFFF)], id="not enabled"),
        pytest.param([select(0, 1, 2, 3), ("in", 0xCF8, 4, 0x8000_0A03)], id="the address"),
        pytest.param(
            [("out", 0xCF8, 2, 0x1234), ("in", 0xCF8, 4, 0), ("in", 0xCF8, 1, 0xFF)],
            id="the address in part",
        ),
        pytest.param(
            [select(0, 0, 0, 0), ("out", 0xCFC, 4, 0), ("in", 0xCFC, 4, 0x29C0_8086)],
            id="identity is read-only",
        ),
        pytest.param(
            [select(0, 0, 0, 0x10), ("out", 0xCFC, 4, 0xFFFF_FFFF), ("in", 0xCFC, 4, 0)],
            id="no base address",
        ),
        pytest.param(
            [select(0, 0x1F, 0, 0x40), ("out", 0xCFC, 4, 0x601), ("in", 0xCFC, 4, 0x601)],
            id="the device's own",
        ),
        pytest.param(
            [select(0, 0, 0, 4), ("out", 0xCFC, 4, 0xFFFF_0003), ("in", 0xCFC, 4, 3)],
            id="the command, and not the status",
        ),
        pytest.param([("load", ECAM, 4, 0x29C0_8086)], id="in memory"),
        pytest.param(
            [("load", ECAM + (0x1F << 15), 8, 0x2918_8086)], id="in memory, eight bytes of it"
        ),
        pytest.param([("load", ECAM + (1 << 15), 4, 0xFFFF_FFFF)], id="in memory, nobody"),
        pytest.param([("load", ECAM + 0x100, 4, 0)], id="no extended capabilities"),
        pytest.param([("store", ECAM + 0xFFC, 4, 1), ("load", ECAM + 0xFFC, 4, 0)], id="beyond"),
        pytest.param(
            [("store", ECAM + 0x3C, 1, 11), select(0, 0, 0, 0x3C), ("in", 0xCFC, 1, 11)],
            id="the same spaces",
        ),
        pytest.param([("in", 0x64, 1, 0xFF), ("in", 0x60, 1, 0xFF)], id="no keyboard"),
        pytest.param([("out", 0x64, 1, 0xFF), ("out", 0x64, 1, 0x20)], id="no reset line"),
        pytest.param([("out", 0xCF9, 1, 0x0A), ("in", 0xCF9, 1, 0x0A)], id="no reset yet"),
        pytest.param([("in", 0x600, 4, 0), ("in", 0x604, 2, 1)], id="ACPI is on"),
        pytest.param([("out", 0x602, 2, 0x321), ("in", 0x600, 4, 0x0321_0000)], id="events"),
        pytest.param([("out", 0x604, 2, 0x1C02), ("in", 0x604, 2, 0x1C03)], id="no sleep yet"),
        pytest.param([("out", 0x608, 4, 5), ("in", 0x608, 4, 0)], id="the timer is read-only"),
        pytest.param([("out", 0x640, 1, 0x14), ("in", 0x640, 2, 0)], id="reduced, no sleep yet"),
        pytest.param([("out", 0x640, 1, 0x24)], id="reduced, another sleep type"),
        pytest.param([("out", 0x641, 1, 0xFF)], id="reduced, the status"),
    ],
)
def test_what_goes_on(accesses: list[Access]) -> None:
    assert play(world_of(Chipset.Q35), accesses) == ""


@pytest.mark.parametrize(
    ("accesses", "why"),
    [
        ([("out", 0x604, 2, 0x2000)], "ACPI S5: power off"),
        ([("out", 0x604, 2, 0x0001), ("out", 0x605, 1, 0x20)], "ACPI S5: power off"),
        ([("out", 0x604, 2, 0x2400)], "ACPI sleep type 1: a TD cannot be suspended"),
        ([("out", 0x640, 1, 0x34)], "ACPI S5: power off"),
        ([("out", 0xCF9, 1, 6)], "guest reset itself through port 0xcf9: a TD cannot be reset"),
        (
            [("out", 0x64, 1, 0xFE)],
            "guest reset itself through the keyboard controller: a TD cannot be reset",
        ),
    ],
)
@pytest.mark.parametrize("chipset", [Chipset.PC, Chipset.Q35])
def test_what_ends_the_vm(chipset: Chipset, accesses: list[Access], why: str) -> None:
    assert play(world_of(chipset), accesses) == why


@pytest.mark.parametrize(
    ("chipset", "accesses"),
    [
        (Chipset.PC, [select(0, 0x1F, 0, 0), ("in", 0xCFC, 4, 0xFFFF_FFFF)]),
        (Chipset.PC, [("load", ECAM, 4, 0)]),
        (Chipset.NONE, [("out", 0x604, 2, 0x2000), ("in", 0x608, 4, 0xFFFF_FFFF)]),
        (Chipset.NONE, [("out", 0xCF9, 1, 6), select(0, 0, 0, 0), ("in", 0xCF8, 4, 0xFFFF_FFFF)]),
        (Chipset.NONE, [("load", SHARED | 0xFEC0_0000, 4, 0)]),
    ],
)
def test_what_a_smaller_board_does_not_have(chipset: Chipset, accesses: list[Access]) -> None:
    assert play(world_of(chipset), accesses) == ""


@pytest.mark.parametrize(
    ("time", "ticks"),
    [(0, 0), (1_000_000_000, FREQUENCY), (279, 0), (280, 1), (5_000_000_000, 1_120_509)],
)
def test_the_timer_counts_the_time_of_the_run(time: int, ticks: int) -> None:
    vmm = Vmm(board=Board(chipset=Chipset.PC))
    step = exit_of("7.3", call(SubFunction.IO, 4, 0, 0x608))
    reply = vmm.reply(0, step, Memory(), Interrupts(), time)
    assert reply.answer == IoAnswer(ticks.to_bytes(4, "little"))


def test_the_chipset_from_a_checkpoint() -> None:
    world = world_of(Chipset.Q35)
    play(world, [select(0, 0, 0, 0x40), ("out", 0xCFC, 4, 1), ("out", 0x602, 2, 7)])
    start = world.vmm.checkpoint()
    hash(start)
    for _ in range(2):
        world.vmm.restore(start)
        play(world, [("in", 0xCFC, 4, 1), ("in", 0x602, 2, 7), ("out", 0xCFC, 4, 2)])
        play(world, [("out", 0x602, 2, 0), ("out", 0x604, 2, 0x400), ("out", 0xCF9, 1, 2)])
