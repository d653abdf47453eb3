"""Rules over every exit that the engine can produce: vectors of all generations.

A seeded choice of them runs here; TDXDBG_FUZZ says how many vectors a longer run takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import NO_REGS, Regs, exposed
from tdxdbg.engine import (
    BY_NAME,
    Engine,
    InKernel,
    KvmRun,
    Outcome,
    Reentry,
    Step,
    TdExit,
)
from tdxdbg.engine.kvm_run import layout_of
from tdxdbg.verify import Vector, make_td, read_vectors
from tdxdbg.vmm import Board, Chipset, Reply, Vmm, VmmCheckpoint
from tests.vmm.support import Interrupts, Memory

VECTORS = Path(__file__).parents[1] / "vectors"
COUNT = int(os.environ.get("TDXDBG_FUZZ", "1500"))
#: More than any vector needs; a MapGPA of everything is cut here.
BUDGET = 12

POLICIES: tuple[list[str], ...] = (
    [],
    ["eagain:2"],
    ["event-every:2"],
    ["convert-nothing", "no-hypercall-cap"],
    ["eagain:1", "event-every:1", "msr-exits", "quote-after:2"],
    ["no-quoting-service"],
)


def chosen(generation: str) -> Iterator[Vector]:
    vectors = list(read_vectors(VECTORS / f"{generation}.jsonl.gz"))
    # The same for every generation, so that the files line up.
    yield from Random(5).sample(vectors, min(COUNT // len(BY_NAME), len(vectors)))


class Drive:
    """The TD exits of vectors through an engine each, and one VMM."""

    def __init__(self, vmm: Vmm) -> None:
        self.vmm = vmm
        self.memory = Memory()
        self.memory.share(0, 1 << 20)
        self.interrupts = Interrupts()
        self.replies: list[Reply] = []

    def vector(self, vector: Vector) -> None:
        given = vector["input"]
        engine = Engine(self.vmm.td(make_td(given)), BY_NAME[vector["generation"]])
        engine.feed(Reentry(0))
        for registers in given.get("prelude", ())[:3]:
            self._row(engine, 77, exposed(Regs(**registers)), None)
            engine.force_into_td(0)
        ret, regs = given.get("vp_enter_ret", 77), Regs(**given["regs"])
        seen = exposed(regs) if ret & 0xFFFF == 77 else regs
        in_kernel = InKernel(errno=14) if given.get("env", {}).get("memfault") else None
        self._row(engine, ret, seen, in_kernel)

    def _row(self, engine: Engine, ret: int, regs: Regs, in_kernel: InKernel | None) -> None:
        step = engine.feed(TdExit(0, ret, regs, in_kernel=in_kernel))
        for _ in range(BUDGET):
            if step.outcome is Outcome.REENTER_TD:
                return
            reply = self.vmm.reply(0, step, self.memory, self.interrupts)
            self.replies.append(reply)
            assert_sound(reply, self.vmm.board)
            if reply.stop:
                return
            for conversion in reply.convert:
                assert engine.feed(conversion).outcome in (Outcome.IOCTL_DONE, Outcome.KVM_ERROR)
            # Raises ProtocolError when the answer does not belong to the exit.
            step = engine.feed(Reentry(0, reply.answer, has_events=bool(self.interrupts.raised)))
            self.interrupts.raised.clear()


def assert_sound(reply: Reply, board: Board) -> None:
    assert len(reply.convert) <= 1
    assert not (reply.stop and reply.convert)
    assert len(reply.stop) < 5000
    for gpa, size, _ in reply.convert:
        assert any(
            start <= gpa < gpa + size <= start + length and not (gpa | size) & 0xFFF
            for start, length in board.ram
        )


@pytest.mark.fuzz
@pytest.mark.parametrize("generation", BY_NAME)
def test_every_exit_of_the_engine_gets_a_reply(generation: str) -> None:
    drives = [Drive(Vmm(policies)) for policies in POLICIES]
    for place, vector in enumerate(chosen(generation)):
        drives[place % len(drives)].vector(vector)
    assert all(drive.replies for drive in drives)


@pytest.mark.fuzz
@pytest.mark.parametrize("generation", BY_NAME)
def test_the_same_from_a_checkpoint(generation: str) -> None:
    vectors = list(chosen(generation))[:120]
    for policies in POLICIES[1:5]:
        drive = Drive(Vmm(policies, Board(serial_vector=0x24)))
        for vector in vectors[:60]:
            drive.vector(vector)
        start = drive.vmm.checkpoint()
        ends: list[tuple[VmmCheckpoint, list[Reply]]] = []
        for _ in range(2):
            drive.vmm.restore(start)
            drive.replies = []
            for vector in vectors[60:]:
                drive.vector(vector)
            ends.append((drive.vmm.checkpoint(), drive.replies))
        assert ends[0] == ends[1]
        hash(start)


#: kvm_run as a damaged recording may have it.
runs = st.builds(
    lambda reason, union, valid, pio: KvmRun(
        reason, layout_of(reason, union), union, valid, valid, pio
    ),
    st.sampled_from([*range(45), 1 << 31]),
    st.binary(min_size=256, max_size=256),
    st.sampled_from([(1 << 256) - 1, 0, 0xFFFF]),
    st.binary(max_size=16),
)


@given(runs, st.sampled_from(list(Outcome)), st.sampled_from([0, 4, 5, 14, 133]))
def test_any_exit_at_all_gets_a_reply(run: KvmRun, outcome: Outcome, errno: int) -> None:
    step = Step(outcome, NO_REGS, run, errno=errno)
    for vmm in (Vmm(), Vmm(["eagain:1", "event-every:1", "quote-after:1"])):
        for _ in range(2):
            assert_sound(vmm.reply(0, step, Memory(), Interrupts()), vmm.board)


accesses = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 4]),
        st.sampled_from([0, 1]),
        st.one_of(
            st.sampled_from([0x64, 0x6F, 0x70, 0x71, 0xF3, 0x602, 0x604, 0x608, 0x640]),
            st.integers(0x3F6, 0x400),
            st.integers(0xCF6, 0xD00),
        ),
        st.integers(0, 0xFFFF_FFFF),
    ),
    max_size=30,
)


@given(accesses, st.binary(max_size=20), st.integers(0, 30))
def test_devices_from_a_checkpoint(
    wanted: list[tuple[int, int, int, int]], typed: bytes, at: int
) -> None:
    """Any accesses to any ports: a restored VMM answers as the first one did."""

    def play(vmm: Vmm, part: list[tuple[int, int, int, int]]) -> list[Any]:
        interrupts, results = Interrupts(), []
        for size, direction, port, value in part:
            union = (direction | size << 8 | port << 16 | 1 << 32 | 0x1000 << 64).to_bytes(
                256, "little"
            )
            data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            run = KvmRun(2, layout_of(2, union), union, pio=data)
            step = Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, run)
            results.append(vmm.reply(0, step, Memory(), interrupts))
        return [*results, interrupts.raised, bytes(vmm.console)]

    board = Board(serial_vector=0x24, chipset=Chipset.Q35)
    first, second = Vmm(board=board), Vmm(board=board)
    play(first, wanted[:at])
    first.serial_input(typed, Interrupts())
    second.restore(first.checkpoint())
    assert second.checkpoint() == first.checkpoint()
    assert play(second, wanted[at:]) == play(first, wanted[at:])
    assert second.checkpoint() == first.checkpoint()
