"""What else a person asks of a live run: breakpoints, interrupts, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from tdxdbg.ui.keys import LINUX_HINTS, Hints
from tdxdbg.ui.layout import CODE, LINUX, MEMORY, Plan
from tdxdbg.ui.lines import own
from tdxdbg.ui.live.console import LiveConsole
from tdxdbg.ui.live.judge import judge_address, judge_stop, judge_vector, parse_vector
from tdxdbg.ui.live.targets import Names, Stop, is_converted, parse_address, parse_stop
from tdxdbg.ui.live.wire import State, Wire
from tdxdbg.ui.panes.code import CodePane
from tdxdbg.ui.panes.memory import MemoryPane
from tdxdbg.ui.prompt import Verdict
from tdxdbg.ui.row_stops import RowStops
from tdxdbg.ui.stop_list import Breakpoint, StopList

_ABOUT_STOPS = (
    own("leaf == MapGPA      an exit, in the language of --filter"),
    own("map_gpa, at 101000  before an instruction: symbol or address"),
    own("watch symbol 8      before a write to so many bytes; also gpa 2000"),
    own("watch gpa in 4M..6M after pages of a GPA range were converted"),
)
_ABOUT_ADDRESS = (
    own("A symbol, a register (rsp-20), a virtual address in hex (101000),"),
    own("or a guest physical one: gpa 2000."),
)
_ABOUT_VECTOR = (own("A vector from 16 to 255, and perhaps the vCPU: 0x21 1."),)
_ABOUT_WRITE = (
    own("Goes back to just before the last write to these bytes: symbol 8, gpa 2000 4096."),
)


class LiveApp(LiveConsole):
    """The screen of a live run, with its keys."""

    # --- interrupts, breakpoints, memory ----------------------------------------------------

    @property
    def names(self) -> Names:
        """What an address can be named by, where one looks."""
        return Names(self.program.symbols, self.looking.registers)

    def action_inject(self) -> None:
        self._quiet()
        self._in_the_present(
            lambda: self.ask(
                own("raise an interrupt"),
                _ABOUT_VECTOR,
                judge_vector,
                self._inject,
                history="vector",
            )
        )

    def _inject(self, text: str) -> None:
        vector, vcpu = parse_vector(text)

        def raised(state: State) -> None:
            self._changed(state)
            self.tell(f"vector {vector:#x} is pending at vCPU {vcpu}", "ok")

        self.world.wire.ask("inject", raised, self.tell, vector=vector, vcpu=vcpu)

    def action_breakpoint(self, text: str | None = None) -> None:
        self._quiet()
        if text is not None:
            self._add_stop(text)
            return
        self.ask(own("stop at"), _ABOUT_STOPS, self.judge_break, self._add_stop, history="stop")

    def action_watch(self, text: str | None = None) -> None:
        self._quiet()
        if text is not None:
            self._add_stop(f"watch {text}")
            return
        self.ask(own("stop at"), _ABOUT_STOPS, self.judge_break, self._add_stop, "watch ", "stop")

    def judge_break(self, text: str, cursor: int) -> Verdict:
        return judge_stop(text, cursor, self.names)

    def judge_watch(self, text: str, cursor: int) -> Verdict:
        found = judge_stop(f"watch {text}", cursor + len("watch "), self.names)
        return found._replace(start=max(found.start - len("watch "), 0))

    def _add_stop(self, text: str) -> None:
        try:
            stop = parse_stop(text, self.names)
        except ValueError as error:
            self.tell(str(error))
            return
        for wire in self._wires():
            wire.ask(_command(stop), self._stops_changed, self.tell, **_arguments(stop, wire.state))

    def add_stop_like(self, stop: Breakpoint) -> None:
        """The same breakpoint in another world."""
        how: dict[str, Any] = {"condition": stop["text"]}
        command = "add_breakpoint"
        if stop["kind"] == "address":
            how = {"address": stop["address"], "text": stop["text"]}
        elif stop["kind"] == "watch":
            command = "add_watchpoint"
            how = {"address": stop["address"], "size": stop["size"], "text": stop["text"]}
        elif stop["kind"] == "mapping":
            command = "watch_conversions"
            how = {"gpa": stop["address"], "size": stop["size"], "text": stop["text"]}
        self.world.wire.ask(command, self._stops_changed, self.tell, **how)

    def _wires(self) -> list[Wire]:
        """The present, and the past that is looked at: both know the breakpoints."""
        return [wire for wire in (self.world.wire, self.past.wire) if wire is not None]

    def _stops_changed(self, _: object) -> None:
        self.world.wire.ask("breakpoints", self._show_stops)

    def _show_stops(self, stops: Sequence[Any]) -> None:
        self.world.stops = tuple(stops)
        code = self.pane(CODE, CodePane)
        code.breakpoints = {
            stop["address"]: stop["enabled"] for stop in stops if stop["kind"] == "address"
        }
        code.redraw()
        self._mark_stops(stops)
        if isinstance(self.screen, StopList):
            self.screen.update(self.world.stops)

    def _mark_stops(self, stops: Sequence[Any]) -> None:
        """The exits of the queue at which a condition would stop have a mark."""
        self.stops = RowStops(self.timeline)
        add = {"condition": self.stops.add, "mapping": self.stops.add_watch}
        for stop in stops:
            if stop["enabled"] and stop["kind"] in add:
                with suppress(ValueError):
                    add[stop["kind"]](stop["text"])
        self.queue.stops_at = self.stops.stops_at
        self.queue.redraw()

    def action_breakpoints(self) -> None:
        self._quiet()
        dialog = StopList(self.world.stops, self._change_stop, self.palette, self.ascii_only)
        self._stops_changed(None)

        def done(name: str | None) -> None:
            if name == "add":
                self.action_breakpoint()

        _ = self.push_screen(dialog, done)

    def _change_stop(self, how: str, stop: Breakpoint) -> None:
        for wire in self._wires():
            if how == "remove":
                wire.ask("remove_breakpoint", self._stops_changed, id=stop["id"])
            else:
                wire.ask("change_breakpoint", self._stops_changed,
                         id=stop["id"], enabled=not stop["enabled"])  # fmt: skip

    def action_last_write(self) -> None:
        self._quiet()

        def judge(text: str, cursor: int) -> Verdict:
            if not text.strip():
                return Verdict(False, "")
            found = judge_stop(f"watch {text}", cursor + 6, self.names)
            if is_converted(text):
                return Verdict(False, "bytes that were written: an address, and how many")
            says = found.says.replace("stops before a write", "back to the last write")
            return found._replace(says=says, start=max(found.start - 6, 0))

        memory = self.pane(MEMORY, MemoryPane)
        text = memory.label or (f"{memory.base:x}" if memory.chosen else "")
        self.ask(own("last write"), _ABOUT_WRITE, judge, self._last_write, text, "address")

    def _last_write(self, text: str) -> None:
        stop = parse_stop(f"watch {text}", self.names)
        arguments = {**_arguments(stop, self.world.state)}
        arguments.pop("text", None)
        self._travel("last_write", **arguments)

    def action_memory(self) -> None:
        self._quiet()
        judge = partial(judge_address, names=self.names)
        self.ask(own("memory at"), _ABOUT_ADDRESS, judge, self._look_at, history="address")

    def _look_at(self, text: str) -> None:
        found = parse_address(text, self.names)
        self.pane(MEMORY, MemoryPane).look_at(found.value, linear=found.linear, label=found.text)
        self.focus_pane(MEMORY)

    def action_processor(self) -> None:
        self._quiet()
        state = self.world.state
        if state.vcpus < 2:
            self.tell("this guest has one vCPU", "dim")
            return
        now = self.looking.vcpu if self.looking.vcpu is not None else state.vcpu
        self.looking.vcpu = (now + 1) % state.vcpus
        wire = self.world.wire if self.following else self.past.wire
        if wire is not None and wire.alive and not wire.running:
            self.looking.look(wire, past=not self.following)


class LinuxApp(LiveApp):
    """The same for a Linux guest, of which one sees its console most."""

    PLAN: ClassVar[Plan] = LINUX
    HINTS: ClassVar[Mapping[str, Hints]] = LINUX_HINTS
    #: An idle shell waits as long as somebody who types does.
    PACE: ClassVar[Mapping[str, bool]] = {"paced": True}


_COMMANDS = {"write": "add_watchpoint", "mapping": "watch_conversions"}


def _command(stop: Stop) -> str:
    return _COMMANDS.get(stop.kind, "add_breakpoint")


def _arguments(stop: Stop, state: State) -> Mapping[str, Any]:
    if stop.address is None:
        return {"condition": stop.text}
    if stop.kind == "code":
        return {"address": stop.address.value, "text": stop.text}
    if stop.kind == "mapping":
        return {"gpa": stop.address.value, "size": stop.size, "text": stop.text}
    vcpu = {"vcpu": state.vcpu} if stop.address.linear else {}
    where = {"address": stop.address.value, "size": stop.size}
    return {**where, "text": stop.text, **vcpu}
