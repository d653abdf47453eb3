"""Breakpoints: what stops, where, and the list of them."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.regs import NO_REGS
from tdxdbg.breakpoints import MOST, Breakpoints, Kind, Row, step_summary
from tdxdbg.engine import BY_NAME, Engine, HypercallAnswer, Reentry, Step, Td, TdExit
from tdxdbg.filters import FilterError
from tdxdbg.timeline import Timeline
from tests.ui import demo

SHARED = 1 << 47
#: MapGPA of 4 MiB: two chunks.
MAP_GPA = TdExit(
    0, 77, NO_REGS._replace(r11=0x10001, r12=SHARED | 0x400000, r13=0x400000, rcx=0xFC00)
)


def steps(*, retry: bool) -> list[Step]:
    """The steps of that MapGPA under 7.2; with `retry`, an event is pending at the second chunk."""
    engine = Engine(Td(), BY_NAME["7.2"])
    engine.feed(Reentry(0))
    found = [engine.feed(MAP_GPA)]
    found.append(engine.feed(Reentry(0, HypercallAnswer(0), has_events=retry)))
    if not retry:
        found.append(engine.feed(Reentry(0, HypercallAnswer(0))))
    return found


def stops(condition: str, *, retry: bool, row: int = 0) -> list[int]:
    """At which of the steps a condition stops."""
    wanted = Breakpoints()
    wanted.add_exit(condition)
    found = []
    for at, step in enumerate(steps(retry=retry)):
        summary = step_summary(row, 0, MAP_GPA, step, Td(), 0)
        if wanted.at_step(summary, userspace=step.run is not None):
            found.append(at)
    return found


@pytest.mark.parametrize(
    ("condition", "retry", "expected"),
    [
        ("leaf == MapGPA", False, [0, 1]),
        ("exit == KVM_EXIT_HYPERCALL", False, [0, 1]),
        ("exit == KVM_EXIT_IO", False, []),
        ("status == RETRY", True, [1]),
        ("retry", True, [1]),
        ("status == SUCCESS", False, [2]),
        ("not (leaf == MapGPA)", False, []),
        ("outcome == guest", False, [2]),
        ("gpa == 4M and size == 4M", True, [0]),
    ],
)
def test_condition(condition: str, retry: bool, expected: list[int]) -> None:
    assert stops(condition, retry=retry) == expected


def test_the_scenario_is_what_it_says() -> None:
    assert [step.regs.r10 for step in steps(retry=True)][-1] == Status.RETRY
    assert [step.run is not None for step in steps(retry=False)] == [True, True, False]


def test_a_condition_that_cannot_be_read() -> None:
    wanted = Breakpoints()
    with pytest.raises(FilterError, match="leef"):
        wanted.add_exit("leef == MapGPA")
    assert len(wanted) == 0


def test_the_list() -> None:
    wanted = Breakpoints()
    first = wanted.add_exit("retry")
    second = wanted.add_code(0x100040, "map_gpa+0x10")
    third = wanted.add_write(0x2000, 8)
    assert [each.kind for each in wanted] == [Kind.EXIT, Kind.CODE, Kind.WRITE]
    assert wanted.code == {0x100040}
    assert wanted.writes == ((0x2000, 8),)
    assert third.text == "0x2000..0x2007"
    wanted.enable(second.number, enabled=False)
    assert wanted.code == frozenset()
    assert wanted.at_code(0x100040) == []
    wanted.remove(first.number)
    assert not wanted.looks_at_steps
    assert wanted.add_exit("error").number == 4
    wanted.count_hit(third.number)
    assert [each.hits for each in wanted] == [0, 1, 0]
    with pytest.raises(KeyError):
        wanted.remove(first.number)


@pytest.mark.parametrize(
    ("gpa", "size", "hits"),
    [(0x1FFF, 1, False), (0x1FFF, 2, True), (0x2007, 1, True), (0x2008, 8, False)],
)
def test_what_a_write_touches(gpa: int, size: int, hits: bool) -> None:
    wanted = Breakpoints()
    wanted.add_write(0x2000, 8)
    assert bool(wanted.at_write(gpa, size)) == hits


def test_it_has_an_end() -> None:
    wanted = Breakpoints()
    for address in range(MOST):
        wanted.add_code(address)
    with pytest.raises(ValueError, match="delete one first"):
        wanted.add_code(MOST)


def test_a_condition_that_is_off_sees_nothing() -> None:
    wanted = Breakpoints()
    found = wanted.add_exit("leaf == MapGPA")
    wanted.enable(found.number, enabled=False)
    summary = step_summary(0, 0, MAP_GPA, steps(retry=False)[0], Td(), 0)
    assert wanted.at_step(summary, userspace=True) == []


# --- in a recording -----------------------------------------------------------------------

ROWS = Timeline(demo.mapgpa())


def add(wanted: Breakpoints, kind: Kind, text: str) -> int:
    if kind is Kind.EXIT:
        return wanted.add_exit(text).number
    if kind is Kind.REGISTERS:
        return wanted.add_registers(text).number
    gpa, size = text.split("+")
    return wanted.add_mapping(int(gpa, 16), int(size, 16)).number


@pytest.mark.parametrize(
    ("kind", "text", "rows"),
    [
        (Kind.EXIT, "leaf == MapGPA", [1, 3, 5, 7, 8]),
        (Kind.EXIT, "retry", [1, 3]),
        # Of a whole row, though no step says it by itself.
        (Kind.EXIT, "exit == KVM_EXIT_HYPERCALL and retry", [1, 3]),
        (Kind.MAPPING, "40000000+1", [1, 8]),
        (Kind.MAPPING, "40400000+200000", [3]),
        # The chunks that userspace has done before the guest is told RETRY.
        (Kind.MAPPING, "403fffff+1", [1]),
        (Kind.MAPPING, "40600000+1000", [5]),
        (Kind.MAPPING, "80000000+1000", []),
        # R10 as the guest gives it is 0, and as it gets it RETRY.
        (Kind.REGISTERS, "r10 == 1", [1, 3]),
        (Kind.REGISTERS, "r12 == 0 and leaf == HLT", [2, 4, 6]),
        (Kind.REGISTERS, "r11 == 0x8000040600000", [3]),
    ],
)
def test_rows(kind: Kind, text: str, rows: list[int]) -> None:
    wanted = Breakpoints()
    number = add(wanted, kind, text)
    assert [row for row in range(len(ROWS)) if wanted.at_row(Row(ROWS, row))] == rows
    wanted.enable(number, enabled=False)
    assert not any(wanted.at_row(Row(ROWS, row)) for row in range(len(ROWS)))
    assert [row for row in range(len(ROWS)) if wanted.holds(number, Row(ROWS, row))] == rows


def test_a_run_does_not_stop_for_what_only_a_recording_knows() -> None:
    wanted = Breakpoints()
    wanted.add_mapping(0x400000, 0x200000)
    wanted.add_registers("r10 == 0")
    assert not wanted.looks_at_steps
    assert (wanted.code, wanted.writes) == (frozenset(), ())
    summary = step_summary(0, 0, MAP_GPA, steps(retry=False)[0], Td(), 0)
    assert wanted.at_step(summary, userspace=True) == []


def test_a_recording_does_not_stop_for_what_only_a_run_knows() -> None:
    wanted = Breakpoints()
    wanted.add_code(0x1000)
    wanted.add_write(0x2000, 8)
    assert wanted.at_row(Row(ROWS, 1)) == []
    assert not wanted.holds(1, Row(ROWS, 1))


@pytest.mark.parametrize("text", ["leaf == MapGPA", "rax == 0", "retry"])
def test_a_condition_without_a_register(text: str) -> None:
    with pytest.raises(ValueError, match="no register in"):
        Breakpoints().add_registers(text)


@pytest.mark.parametrize(("gpa", "size"), [(0, 0), (-1, 2), (1 << 52, 1), (0xFFFF, 1 << 52)])
def test_no_range(gpa: int, size: int) -> None:
    with pytest.raises(ValueError, match="no GPA range"):
        Breakpoints().add_mapping(gpa, size)
