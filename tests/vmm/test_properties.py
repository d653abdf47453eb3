"""Rules over every exit that the engine can produce: vectors of all generations.

A seeded choice of them runs here; TDXDBG_FUZZ says how many vectors a longer run takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from operator import add
from pathlib import Path
from random import Random
from struct import pack
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.fw_cfg import Content
from tdxdbg.abi.kvm import Exit
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
from tdxdbg.vmm import Board, Chipset, Reply, Vmm, VmmCheckpoint, ioapic, pci, virtio
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


class Access(NamedTuple):
    """One of a guest's, by KVM_EXIT_IO or KVM_EXIT_MMIO; `time` in ns."""

    exit: Exit
    address: int
    size: int
    value: int
    is_write: bool
    time: int

    def step(self) -> Step:
        value = self.value & (1 << 8 * self.size) - 1
        if self.exit is Exit.MMIO:
            union = pack("<QQIB", self.address, value, self.size, self.is_write)
        else:
            union = pack("<BBHIQ", self.is_write, self.size, self.address, 1, 0x1000)
        union = union.ljust(256, b"\0")
        pio = value.to_bytes(self.size, "little") if self.exit is Exit.IO else b""
        run = KvmRun(self.exit, layout_of(self.exit, union), union, pio=pio)
        return Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, run)


times = st.one_of(st.integers(0, 1 << 32), st.integers(0, (1 << 64) - 1))
values = st.one_of(st.integers(0, 255), st.integers(0, (1 << 64) - 1))
ports = st.builds(
    partial(Access, Exit.IO),
    st.one_of(
        st.sampled_from([0x61, 0x64, 0x6F, 0x70, 0x71, 0xF3, 0x602, 0x604, 0x608, 0x640]),
        st.integers(0x3F, 0x44),
        st.integers(0x3F6, 0x400),
        st.integers(0x50E, 0x51C),
        st.integers(0xCF6, 0xD00),
        st.integers(0, 0xFFFF),
    ),
    st.sampled_from([1, 2, 4]),
    values,
    st.booleans(),
    times,
)
pages = st.builds(
    partial(Access, Exit.MMIO),
    st.one_of(
        st.builds(add, st.sampled_from([ioapic.BASE, virtio.BASE]), st.integers(-8, 0x120)),
        st.builds(add, st.just(pci.ECAM_BASE), st.integers(-8, pci.ECAM_SIZE + 8)),
        st.integers(0, (1 << 52) - 1),
    ),
    st.sampled_from([1, 2, 4, 8]),
    values,
    st.booleans(),
    times,
)
CONTENT = Content(items=((5, b"\x02\0"),), files=(("etc/a", b"a file"),))


@given(
    st.lists(st.one_of(ports, pages), max_size=30),
    st.binary(max_size=20),
    st.integers(0, 30),
    st.sampled_from(list(Chipset)),
)
def test_devices_from_a_checkpoint(
    wanted: list[Access], typed: bytes, at: int, chipset: Chipset
) -> None:
    """Any accesses to any device: a restored VMM answers as the first one did."""

    def play(vmm: Vmm, part: list[Access]) -> list[Any]:
        interrupts, results = Interrupts(), []
        for access in part:
            reply = vmm.reply(0, access.step(), Memory(), interrupts, access.time)
            assert_sound(reply, vmm.board)
            results.append(reply)
        assert all(vector in range(16, 256) for _, vector in interrupts.raised)
        return [*results, interrupts.raised, bytes(vmm.console)]

    board = Board(serial_vector=0x24, chipset=chipset, vcpus=2, fw_cfg=CONTENT)
    first, second = Vmm(board=board), Vmm(board=board)
    play(first, wanted[:at])
    first.serial_input(typed, Interrupts())
    checkpoint = first.checkpoint()
    hash(checkpoint)
    second.restore(checkpoint)
    assert second.checkpoint() == checkpoint
    assert play(second, wanted[at:]) == play(first, wanted[at:])
    assert second.checkpoint() == first.checkpoint()
