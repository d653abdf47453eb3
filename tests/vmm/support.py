"""What the tests of the VMM share: guest memory, interrupts, and exits of each generation."""

from __future__ import annotations

from tdxdbg.abi.regs import Regs
from tdxdbg.engine import BY_NAME, Engine, GpaMap, Outcome, Reentry, Step, Td, TdExit
from tdxdbg.vmm import Ask, Reply, Vmm
from tests.engine.support import TDCALL, engine_in_td

RAM = 64 << 20


class Memory:
    """RAM from 0 on (bytes), and what of it is shared."""

    def __init__(self, size: int = RAM) -> None:
        self.size = size
        self.pages: dict[int, bytearray] = {}
        self.gpa_map = GpaMap()

    def share(self, gpa: int, size: int) -> None:
        self.gpa_map = self.gpa_map.convert(gpa, size, private=False)

    def is_shared(self, gpa: int) -> bool:
        return self.gpa_map.is_shared(gpa)

    def read_gpa(self, gpa: int, size: int) -> bytes | None:
        if gpa + size > self.size:
            return None
        return bytes(self._page(at)[at % 4096] for at in range(gpa, gpa + size))

    def write_gpa(self, gpa: int, data: bytes) -> bool:
        if gpa + len(data) > self.size:
            return False
        for at, value in enumerate(data, gpa):
            self._page(at)[at % 4096] = value
        return True

    def _page(self, gpa: int) -> bytearray:
        return self.pages.setdefault(gpa // 4096, bytearray(4096))


class Interrupts:
    """Which vectors were raised, oldest first."""

    def __init__(self) -> None:
        self.raised: list[tuple[int, int]] = []

    def raise_vector(self, vcpu: int, vector: int) -> None:
        self.raised.append((vcpu, vector))


class World:
    """A KVM and a VMM, and calls of the guest that go all the way."""

    def __init__(self, generation: str, vmm: Vmm | None = None, td: Td | None = None) -> None:
        self.vmm = vmm or Vmm()
        self.memory = Memory()
        self.interrupts = Interrupts()
        self.engine = engine_in_td(generation, self.vmm.td(td or Td()))
        self.replies: list[Reply] = []

    def call(self, regs: Regs, ret: int = TDCALL, budget: int = 100) -> Step:
        """The Step that enters the TD again, or that the VMM stopped at."""
        step = self.engine.feed(TdExit(0, ret, regs))
        self.replies = []
        for _ in range(budget):
            if step.outcome is Outcome.REENTER_TD:
                break
            reply = self.reply(step)
            if reply.stop:
                break
            # KVM looks for events after this answer.
            events = bool(self.interrupts.raised)
            step = self.engine.feed(Reentry(0, reply.answer, has_events=events))
        return step

    def reply(self, step: Step) -> Reply:
        reply = self.vmm.reply(0, step, self.memory, self.interrupts)
        self.replies.append(reply)
        for gpa, size, private in reply.convert:
            self.memory.gpa_map = self.memory.gpa_map.convert(gpa, size, private=private)
        return reply


def exit_of(generation: str, regs: Regs, td: Td | None = None, ret: int = TDCALL) -> Step:
    """The exit to userspace that a TD exit ends in."""
    engine = Engine(td or Td(), BY_NAME[generation])
    engine.feed(Reentry(0))
    return engine.feed(TdExit(0, ret, regs))


def ask_of(step: Step, memory: Memory | None = None) -> Ask:
    return Ask(0, step, memory or Memory(), Interrupts())
