"""Messages and state: values, and views of them."""

from __future__ import annotations

import dataclasses

import pytest

from tdxdbg.abi.regs import KNOWN_ALL, Regs
from tdxdbg.engine import (
    Completer,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    Outcome,
    Phase,
    Step,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
    Vcpu,
)


def test_views_of_a_td_exit() -> None:
    # facts: kernel_exits 3 (info1, info2, intr_info) and 4.9
    event = TdExit(0, 48, Regs(rcx=0x182, rdx=0x6, r8=1 << 47 | 0x1000, r9=0xAB_8000_0202))
    assert event.exit_qualification == 0x182
    assert event.ext_exit_qualification == 6
    assert event.gpa == 1 << 47 | 0x1000
    assert event.intr_info == 0x8000_0202
    assert event.known == KNOWN_ALL


@pytest.mark.parametrize(("gpaw", "mask"), [(48, 1 << 47), (52, 1 << 51)])
def test_shared_mask(gpaw: int, mask: int) -> None:
    assert Td(gpaw=gpaw).shared_mask == mask


def test_a_td_does_not_change() -> None:
    td = Td()
    assert td == Td()
    assert td != dataclasses.replace(td, maxphyaddr=46)
    assert dataclasses.replace(td, gpaw=52).shared_mask == 1 << 51


@pytest.mark.parametrize(
    "answer",
    [HypercallAnswer, IoAnswer, MmioAnswer, MsrAnswer, TdxAnswer, TdxRawAnswer],
)
def test_an_answer_leaves_what_it_does_not_name(answer: type[TdxAnswer]) -> None:
    assert set(answer()) == {None}


def test_a_new_vcpu() -> None:
    vcpu = Vcpu(3)
    assert (vcpu.index, vcpu.phase, vcpu.completer) == (3, Phase.IN_USERSPACE, Completer.NONE)
    assert (vcpu.union, vcpu.valid, vcpu.regs) == (bytes(256), 0, Regs())


def test_a_copy_has_every_slot() -> None:
    vcpu = Vcpu(3)
    for at, name in enumerate(Vcpu.__slots__):
        setattr(vcpu, name, at)
    copy = vcpu.copy()
    assert [getattr(copy, name) for name in Vcpu.__slots__] == list(range(len(Vcpu.__slots__)))
    assert copy is not vcpu


def test_a_step_says_nothing_by_default() -> None:
    step = Step(Outcome.REENTER_TD, Regs())
    assert (step.run, step.run_flags, step.completer, step.errno) == (None, 0, Completer.NONE, 0)
    assert (step.effects, step.notes) == (0, ())
