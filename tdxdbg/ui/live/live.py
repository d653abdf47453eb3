"""What a person asks of a live run: one method a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tdxdbg.errors import TdxdbgError
from tdxdbg.traces import open_trace
from tdxdbg.ui.layout import CODE, MEMORY, UAPI
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.live.answer import WrongValueError
from tdxdbg.ui.live.app import LiveScreen
from tdxdbg.ui.live.judge import judge_address, judge_stop, judge_vector, parse_vector
from tdxdbg.ui.live.link import Link, Session, State
from tdxdbg.ui.live.stops import Breakpoint, StopList
from tdxdbg.ui.live.targets import Names, Stop, parse_address, parse_stop
from tdxdbg.ui.live.world import World
from tdxdbg.ui.panes.code import CodePane
from tdxdbg.ui.panes.memory import MemoryPane
from tdxdbg.ui.panes.uapi import UapiPane
from tdxdbg.ui.prompt import Choice, Offer, Prompt, Verdict

_INTERRUPTED = 130
_ABOUT_STOPS = (
    own("leaf == MapGPA      an exit, in the language of --filter"),
    own("map_gpa, at 101000  before an instruction: symbol or address"),
    own("watch symbol 8      before a write to so many bytes; also gpa 2000"),
)
_ABOUT_ADDRESS = (
    own("A symbol, a register (rsp-20), a virtual address in hex (101000),"),
    own("or a guest physical one: gpa 2000."),
)
_ABOUT_VECTOR = (own("A vector from 16 to 255, and perhaps the vCPU: 0x21 1."),)
_ABOUT_WRITE = (
    own("Goes back to just before the last write to these bytes: symbol 8, gpa 2000 4096."),
)


class LiveApp(LiveScreen):
    """The screen of a live run, with its keys."""

    # --- running ------------------------------------------------------------------------

    def action_step(self, direction: int) -> None:
        self._quiet()
        if direction > 0:
            self._step_forward()
        else:
            self._step_back()

    def _step_forward(self) -> None:
        if self.following:
            self.run_guest("step")
            return
        if not self.cursor.forward() or self._at_newest():
            self.follow()
        else:
            self.moved()

    def _at_newest(self) -> bool:
        """Whether the cursor is at the newest step, and the present exactly at its end."""
        last = len(self.timeline) - 1
        steps = self.timeline.steps(last)
        at_end = (self.cursor.row, self.cursor.step) == (last, steps - 1)
        return at_end and not self.world.state.since_step

    def _step_back(self) -> None:
        past = self.past.state
        mid = self.world.state.since_step if self.following else past.since_step if past else 0
        if mid and len(self.timeline):
            # From between two instructions to the end of the step before them.
            self.moved()
        elif self.cursor.back():
            self.moved()
        else:
            self.tell("the first step", "dim")

    def action_row(self, rows: int) -> None:
        self.go(self.cursor.row + rows)

    def action_instruction(self, direction: int) -> None:
        self._quiet()
        command = "step_instruction" if direction > 0 else "reverse_step_instruction"
        self.desk.change(self.desk.view.raised(CODE))
        if direction > 0 and self.following:
            self.run_guest(command)
        else:
            self._travel(command)

    def action_cont(self, direction: int) -> None:
        self._quiet()
        if direction < 0:
            self._travel("reverse_cont")
        else:
            self._in_the_present(lambda: self.run_guest("cont"))

    def _travel(self, command: str, **arguments: Any) -> None:
        """Go elsewhere in the past, from where one looks."""
        if not self.world.link.alive:
            self.tell("the worker is gone: R starts the guest again")
            return
        if self.following and self.world.running:
            self.tell("the guest runs: Ctrl-C stops it", "dim")
            return
        if self.following:
            self.past.seek(self.world.link, command, **arguments)
        else:
            self.look_back()
            self.past.when_there(lambda: self.past.move(command, **arguments))
        self.say()

    def action_interrupt(self) -> None:
        if self.world.running:
            self.world.link.interrupt()
        elif not self.past.interrupt():
            self.exit(None, _INTERRUPTED)

    def action_follow(self) -> None:
        self._quiet()
        self.follow()

    # --- the present, a fork, or neither --------------------------------------------------

    def _in_the_present(self, then: Callable[[], object]) -> None:
        """Do something that changes the run: in the past, ask what is meant."""
        if self.following:
            then()
            return
        offers = (
            Offer(
                "fork",
                ("f", "F"),
                own("f"),
                ((own("fork: go on from here, another world"), "text"),),
            ),
            Offer("present", ("p",), own("p"), ((own("do it in the present"), "text"),)),
        )
        question = (
            own("This is the past, and stays as it was. What was to come stays reachable (o)."),
        )

        def chosen(name: str | None) -> None:
            if name == "fork":
                self._fork(then)
            elif name == "present":
                self.follow()
                then()

        title = own("run from the past?")
        dialog = Choice(title, question, offers, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, chosen)

    def action_fork(self) -> None:
        self._quiet()
        self._fork(None)

    def _fork(self, then: Callable[[], object] | None) -> None:
        world = self.world
        if not world.link.alive:
            self.tell("the worker is gone: nothing can be forked off")
            return
        if self.following and world.running:
            self.tell("the guest runs: Ctrl-C stops it, then F forks", "dim")
            return
        if self.following:
            place = {"steps": world.state.steps, "instructions": world.state.instructions}
            world.link.ask("go_to", lambda made: self._make_live(Link(made), then),
                           self.tell, **place)  # fmt: skip
            return
        self.look_back()
        self.past.when_there(lambda: self._fork_past(then))
        self.say()

    def _fork_past(self, then: Callable[[], object] | None) -> None:
        link = self.past.take()
        if link is not None:
            self._make_live(link, then)

    def _make_live(self, link: Link, then: Callable[[], object] | None) -> None:
        came_from = self.world
        back = self.situation().behind
        self.listen(link)

        def made(state: State) -> None:
            link.state = state
            before = f"{back} before the present" if back else "the present"
            story = f"{before} of {came_from.name}"
            try:
                trace = open_trace(link.session.trace_path)
            except TdxdbgError as error:
                self.tell(str(error))
                return
            name = self._free_name("fork")
            self.enter(World(link, trace, name, story, stops=came_from.stops))
            if then is not None:
                then()

        link.ask("make_live", made, self.tell)

    def _free_name(self, kind: str) -> str:
        """`fork 1`, `live 2`."""
        number = sum(world.name.startswith(kind) for world in self.worlds) + 1
        return f"{kind} {number}"

    def action_worlds(self) -> None:
        self._quiet()
        offers = [
            Offer(str(at), (str(at + 1),), word(str(at + 1))[0], self._world_line(world))
            for at, world in enumerate(self.worlds)
        ]
        dialog = Choice(own("worlds"), (), offers, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, self._to_world)

    def _world_line(self, world: World) -> tuple[tuple[Any, str], ...]:
        here = own("▶ ") if world is self.world else own("  ")
        text = f"{world.name:<8} {world.doing.replace('_', ' '):<8}"
        exits = f"{len(world.trace):>8,} exits  {world.story}"
        return (here, "focus"), word(text, "name"), word(exits, "text")

    def _to_world(self, name: str | None) -> None:
        if name is not None and self.worlds[int(name)] is not self.world:
            self.enter(self.worlds[int(name)])

    def action_restart(self) -> None:
        self._quiet()
        self.tell("starting the guest again…", "dim")
        self.run_worker(self._restart(), exclusive=True, group="restart")

    async def _restart(self) -> None:
        import asyncio

        try:
            session = await asyncio.to_thread(self.start_again)
            trace = open_trace(session.trace_path)
        except TdxdbgError as error:
            self.tell(str(error))
            return
        self.hints.say(None)
        world = World(Link(session), trace, self._free_name("live"), "started again")
        self.enter(world)
        for stop in self.worlds[0].stops:
            self._add_stop_like(stop)

    # --- the answer ---------------------------------------------------------------------

    def action_edit(self) -> None:
        self._quiet()
        self._in_the_present(self._edit)

    def _edit(self) -> None:
        uapi = self.pane(UAPI, UapiPane)
        form = uapi.form
        if form is None:
            self.tell("no exit waits for an answer: s runs to the next one", "dim")
        elif not form.fields:
            self.tell("this exit has no answer: s calls KVM_RUN again", "dim")
        else:
            form.start()
            uapi.give, uapi.dropped = self._give, self._dropped
            self._focus_before = self.desk.view.focus
            self.focus_pane(UAPI)
            uapi.show(uapi.moment)
            tab = "  Tab: next field" if len(form.fields) > 1 else ""
            self.tell(f"{form.takes()}  Enter gives it{tab}  Esc drops it", "focus")

    def _dropped(self) -> None:
        self.hints.say(None)
        self.focus_pane(self._focus_before)

    def _give(self) -> None:
        """Enter: what was typed is the answer, and the guest gets it."""
        uapi = self.pane(UAPI, UapiPane)
        form = uapi.form
        if form is None:
            return
        try:
            values = form.values()
        except WrongValueError as error:
            self.tell(str(error))
            return
        form.cancel()
        self.hints.say(None)
        self.focus_pane(self._focus_before)
        if values:
            self.world.link.ask("edit", self._edited_then_step, self.tell, fields=values)
        else:
            self.run_guest("step")

    def _edited_then_step(self, state: State) -> None:
        self.world.link.state = state
        self.run_guest("step")

    def action_undo(self) -> None:
        self._quiet()
        if not self.following or not self.world.held:
            self.tell("no answer to undo here", "dim")
            return
        self.world.link.ask("edit", self._changed, self.tell, fields={})

    def _changed(self, state: State) -> None:
        """The present is another one, without having run."""
        self.world.link.state = state
        self.grow()
        if self.following:
            self.follow()

    # --- interrupts, breakpoints, memory ----------------------------------------------------

    def _prompt(
        self,
        title: Any,
        about: Sequence[Any],
        judge: Callable[[str, int], Verdict],
        then: Callable[[str], object],
        text: str = "",
    ) -> None:
        def done(answer: str | None) -> None:
            if answer is not None:
                then(answer)

        dialog = Prompt(title, about, judge, self.palette, self.ascii_only, text)
        _ = self.push_screen(dialog, done)

    @property
    def names(self) -> Names:
        """What an address can be named by, where one looks."""
        return Names(self.program.symbols, self.looking.registers)

    def action_inject(self) -> None:
        self._quiet()
        self._in_the_present(
            lambda: self._prompt(
                own("raise an interrupt"), _ABOUT_VECTOR, judge_vector, self._inject
            )
        )

    def _inject(self, text: str) -> None:
        vector, vcpu = parse_vector(text)

        def raised(state: State) -> None:
            self._changed(state)
            self.tell(f"vector {vector:#x} is pending at vCPU {vcpu}", "ok")

        self.world.link.ask("inject", raised, self.tell, vector=vector, vcpu=vcpu)

    def action_breakpoint(self) -> None:
        self._quiet()
        judge = partial(judge_stop, names=self.names)
        self._prompt(own("stop at"), _ABOUT_STOPS, judge, self._add_stop)

    def action_watch(self) -> None:
        self._quiet()
        judge = partial(judge_stop, names=self.names)
        self._prompt(own("stop at"), _ABOUT_STOPS, judge, self._add_stop, "watch ")

    def _add_stop(self, text: str) -> None:
        stop = parse_stop(text, self.names)
        for link in self._links():
            link.ask(_command(stop), self._stops_changed, self.tell, **_arguments(stop, link.state))

    def _add_stop_like(self, stop: Breakpoint) -> None:
        """The same breakpoint in another world."""
        how: dict[str, Any] = {"condition": stop["text"]}
        command = "add_breakpoint"
        if stop["kind"] == "address":
            how = {"address": stop["address"], "text": stop["text"]}
        elif stop["kind"] == "watch":
            command = "add_watchpoint"
            how = {"address": stop["address"], "size": stop["size"], "text": stop["text"]}
        self.world.link.ask(command, self._stops_changed, self.tell, **how)

    def _links(self) -> list[Link]:
        """The present, and the past that is looked at: both know the breakpoints."""
        return [link for link in (self.world.link, self.past.link) if link is not None]

    def _stops_changed(self, _: object) -> None:
        self.world.link.ask("breakpoints", self._show_stops)

    def _show_stops(self, stops: Sequence[Any]) -> None:
        self.world.stops = tuple(stops)
        code = self.pane(CODE, CodePane)
        code.breakpoints = {
            stop["address"]: stop["enabled"] for stop in stops if stop["kind"] == "address"
        }
        code.redraw()
        if isinstance(self.screen, StopList):
            self.screen.update(self.world.stops)

    def action_breakpoints(self) -> None:
        self._quiet()
        dialog = StopList(self.world.stops, self._change_stop, self.palette, self.ascii_only)
        self._stops_changed(None)

        def done(name: str | None) -> None:
            if name == "add":
                self.action_breakpoint()

        _ = self.push_screen(dialog, done)

    def _change_stop(self, how: str, stop: Breakpoint) -> None:
        for link in self._links():
            if how == "remove":
                link.ask("remove_breakpoint", self._stops_changed, id=stop["id"])
            else:
                link.ask("change_breakpoint", self._stops_changed,
                         id=stop["id"], enabled=not stop["enabled"])  # fmt: skip

    def action_last_write(self) -> None:
        self._quiet()

        def judge(text: str, cursor: int) -> Verdict:
            found = judge_stop(f"watch {text}", cursor + 6, self.names)
            says = found.says.replace("stops before a write", "back to the last write")
            return found._replace(says=says, start=max(found.start - 6, 0))

        memory = self.pane(MEMORY, MemoryPane)
        text = memory.label or (f"{memory.base:x}" if memory.chosen else "")
        self._prompt(own("last write"), _ABOUT_WRITE, judge, self._last_write, text)

    def _last_write(self, text: str) -> None:
        stop = parse_stop(f"watch {text}", self.names)
        arguments = {**_arguments(stop, self.world.state)}
        arguments.pop("text", None)
        self._travel("last_write", **arguments)

    def action_memory(self) -> None:
        self._quiet()
        judge = partial(judge_address, names=self.names)
        self._prompt(own("memory at"), _ABOUT_ADDRESS, judge, self._look_at)

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
        link = self.world.link if self.following else self.past.link
        if link is not None and link.alive and not link.running:
            self.looking.look(link, past=not self.following)


def _command(stop: Stop) -> str:
    return "add_watchpoint" if stop.kind == "write" else "add_breakpoint"


def _arguments(stop: Stop, state: State) -> Mapping[str, Any]:
    if stop.address is None:
        return {"condition": stop.text}
    if stop.kind == "code":
        return {"address": stop.address.value, "text": stop.text}
    vcpu = {"vcpu": state.vcpu} if stop.address.linear else {}
    where = {"address": stop.address.value, "size": stop.size}
    return {**where, "text": stop.text, **vcpu}


__all__ = ["LiveApp", "Session"]
