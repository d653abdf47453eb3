from __future__ import annotations

import pytest

from tdxdbg.backends.emulated import apic
from tdxdbg.backends.emulated.apic import Ipi, LocalApic


def deadline_timer(vector: int = 0x40) -> LocalApic:
    subject = LocalApic(0)
    subject.write(apic.LVT_TIMER, 2 << 17 | vector, 0)
    return subject


def test_the_highest_vector_comes_first_and_holds_lower_ones_back() -> None:
    subject = LocalApic(0)
    for vector in (0x31, 0x45, 0x41):
        subject.raise_vector(vector)
    assert subject.pending() == 0x45
    subject.accept(0x45)
    assert subject.pending() == -1  # 0x41 has the same priority class
    subject.write(apic.EOI, 0, 0)
    assert subject.pending() == 0x41


@pytest.mark.parametrize(("tpr", "pending"), [(0x30, 0x41), (0x40, -1), (0x4F, -1), (0xF0, -1)])
def test_the_task_priority_holds_interrupts_back(tpr: int, pending: int) -> None:
    subject = LocalApic(0)
    subject.raise_vector(0x41)
    subject.write(apic.TPR, tpr, 0)
    assert subject.pending() == pending
    assert subject.read(apic.PPR, 0) == tpr


@pytest.mark.parametrize("vector", [0, 15, 256])
def test_vectors_that_do_not_exist_are_lost(vector: int) -> None:
    subject = LocalApic(0)
    subject.raise_vector(vector)
    assert subject.pending() == -1


def test_registers_show_what_is_requested_and_in_service() -> None:
    subject = LocalApic(3)
    subject.raise_vector(0x41)
    subject.raise_vector(0x62)
    subject.accept(0x62)
    assert subject.read(apic.IRR + 2, 0) == 1 << 1
    assert subject.read(apic.ISR + 3, 0) == 1 << 2
    assert subject.read(apic.TMR, 0) == 0
    assert subject.read(apic.ID, 0) == 3
    assert subject.read(apic.LDR, 0) == 8
    assert subject.read(0x804, 0) is None


def test_the_deadline_timer_fires_once_at_its_time() -> None:
    subject = deadline_timer()
    subject.write(apic.TSC_DEADLINE, 1000, 0)
    subject.advance(999)
    assert subject.pending() == -1
    assert (subject.read(apic.TSC_DEADLINE, 999), subject.wakes_at) == (1000, 1000)
    subject.advance(1000)
    assert subject.pending() == 0x40
    assert subject.read(apic.TSC_DEADLINE, 1000) == 0


def test_a_masked_timer_wakes_nobody() -> None:
    subject = deadline_timer(0x40 | 1 << 16)
    subject.write(apic.TSC_DEADLINE, 1000, 0)
    assert subject.wakes_at == 0
    subject.advance(1000)
    assert subject.pending() == -1


def test_the_deadline_counts_in_its_own_mode_only() -> None:
    subject = LocalApic(0)
    subject.write(apic.TSC_DEADLINE, 1000, 0)
    assert subject.read(apic.TSC_DEADLINE, 0) == 0
    timer = deadline_timer()
    timer.write(apic.INITIAL_COUNT, 5, 0)
    assert timer.deadline == 0


@pytest.mark.parametrize(
    ("divide", "ticks"), [(0b0000, 2), (0b0001, 4), (0b0011, 16), (0b1000, 32), (0b1011, 1)]
)
def test_one_shot_counts_crystal_cycles(divide: int, ticks: int) -> None:
    subject = LocalApic(0)
    subject.write(apic.LVT_TIMER, 0x40, 0)
    subject.write(apic.DIVIDE, divide, 0)
    subject.write(apic.INITIAL_COUNT, 10, 100)
    cycle = ticks * apic.TICKS_PER_CYCLE
    assert subject.read(apic.CURRENT_COUNT, 100) == 10
    assert subject.read(apic.CURRENT_COUNT, 100 + 3 * cycle) == 7
    subject.advance(100 + 10 * cycle)
    assert subject.pending() == 0x40
    assert subject.deadline == 0


def test_a_periodic_timer_goes_on_and_loses_what_nobody_saw() -> None:
    subject = LocalApic(0)
    subject.write(apic.LVT_TIMER, 1 << 17 | 0x40, 0)
    subject.write(apic.DIVIDE, 0b1011, 0)
    subject.write(apic.INITIAL_COUNT, 10, 0)
    subject.advance(400)
    assert (subject.pending(), subject.deadline) == (0x40, 800)
    subject.advance(5000)
    assert subject.deadline == 5200


@pytest.mark.parametrize(
    ("icr", "receivers"),
    [
        (1 << 32 | 0x40, [1]),
        (0xFFFF_FFFF << 32 | 0x40, [0, 1, 17]),
        (1 << 18 | 0x40, [0]),
        (2 << 18 | 0x40, [0, 1, 17]),
        (3 << 18 | 0x40, [1, 17]),
        (0x0001_0002 << 32 | 1 << 11 | 0x40, [17]),
        (0x0000_0003 << 32 | 1 << 11 | 0x40, [0, 1]),
        (1 << 32 | 0x540, []),  # INIT
    ],
)
def test_who_gets_an_ipi(icr: int, receivers: list[int]) -> None:
    vcpus = [LocalApic(0), LocalApic(1), LocalApic(17)]
    ipi = vcpus[0].write(apic.ICR, icr, 0)
    got = [item.index for item in vcpus if ipi is not None and item.accepts(ipi, 0)]
    assert got == receivers
    assert vcpus[0].read(apic.ICR, 0) == icr


def test_a_copy_is_one() -> None:
    subject = deadline_timer()
    other = subject.copy()
    other.write(apic.LVT_TIMER, 0x50, 0)
    other.raise_vector(0x60)
    assert subject.registers[apic.LVT_TIMER] == 2 << 17 | 0x40
    assert subject.pending() == -1


def test_ipis_name_their_vector() -> None:
    assert LocalApic(0).write(apic.ICR, 5 << 32 | 0x77, 0) == Ipi(0x77, 5, 0, False)
