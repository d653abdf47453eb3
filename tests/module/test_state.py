"""TD parameters, checkpoints, determinism."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import REG_NAMES, Regs
from tdxdbg.module import (
    READ,
    WRITE,
    Kind,
    LastExit,
    ModuleExit,
    TdParams,
    TdState,
    VcpuState,
)
from tdxdbg.module.results import NATIVE, RETRY
from tests.module.support import (
    PAGE,
    PENDING_VE,
    SHARED,
    U64,
    Td,
    guest,
    running,
    state_of,
)

#: field, value: what TDH.MNG.INIT refuses (facts: ghci_and_guest 3.1 to 3.4)
REFUSED: list[dict[str, Any]] = [
    {"gpaw": 40},
    {"gpaw": 51},
    {"attributes": 2},
    {"attributes": 1 << 4},
    {"attributes": 1 << 62},
    {"xfam": 1},
    {"xfam": 2},
    {"xfam": 3 | 1 << 3},
    {"xfam": 3 | 1 << 5},
    {"xfam": 3 | 7 << 5},
    {"xfam": 3 | 1 << 11},
    {"xfam": 3 | 1 << 18},
    {"config_flags": 1},
    {"config_flags": 8},
    {"num_vcpus": 0},
    {"num_vcpus": 2, "max_vcpus": 1},
    {"tsc_frequency": 3},
    {"tsc_frequency": 401},
    {"mrtd": b""},
    {"mrowner": bytes(47)},
    {"td_uuid": bytes(31)},
    {"cpuid": {}},
]


@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields)).split("_")[0]):
        TdParams(**fields)


ACCEPTED: list[dict[str, Any]] = [
    {},
    {"gpaw": 52},
    {"attributes": 1 | 7 << 28 | 1 << 63},
    {"xfam": 0x6_DBE7},
    {"xfam": 3 | 3 << 17},
    {"config_flags": 6},
    {"num_vcpus": 4, "max_vcpus": 8},
]


@pytest.mark.parametrize("fields", ACCEPTED, ids=str)
def test_accepted(fields: dict[str, Any]) -> None:
    assert TdParams(**fields) == TdParams(**fields)


@pytest.mark.parametrize(
    ("params", "mask", "exposable", "flags"),
    [
        (TdParams(), 1 << 47, 0xFFCC, 4),
        (TdParams(gpaw=52), 1 << 51, 0xFFCC, 5),
        (TdParams(config_flags=0), 1 << 47, 0xFFEC, 0),
    ],
)
def test_what_follows_from_the_parameters(
    params: TdParams, mask: int, exposable: int, flags: int
) -> None:
    assert params.shared_mask == mask
    assert params.exposable == exposable
    assert params.all_config_flags == flags


@pytest.mark.parametrize(
    ("ids", "configured"),
    [((), False), ((0,), False), ((0, 0), False), ((0, 4), True), ((0, 4, 8), False)],
)
def test_topology(ids: tuple[int, ...], configured: bool) -> None:
    params = TdParams(num_vcpus=2, max_vcpus=4, x2apic_ids=ids)
    assert params.topology_configured is configured


def test_kinds() -> None:
    assert (NATIVE.kind, RETRY.kind) == (Kind.NATIVE, Kind.RETRY)


# --- a run of anything ----------------------------------------------------------------------

PAGES = st.sampled_from([0, PAGE, 0x20_0000, 0x20_1000])
registers = st.one_of(st.sampled_from([0, 1, 2, 3, 48, 0xFFCC, U64]), PAGES, st.integers(0, U64))
regs = st.builds(Regs, **dict.fromkeys(REG_NAMES, registers))
guests = st.builds(
    lambda regs, rax, rip, cpl, tsc, pending: guest(
        regs=regs._replace(rax=rax), rip=rip, cpl=cpl, tsc=tsc, interrupt_pending=pending
    ),
    regs,
    st.one_of(st.integers(0, 12), registers),
    st.sampled_from([0x1000, 0x1000, 0x2000]),
    st.sampled_from([0, 0, 0, 3]),
    st.integers(0, 4),
    st.booleans(),
)
calls = st.one_of(
    st.tuples(st.just("tdcall"), guests),
    st.tuples(st.just("instruction"), guests, st.integers(0, 77), registers, registers),
    st.tuples(
        st.just("access"),
        guests,
        st.one_of(PAGES, PAGES.map(lambda gpa: gpa | SHARED)),
        st.sampled_from([READ, WRITE]),
        registers,
    ),
    st.tuples(st.just("event"), guests, st.sampled_from([0, 1, 6, 74]), registers, registers),
    st.tuples(st.just("bus_lock")),
    st.tuples(st.just("pend_nmi")),
    st.tuples(st.just("take_nmi")),
)
host_calls = st.one_of(
    st.tuples(st.sampled_from(["page_aug", "range_block"]), PAGES, st.integers(0, 1)),
    st.tuples(st.sampled_from(["lock_entry", "unlock_entry"]), PAGES),
    st.tuples(st.just("map_private"), PAGES, st.sampled_from([PAGE, 1 << 21])),
    st.tuples(st.just("map_shared"), PAGES, st.just(PAGE), st.integers(0, 2)),
)
runs = st.lists(
    st.one_of(
        st.tuples(st.just("vcpu"), st.integers(0, 1), calls),
        st.tuples(st.just("host"), host_calls),
    ),
    max_size=15,
)

PARAMS = TdParams(attributes=0, num_vcpus=2, max_vcpus=2)


def drive(td: Td, steps: list[Any]) -> list[object]:
    """Every answer; a vCPU that left the TD comes back at once."""
    answers: list[object] = []
    for who, *rest in steps:
        if who == "host":
            name, *arguments = rest[0]
            answers.append(getattr(td, name)(*arguments))
        else:
            vcpu, (name, *arguments) = rest
            answers.append(getattr(td, name)(vcpu, *arguments))
            if isinstance(answers[-1], ModuleExit):
                answers.append(td.vp_enter(vcpu, Regs(r11=7)))
    return answers


@given(before=runs, after=runs)
def test_restore_then_run_equals_a_straight_run(before: list[Any], after: list[Any]) -> None:
    td = running(PARAMS)
    drive(td, before)
    checkpoint = td.checkpoint()
    pages = {page: bytes(data) for page, data in td.fake.pages.items()}
    at_checkpoint = state_of(td)
    straight = drive(td, after)
    at_end = state_of(td)

    other = running(PARAMS)
    for _ in range(2):
        other.restore(pickle.loads(pickle.dumps(checkpoint)))
        other.fake.pages = {page: bytearray(data) for page, data in pages.items()}
        assert state_of(other) == at_checkpoint
        assert drive(other, after) == straight
        assert state_of(other) == at_end
    assert other.fake.pages == td.fake.pages
    # The checkpoint is what it was.
    td.restore(checkpoint)
    assert state_of(td) == at_checkpoint


def test_a_copy_has_every_slot() -> None:
    td, vcpu = TdState(PENDING_VE), VcpuState(3)
    td.fatal = True
    vcpu.last_exit = LastExit.ASYNC_TRAP
    for old, new in ((td, td.copy()), (vcpu, vcpu.copy())):
        assert new is not old
        for name in type(old).__slots__:
            assert getattr(new, name) == getattr(old, name)
