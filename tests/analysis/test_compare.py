"""Generations side by side."""

from __future__ import annotations

import pytest

from tdxdbg.analysis.compare import ComparedRow, Written, compare, differences
from tdxdbg.engine import BY_NAME, GENERATIONS, Outcome, Step, TdExit
from tdxdbg.traces.records import KNOWN_REGS, Kind
from tests.analysis.samples import NAMES, load, rebuilt

ALL = [generation.name for generation in GENERATIONS]


def compared(name: str, *generations: str) -> list[ComparedRow]:
    trace = rebuilt(*load(name))
    return list(compare(trace, [BY_NAME[item] for item in generations]))


def marks(row: ComparedRow, generation: str) -> tuple[tuple[str, ...], bool, bool]:
    """What differs, whether it is assumed, whether it has diverged."""
    side = next(side for side in row.sides if side.generation == generation)
    return side.differs, side.assumed, side.diverged


@pytest.mark.parametrize(
    ("name", "generation", "row", "differs"),
    [
        ("mapgpa_one_page", "7.3", 0, ()),
        ("mapgpa_one_page", "exits-v1", 0, ("ret",)),
        ("mapgpa_one_page", "v19", 0, ("exit_reason",)),
        ("mapgpa_eagain_before_7_2", "7.2", 0, ("r10",)),
        ("mapgpa_eagain", "6.16", 0, ("r10",)),
        ("mapgpa_einval", "6.16", 0, ()),
        ("mapgpa_ebusy", "6.16", 0, ("number of exits", "r10", "r11")),
        ("mapgpa_capability_missing", "6.16-rc1", 0, ("r10",)),
        ("unknown_sub_function", "6.16-rc1", 0, ("r10",)),
        ("unknown_sub_function", "v19", 0, ("number of exits", "r10")),
        ("serial_hello", "v19", 1, ("r11",)),
        ("serial_hello", "exits-v1", 1, ()),
        ("mmio_probe", "exits-v1", 3, ()),
        ("fatal_error", "exits-v1", 0, ("data", "ndata")),
        ("bus_lock", "7.2", 0, ("exit_reason",)),
        ("bus_lock", "7.2", 1, ("number of exits", "r10", "r12")),
        ("bus_lock", "7.2", 3, ("run.flags",)),
        ("bus_lock_before_7_3", "7.3", 1, ("number of exits", "r10", "r12")),
        ("cpuid_hlt_msr", "exits-v1", 0, ("r10", "r12", "r13", "r14", "r15")),
        ("get_quote_and_event_notify", "6.16-rc1", 0, ("number of exits", "r10")),
        ("v1_stale_hypercall_ret", "6.16", 1, ("ret", "r10", "r11")),
        ("vp_enter_statuses", "exits-v1", 2, ("number of exits", "entry")),
    ],
)
def test_what_differs(name: str, generation: str, row: int, differs: tuple[str, ...]) -> None:
    own = load(name)[0].generation
    rows = compared(name, own, generation)
    assert marks(rows[row], own)[0] == ()
    assert marks(rows[row], generation)[0] == differs
    assert rows[row].differs == bool(differs)


@pytest.mark.parametrize("name", NAMES)
def test_a_generation_beside_itself(name: str) -> None:
    meta, _ = load(name)
    for row in compared(name, meta.generation):
        assert row.sides[0].recorded
        assert marks(row, meta.generation) == ((), False, False)


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if not name.startswith("bus_lock")],
)
def test_7_2_and_7_3_differ_only_in_bus_locks(name: str) -> None:
    for row in compared(name, "7.2", "7.3"):
        first, second = row.sides
        assert differences(first, second) == ()


def test_another_reply_makes_the_rest_diverge() -> None:
    rows = compared("mapgpa_eagain_before_7_2", "6.16", "7.2")
    assert [marks(row, "7.2")[2] for row in rows] == [False] + [True] * (len(rows) - 1)
    assert not any(marks(row, "6.16")[2] for row in rows)


def test_only_the_vcpu_that_got_another_reply_diverges() -> None:
    rows = compared("two_vcpus_converting", "6.16", "v19")
    assert {(row.row, row.vcpu): marks(row, "v19")[2] for row in rows} == {
        (0, 0): False,
        (1, 1): False,
        # v19 said SUCCESS to vCPU 1, which was told RETRY; vCPU 0 was told the same.
        (2, 1): True,
        (3, 0): False,
        (4, 0): True,
    }


def test_an_exit_that_nobody_answered_is_assumed() -> None:
    rows = compared("mapgpa_one_page", "6.16", "v19")
    assert [marks(row, "v19")[1] for row in rows] == [True, True]
    assert [marks(row, "6.16")[1] for row in rows] == [False, False]


def test_the_reference_is_the_recorded_generation_or_the_first() -> None:
    assert {row.reference for row in compared("mapgpa_eagain", "6.16", "v19", "7.2")} == {2}
    assert {row.reference for row in compared("mapgpa_eagain", "6.16", "v19")} == {0}
    row = compared("mapgpa_eagain", "6.16", "7.3")[0]
    assert (marks(row, "6.16")[0], marks(row, "7.3")[0]) == ((), ("r10",))


def test_chunks_and_what_the_guest_gets() -> None:
    row = compared("mapgpa_64mib_interrupted", "6.16", "7.3")[9]
    for side in row.sides:
        assert len(side.exits) == 11
        assert {item.exit_reason for item in side.exits} == {3}
        assert side.guest is not None
        registers = dict(side.guest.registers)
        assert (registers["r10"], registers["r11"]) == (1, 0x8_0000_7560_0000)
        assert side.guest.changed == {"r10", "r11"}


def test_what_kvm_left_is_not_what_it_wrote() -> None:
    row = compared("v1_stale_hypercall_ret", "exits-v1", "6.16")[1]
    rets = [
        next(field for field in side.exits[0].fields if field.name == "ret") for side in row.sides
    ]
    assert [field.written for field in rets] == [Written.STALE, Written.WRITTEN]
    assert [field.value for field in rets] == [2**64 - 1000, 0]


def test_a_register_outside_the_mask_is_none_of_the_guests() -> None:
    row = compared("reply_outside_the_mask", "6.16")[2]
    guest = row.sides[0].guest
    assert guest is not None
    assert [name for name, _ in guest.registers] == ["r10", "r11", "r12", "r13"]
    assert guest.changed == {"r12", "r13"}


def test_what_was_not_recorded_differs_from_nothing() -> None:
    meta, records = load("mapgpa_one_page")
    blind = []
    for record in records:
        body = record.body
        if isinstance(body, Step) and body.run is not None:
            body = body._replace(run=body.run._replace(valid=0, written=0))
        blind.append(
            record._replace(body=body, known=0)
            if record.kind in (Kind.USERSPACE_EXIT, Kind.TD_ENTRY)
            else record
        )
    for row in compare(rebuilt(meta, blind), [BY_NAME["6.16"], BY_NAME["7.3"]]):
        assert not row.differs
        assert {field.written for field in row.sides[0].exits[0].fields} == {Written.UNKNOWN}


def test_a_td_exit_that_was_not_seen_cannot_be_computed() -> None:
    meta, records = load("mapgpa_one_page")
    records[0] = records[0]._replace(known=records[0].known & ~KNOWN_REGS)
    row = next(compare(rebuilt(meta, records), [BY_NAME["6.16"], BY_NAME["7.3"]]))
    assert [side.known for side in row.sides] == [True, False]
    assert not row.differs
    guest = row.sides[0].guest
    assert guest is not None
    assert guest.registers == ()


def test_the_engine_speaks_where_the_recording_ends() -> None:
    meta, records = load("mapgpa_empty")
    rows = list(compare(rebuilt(meta, records[:1]), [BY_NAME["6.16"]]))
    side = rows[0].sides[0]
    assert (side.known, side.recorded) == (True, False)
    assert side.guest is not None
    assert dict(side.guest.registers)["r10"] == 0x8000_0000_0000_0000


def test_a_dead_vm_is_said_to_be_dead() -> None:
    meta, records = load("vp_enter_statuses")
    first = records[0].body
    assert isinstance(first, TdExit)
    records[0] = records[0]._replace(body=first._replace(vp_enter_ret=49))
    failed = Step(Outcome.KVM_ERROR, first.regs, errno=5)
    records[1] = records[1]._replace(kind=Kind.USERSPACE_EXIT, body=failed)
    row = next(compare(rebuilt(meta, records[:2]), [BY_NAME["6.16"], BY_NAME["7.3"]]))
    assert [side.dead for side in row.sides] == [True, True]


def test_no_more_rows_than_asked_for() -> None:
    trace = rebuilt(*load("serial_hello"))
    generations = [BY_NAME["6.16"]]
    assert [row.row for row in compare(trace, generations, count=3)] == [0, 1, 2]
    assert len(list(compare(trace, generations, count=99))) == len(trace)
    assert list(compare(trace, [])) == []
