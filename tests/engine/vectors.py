"""Inputs in the schema of the test vectors, and a driver for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tdxdbg.abi.regs import REG_NAMES, Regs, exposed
from tdxdbg.engine import BY_NAME, Engine, InKernel, Outcome, Reentry, Step, TdExit
from tdxdbg.engine.state import EVENTS_CHECKED
from tdxdbg.verify import make_answer, make_td
from tests.engine.strategies import calls, other_exits, returns, words

Given = dict[str, Any]

_bytes = st.binary(max_size=8).map(bytes.hex)
answers = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "ret": returns.map(lambda ret: 0 if ret is None else ret),
            "data": _bytes,
            "error": st.sampled_from([0, 1]),
            "r11": words,
            "out": st.fixed_dictionaries({}, optional={"r10": words, "r11": words, "rdx": words}),
        },
    ),
)


def _msr_answer(answer: Given | None, exit_reason: int) -> Given | None:
    """`data` is hex text for I/O and a number for an MSR."""
    if answer is None or exit_reason not in (29, 30) or "data" not in answer:
        return answer
    return {**answer, "data": int(answer["data"] or "0", 16)}


@st.composite
def inputs(draw: DrawFn) -> Given:
    """The `input` of a vector."""
    given: Given = {
        "gpaw": draw(st.sampled_from([48, 52])),
        "maxphyaddr": draw(st.sampled_from([46, 48, 52, 52])),
        "cap_exit_hypercall": draw(st.sampled_from([True, True, True, False])),
        "pending": draw(st.lists(st.sampled_from([0, 0, 1]), max_size=4)),
        "answers": draw(st.lists(answers, max_size=3)),
        "prelude": [dict_of(draw(calls())) for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))],
        "env": {
            "pv_features": draw(st.sampled_from([0, 0x2880])),
            "user_msr_mask": draw(st.sampled_from([0, 7])),
            "msrs": [[0x277, 3, 5], [0x8B, 1, 6], [0x10, 7, 7]],
            "cpuid": [[1, 0, 1, 2, 3, 4]],
            "memfault": draw(st.sampled_from([0, 1])),
        },
    }
    if draw(st.booleans()):
        given["default_answer"] = draw(answers)
    if draw(st.integers(0, 3)):
        given["regs"] = dict_of(draw(calls()))
    else:
        ret, regs = draw(other_exits())
        given["vp_enter_ret"], given["regs"] = ret, dict_of(regs)
    return given


def dict_of(regs: Regs) -> dict[str, int]:
    return {name: value for name, value in regs._asdict().items() if value}


def regs_of(given: Given) -> Regs:
    return Regs(**given["regs"])


def is_tdcall(given: Given) -> bool:
    return bool(given.get("vp_enter_ret", 77) & 0xFFFF == 77)


class Drive:
    """One input of a vector, driven to its end on one vCPU."""

    #: More than the chunks that `sizes` can ask for, less than a MapGPA of the whole space.
    MOST = 12

    def __init__(
        self, given: Given, generation: str, vcpu: int = 0, engine: Engine | None = None
    ) -> None:
        self.given = given
        self.vcpu = vcpu
        self.engine = engine or Engine(make_td(given), BY_NAME[generation])
        self.pending = list(given["pending"])
        self.exits = 0

    def steps(self) -> list[Step]:
        """The Steps from the TD exit on, until the guest runs again."""
        return list(self.walk())

    def walk(self) -> Iterator[Step]:
        """The same, one at a time."""
        self.engine.feed(Reentry(self.vcpu))
        for registers in self.given["prelude"]:
            list(self._feed(TdExit(self.vcpu, 77, exposed(Regs(**registers))), answered=False))
            self.engine.force_into_td(self.vcpu)
        regs = regs_of(self.given)
        ret = self.given.get("vp_enter_ret", 77)
        in_kernel = InKernel(errno=14) if self.given["env"]["memfault"] else None
        seen = exposed(regs) if is_tdcall(self.given) else regs
        yield from self._feed(TdExit(self.vcpu, ret, seen, in_kernel=in_kernel))

    def _feed(self, event: TdExit, answered: bool = True) -> Iterator[Step]:
        step = self.engine.feed(event)
        yield step
        for _ in range(self.MOST):
            if step.outcome is Outcome.REENTER_TD or self.engine.dead:
                return
            step = self.engine.feed(self._reentry(step) if answered else Reentry(self.vcpu))
            if step.effects & EVENTS_CHECKED and self.pending:
                self.pending.pop(0)
            yield step

    def _reentry(self, step: Step) -> Reentry:
        answer = None
        if step.outcome is Outcome.EXIT_TO_USERSPACE and step.run is not None:
            given = self.given.get("default_answer")
            if self.exits < len(self.given["answers"]):
                given = self.given["answers"][self.exits]
            self.exits += 1
            answer = make_answer(_msr_answer(given, step.run.exit_reason), step)
        return Reentry(self.vcpu, answer, has_events=bool(self.pending and self.pending[0]))


def drive(given: Given, generation: str) -> list[Step]:
    return Drive(given, generation).steps()


def hidden(regs: Regs) -> list[str]:
    """The registers that RCX does not select, RCX itself aside."""
    return [
        name
        for number, name in enumerate(REG_NAMES)
        if name != "rcx" and not regs.rcx & 0xFFCC & 1 << number
    ]
