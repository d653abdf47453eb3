"""What the panes of a live run ask a session for: registers, code, memory, the console.

Each answer is shown as it comes; one that belongs to a place that is not
looked at any more is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from tdxdbg.ui.lines import own
from tdxdbg.ui.live.program import Program
from tdxdbg.ui.live.serial import SerialText
from tdxdbg.ui.live.sight import CodeLine, Sight
from tdxdbg.ui.live.wire import Wire
from tdxdbg.ui.live.words import HELD
from tdxdbg.ui.panes.code import CodePane
from tdxdbg.ui.panes.console import ConsolePane
from tdxdbg.ui.panes.memory import PAGE, Ask, MemoryPane

#: Bytes of code that are read before and after RIP.
_BEFORE: Final = 512
_AFTER: Final = 1024


class Looking:
    """Asks for what is seen at one place, for three panes."""

    def __init__(
        self,
        code: CodePane,
        memory: MemoryPane,
        console: ConsolePane,
        program: Program,
    ) -> None:
        self._code = code
        self._memory = memory
        self._console = console
        self._program = program
        self._place = 0
        self._wire: Wire | None = None
        self._asked: set[Ask] = set()
        #: Who was asked last whether there is an echo, and has not answered.
        self._hears: Wire | None = None
        #: Shows the code of the place once more.
        self._again: Callable[[], None] = _nobody
        #: The vCPU that is looked at; None: the one that stopped.
        self.vcpu: int | None = None
        self.registers: Mapping[str, int] = {}
        #: Called when something came in.
        self.news: Callable[[], None] = _nobody
        memory.ask = self.ask_memory

    # --- a place ------------------------------------------------------------------------

    def look(self, wire: Wire, *, past: bool) -> None:
        """Ask for everything at the place where this session stands now."""
        self._place += 1
        self._again = _nobody
        self._wire = wire
        self._asked.clear()
        self._memory.stopped()
        place, state = self._place, wire.state
        vcpu = self.vcpu if self.vcpu is not None and self.vcpu < state.vcpus else state.vcpu

        def registers(found: Mapping[str, int]) -> None:
            if place == self._place:
                self.registers = found
                self._program.place(found)
                self._ask_code(wire, place, vcpu, found)

        wire.ask("registers", registers, vcpu=vcpu)
        self.ask_memory()
        self._console.limit(state.console if past else None)

    def leave(self, why: str) -> None:
        """No session stands at the place that is shown: `why` is reading, gone or running."""
        self._place += 1
        self._again = _nobody
        self._wire = None
        self._asked.clear()
        self._code.look(self._code.sight, _NOTES[why])

    def ask_console(self, wire: Wire, text: SerialText) -> None:
        """What the guest of the present wrote since the last time."""
        if wire.state.console > text.total:
            self._hear(wire, text)

    def echo(self, wire: Wire, text: SerialText) -> None:
        """The same, sooner than the session says that there is something."""
        if self._hears is not wire:
            self._hears = wire
            self._hear(wire, text)

    def _hear(self, wire: Wire, text: SerialText) -> None:
        def more(found: Sequence[Any]) -> None:
            heard()
            # How much there is, some of it, and where that begins: not where it is too much.
            total, data = found[0], found[1]
            start = found[2] if len(found) > 2 else total - len(data)
            new = start + len(data) > text.total
            text.skip(max(start - text.total, 0))
            text.feed(data[max(text.total - start, 0) :])
            if new and text is self._console.text:
                self._console.update_text()

        def heard(_: object = None) -> None:
            self._hears = None

        wire.ask("console", more, heard, since=text.total)

    # --- code ---------------------------------------------------------------------------

    def _ask_code(self, wire: Wire, place: int, vcpu: int, registers: Mapping[str, int]) -> None:
        rip = registers.get("rip", 0)
        start = max(rip - _BEFORE, 0)
        page = max(start, rip - rip % PAGE)

        def whole(data: bytes | None) -> None:
            if place != self._place:
                return
            if data is not None and len(data) > rip - start:
                self._show_code(start, data, vcpu, registers)
            else:
                # What is before may not be mapped: the page of RIP alone.
                wire.ask("read_memory", alone, address=page, size=rip - page + _AFTER, vcpu=vcpu)

        def alone(data: bytes | None) -> None:
            if place == self._place:
                self._show_code(page, data or b"", vcpu, registers)

        wire.ask("read_memory", whole, address=start, size=rip - start + _AFTER, vcpu=vcpu)

    def names_came(self) -> None:
        """The program knows more than when the code was shown."""
        self._again()

    def _show_code(self, start: int, data: bytes, vcpu: int, registers: Mapping[str, int]) -> None:
        assert self._wire is not None
        self._again = partial(self._show_code, start, data, vcpu, registers)
        self._program.place(registers)
        state = self._wire.state
        there = len(data) > registers.get("rip", 0) - start
        exited = state.where == HELD and vcpu == state.vcpu
        lines: tuple[CodeLine, ...] = ()
        if there:
            lines = self._program.lines(start, data, registers, exited=exited)
        place = state.steps, state.instructions
        where = self._program.name(registers.get("rip", 0))
        self._code.look(Sight(place, vcpu, state.vcpus, registers, lines, where, exited), own(" "))
        self.news()

    # --- memory -------------------------------------------------------------------------

    def ask_memory(self) -> None:
        """Ask for what the memory pane shows and does not know."""
        wire, place = self._wire, self._place
        if wire is None:
            return
        for ask in self._memory.wanted():
            if ask in self._asked:
                continue
            self._asked.add(ask)
            arguments: dict[str, Any] = {"address": ask.address, "size": ask.size}
            if ask.linear:
                arguments["vcpu"] = self.vcpu if self.vcpu is not None else wire.state.vcpu
            wire.ask("read_memory", self._memory_at(place, ask), **arguments)

    def _memory_at(self, place: int, ask: Ask) -> Callable[[bytes | None], None]:
        def found(data: bytes | None) -> None:
            if place == self._place:
                self._memory.give(ask, data)

        return found


_NOTES: Final = {
    "reading": own("reading the past…"),
    "gone": own("the worker is gone"),
    "running": own("the guest runs"),
}


def _nobody() -> None:
    """No one listens."""
