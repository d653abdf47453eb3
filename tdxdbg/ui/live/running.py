"""Keys that let the guest run, or go back; the present, the past, forks, and the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tdxdbg.decode.text import Safe
from tdxdbg.errors import TdxdbgError
from tdxdbg.filters import Filter
from tdxdbg.traces import open_trace
from tdxdbg.ui.answer.form import WrongValueError
from tdxdbg.ui.judging import Here
from tdxdbg.ui.layout import CODE, QUEUE, UAPI
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.live.judge import judge_written, with_console
from tdxdbg.ui.live.screen import LiveScreen
from tdxdbg.ui.live.targets import TargetError, parse_written
from tdxdbg.ui.live.wire import State, Wire
from tdxdbg.ui.live.world import World
from tdxdbg.ui.panes.uapi import UapiPane
from tdxdbg.ui.prompt import Choice, Offer, Verdict
from tdxdbg.ui.stop_list import Breakpoint

_INTERRUPTED = 130
_TO_COME = 1 << 62


class LiveRun(LiveScreen):
    """One method a key."""

    #: How halted time passes while the guest runs on (`Session.cont`).
    PACE: ClassVar[Mapping[str, bool]] = {}
    RUN_TO: ClassVar[tuple[Safe, ...]] = (
        own("415   'a   retry and vcpu == 1   console login:"),
        own("An exit's number, a bookmark, the first exit that way which matches,"),
        own("or where the guest has written a text to its console."),
    )
    _focus_before = QUEUE

    def add_stop_like(self, stop: Breakpoint) -> None:
        """The same breakpoint in this world."""

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
            self._in_the_present(self.go_on)

    def go_on(self, **wanted: Any) -> None:
        """Run to a breakpoint, or to what is wanted (`Session.cont`)."""
        self.run_guest("cont", **self.PACE, **wanted)

    def _travel(self, command: str, **arguments: Any) -> None:
        """Go elsewhere in the past, from where one looks."""
        if not self.world.wire.alive:
            self.tell(f"the worker is gone: {self.key('restart')} starts the guest again")
            return
        if self.following and self.world.running:
            self.tell(f"the guest runs: {self.key('interrupt')} stops it", "dim")
            return
        if self.following:
            self.past.seek(self.world.wire, command, **arguments)
        else:
            self.look_back()
            self.past.when_there(lambda: self.past.move(command, **arguments))
        self.say()

    def _here(self) -> Here:
        """A place to run to may be an exit that is still to come."""
        here = super()._here()
        return here._replace(total=_TO_COME) if self.following else here

    def run_to_row(self, row: int) -> None:
        if row < len(self.timeline):
            super().run_to_row(row)
        else:
            self.go_on(until=f"index >= {row}")

    def run_to_match(self, wanted: Filter, direction: int) -> None:
        if direction > 0 and self.following:
            self.go_on(until=wanted.text)
        else:
            super().run_to_match(wanted, direction)

    def judge_run_to(self, text: str, cursor: int) -> Verdict:
        return judge_written(text, cursor, 1) or with_console(
            super().judge_run_to(text, cursor), text, cursor
        )

    def judge_back_to(self, text: str, cursor: int) -> Verdict:
        return judge_written(text, cursor, -1) or super().judge_back_to(text, cursor)

    def _run_to(self, text: str, direction: int) -> None:
        try:
            written = parse_written(text, direction)
        except TargetError as error:
            self.tell(str(error))
            return
        if written is None:
            super()._run_to(text, direction)
        elif self.following:
            self.go_on(serial=written)
        else:
            self._travel("cont", serial=written)

    def action_interrupt(self) -> None:
        if self.stop_hunting():
            return
        if self.world.running:
            self.world.wire.interrupt()
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
        if not world.wire.alive:
            self.tell("the worker is gone: nothing can be forked off")
            return
        if self.following and world.running:
            self.tell(
                f"the guest runs: {self.key('interrupt')} stops it, then {self.key('fork')} forks",
                "dim",
            )
            return
        if self.following:
            place = {"steps": world.state.steps, "instructions": world.state.instructions}
            world.wire.ask("go_to", lambda made: self._make_live(Wire(made), then),
                           self.tell, **place)  # fmt: skip
            return
        self.look_back()
        self.past.when_there(lambda: self._fork_past(then))
        self.say()

    def _fork_past(self, then: Callable[[], object] | None) -> None:
        wire = self.past.take()
        if wire is not None:
            self._make_live(wire, then)

    def _make_live(self, wire: Wire, then: Callable[[], object] | None) -> None:
        came_from = self.world
        back = self.situation().behind
        self.listen(wire)

        def made(state: State) -> None:
            wire.state = state
            before = f"{back} before the present" if back else "the present"
            story = f"{before} of {came_from.name}"
            try:
                trace = open_trace(wire.session.trace_path)
            except TdxdbgError as error:
                refused(str(error))
                return
            name = self._free_name("fork")
            self.enter(World(wire, trace, name, story, stops=came_from.stops))
            if then is not None:
                then()

        def refused(text: str) -> None:
            wire.close()
            self.tell(text)

        wire.ask("make_live", made, refused)

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
        try:
            session = await asyncio.to_thread(self.start_again)
            trace = open_trace(session.trace_path)
        except TdxdbgError as error:
            self.tell(str(error))
            return
        self.hints.say(None)
        world = World(Wire(session), trace, self._free_name("live"), "started again")
        self.listen(world.wire)
        self.enter(world)
        for stop in self.worlds[0].stops:
            self.add_stop_like(stop)

    # --- the answer ---------------------------------------------------------------------

    def action_edit(self) -> None:
        self._quiet()
        self._in_the_present(self._edit)

    def _edit(self) -> None:
        uapi = self.pane(UAPI, UapiPane)
        form = uapi.form
        if form is None:
            self.tell(
                f"no exit waits for an answer: {self.key('step')} runs to the next one", "dim"
            )
        elif not form.fields:
            self.tell(f"this exit has no answer: {self.key('step')} calls KVM_RUN again", "dim")
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
            self.world.wire.ask("edit", self._edited_then_step, self.tell, fields=values)
        else:
            self.run_guest("step")

    def _edited_then_step(self, state: State) -> None:
        self.world.wire.state = state
        self.run_guest("step")

    def action_undo(self) -> None:
        self._quiet()
        if not self.following or not self.world.held:
            self.tell("no answer to undo here", "dim")
            return
        self.world.wire.ask("edit", self._changed, self.tell, fields={})

    def _changed(self, state: State) -> None:
        """The present is another one, without having run."""
        self.world.wire.state = state
        self.grow()
        if self.following:
            self.follow()
