"""Policies: their names, what they do under each generation, and one of somebody's own."""

from __future__ import annotations

import doctest
import errno
from typing import ClassVar

import pytest

from tdxdbg.abi.regs import NO_REGS
from tdxdbg.engine import HypercallAnswer, Outcome, SetMemoryAttributes, Step, Td
from tdxdbg.errors import SessionError
from tdxdbg.vmm import POLICIES, Ask, Policy, Reply, Vmm, policies, vmm
from tdxdbg.vmm.policies import Below
from tests.engine.support import (
    ALL,
    BEFORE_72,
    INVALID,
    MIB2,
    PAGE,
    RETRY,
    SHARED,
    SINCE_72,
    SINCE_616,
    SINCE_V1,
    SUCCESS,
    UNSUPPORTED,
    call,
    map_gpa,
)
from tests.vmm.support import World, ask_of

GPA = 8 << 20
FOUR_CHUNKS = map_gpa(SHARED | GPA, 4 * MIB2)


@pytest.mark.parametrize("module", [policies, vmm])
def test_the_examples_in_the_documentation_run(module: object) -> None:
    done = doctest.testmod(module)  # type: ignore[arg-type]
    assert done.attempted
    assert not done.failed


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("eagian:2", "no policy 'eagian': did you mean eagain:N?"),
        ("event:2", "no policy 'event': did you mean event-every:K[:VECTOR]"),
        ("", "no policy ''"),
        ("x\x1b[2J", "no policy 'x\\x1b[2J'"),
        ("eagain", "policy 'eagain' lacks N: give eagain:N"),
        ("eagain:", "N is not a number from 1 to 4294967296; give eagain:N"),
        ("eagain:0", "N is not a number from 1"),
        ("eagain:-1", "N is not a number from 1"),
        ("eagain:two", "N is not a number from 1"),
        ("eagain:2:3", "policy 'eagain:2:3' has too many parameters: give eagain:N"),
        ("event-every:3:31", "VECTOR is not a number from 32 to 255"),
        ("event-every:3:256", "VECTOR is not a number from 32 to 255"),
        ("no-hypercall-cap:1", "has too many parameters: give no-hypercall-cap"),
    ],
)
def test_bad_names(text: str, error: str) -> None:
    with pytest.raises(SessionError) as caught:
        Vmm([text])
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [["qemu"], ["qemu", "eagain:1"], ["event-every:0x10:0xf0"]])
def test_good_names(given: list[str]) -> None:
    assert len(Vmm(given).policies) == len(given)


def test_qemu_is_below_all_others() -> None:
    with pytest.raises(SessionError, match="name it first, or not at all"):
        Vmm(["eagain:1", "qemu"])


@pytest.mark.parametrize("name", POLICIES)
def test_the_table(name: str) -> None:
    entry = POLICIES[name]
    assert entry.name == name
    assert entry.usage.startswith(name)
    assert entry.story
    text = ":".join([name, *(str(parameter.low) for parameter in entry.parameters)])
    assert isinstance(Vmm([text]).policies[0], Policy)


# --- what they do ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "r10", "r11"),
    [
        *((name, INVALID, SHARED | GPA) for name in BEFORE_72 if name != "v19"),
        *((name, RETRY, SHARED | GPA) for name in SINCE_72),
        # In v19 userspace speaks for itself.
        ("v19", RETRY, SHARED | GPA),
    ],
)
def test_eagain(generation: str, r10: int, r11: int) -> None:
    world = World(generation, Vmm(["eagain:1"]))
    step = world.call(FOUR_CHUNKS)
    assert step.regs[10:12] == (r10, r11)
    assert world.memory.gpa_map.shared_bytes == 0
    step = world.call(FOUR_CHUNKS)
    # v1 finds the 11 of the last time in hypercall.ret, which QEMU never writes (bug B2).
    stale = generation == "exits-v1"
    assert step.regs.r10 == (INVALID if stale else SUCCESS)
    assert world.memory.gpa_map.shared_bytes == (1 if stale else 4) * MIB2


@pytest.mark.parametrize("generation", SINCE_72)
def test_eagain_counts_over_the_whole_run(generation: str) -> None:
    world = World(generation, Vmm(["eagain:3"]))
    assert [world.call(FOUR_CHUNKS).regs.r10 for _ in range(4)] == [RETRY] * 3 + [SUCCESS]


@pytest.mark.parametrize("generation", SINCE_V1)
def test_an_event_stops_map_gpa_behind_the_chunk(generation: str) -> None:
    world = World(generation, Vmm(["event-every:2:0x33"]))
    step = world.call(FOUR_CHUNKS)
    assert step.regs[10:12] == (RETRY, SHARED | GPA + 2 * MIB2)
    assert world.interrupts.raised == [(0, 0x33)]
    assert world.memory.gpa_map.shared_bytes == 2 * MIB2
    world.interrupts.raised.clear()
    step = world.call(map_gpa(SHARED | GPA + 2 * MIB2, 2 * MIB2))
    # The event comes with the last chunk, after which KVM does not look.
    assert step.regs.r10 == SUCCESS
    assert world.interrupts.raised == [(0, 0x33)]


@pytest.mark.parametrize("generation", ALL)
def test_the_default_vector(generation: str) -> None:
    world = World(generation, Vmm(["event-every:1"]))
    world.call(map_gpa(GPA, PAGE))
    assert world.interrupts.raised == [(0, 0x40)]


@pytest.mark.parametrize(
    ("generation", "r10"),
    [(name, UNSUPPORTED if name in SINCE_616 else INVALID) for name in SINCE_V1],
)
def test_without_the_capability(generation: str, r10: int) -> None:
    world = World(generation, Vmm(["no-hypercall-cap"]))
    step = world.call(FOUR_CHUNKS)
    assert (step.regs.r10, world.replies) == (r10, [])


@pytest.mark.parametrize("generation", ALL)
def test_converting_nothing(generation: str) -> None:
    world = World(generation, Vmm(["convert-nothing"]))
    for regs in (FOUR_CHUNKS, map_gpa(1 << 46, MIB2), call(GPA, 1, 0, r10=12)):
        step = world.call(regs)
        assert step.outcome is Outcome.REENTER_TD
        assert step.regs.r10 == SUCCESS
        assert world.replies
        assert not any(reply.convert or reply.stop for reply in world.replies)


def test_a_failed_kvm_run_is_no_conversion() -> None:
    step = Step(Outcome.KVM_ERROR, NO_REGS, errno=22)
    assert not ask_of(step).is_conversion
    assert ask_of(step).conversion_answer(0) == HypercallAnswer(0)


def test_policies_touch_conversions_only() -> None:
    world = World("7.3", Vmm(["eagain:1", "convert-nothing", "event-every:1"]))
    for letter in b"hello":
        world.call(call(30, 1, 1, 0x3F8, letter))
    assert bytes(world.vmm.console) == b"hello"
    assert world.interrupts.raised == []


# --- together -------------------------------------------------------------------------


def test_each_wraps_those_before_it() -> None:
    inner = World("7.3", Vmm(["eagain:1", "convert-nothing"]))
    assert inner.call(FOUR_CHUNKS).regs.r10 == SUCCESS
    outer = World("7.3", Vmm(["convert-nothing", "eagain:1"]))
    assert outer.call(FOUR_CHUNKS).regs.r10 == RETRY
    both = World("7.3", Vmm(["eagain:1", "event-every:1"]))
    assert both.call(FOUR_CHUNKS).regs[10:12] == (RETRY, SHARED | GPA)
    assert both.interrupts.raised


def test_the_set_up_goes_through_all() -> None:
    td = Vmm(["msr-exits", "eagain:1", "no-hypercall-cap"]).td(Td())
    assert (td.user_space_msr_mask, td.exit_hypercall) == (7, False)
    assert Vmm().td(Td()) == Td()


class SecondFails(Policy):
    """The second conversion fails."""

    state = 0

    def reply(self, ask: Ask, below: Below) -> Reply:
        if not ask.is_conversion:
            return below(ask)
        self.state += 1
        return Reply(ask.conversion_answer(errno.EINVAL)) if self.state == 2 else below(ask)


class Log(Policy):
    """What is below, noted."""

    seen: ClassVar[list[Reply]] = []

    def reply(self, ask: Ask, below: Below) -> Reply:
        reply = below(ask)
        self.seen.append(reply)
        return reply


@pytest.mark.parametrize("generation", SINCE_V1)
def test_ones_own_policy(generation: str) -> None:
    Log.seen.clear()
    world = World(generation, Vmm([SecondFails(), Log()]))
    step = world.call(FOUR_CHUNKS)
    assert step.regs[10:12] == (INVALID, SHARED | GPA + MIB2)
    assert Log.seen[0].convert == (SetMemoryAttributes(GPA, MIB2, False),)
    assert len(Log.seen) == 2


def test_ones_own_policy_in_v19() -> None:
    world = World("v19", Vmm([SecondFails()]))
    assert [world.call(FOUR_CHUNKS).regs.r10 for _ in range(3)] == [SUCCESS, INVALID, SUCCESS]


def test_its_state_is_part_of_the_checkpoint() -> None:
    world = World("7.3", Vmm([SecondFails(), "eagain:5", "event-every:3"]))
    start = world.vmm.checkpoint()
    world.call(FOUR_CHUNKS)
    later = world.vmm.checkpoint()
    assert start.policies == (0, 5, 0)
    assert later.policies != start.policies
    world.vmm.restore(start)
    assert world.vmm.checkpoint() == start
    world.vmm.restore(later)
    assert world.vmm.checkpoint() == later
