"""`tdxdbg live`: the screen of a recording, over one that grows, and keys that make it grow.

The panes of the recording come from the timeline, in the past as in the
present, at once. Instructions, registers and memory come from sessions: that
of the present, or one in the past that is made for looking. Nothing here
waits: what a session answers is taken when its descriptor is readable, and
what a running guest writes is shown ten times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Final, TypeVar

from textual.binding import BindingType
from textual.timer import Timer

from tdxdbg.decode.text import Safe
from tdxdbg.timeline.marks import REACH
from tdxdbg.traces import open_trace
from tdxdbg.ui.answer.form import AnswerForm
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.asks import asks_of
from tdxdbg.ui.keys import LIVE_HINTS, LIVE_KEYS, Hints, Key
from tdxdbg.ui.layout import CODE, CONSOLE, LIVE, MEMORY, NEWS, QUEUE, UAPI, Plan
from tdxdbg.ui.lines import own
from tdxdbg.ui.live.looking import Looking
from tdxdbg.ui.live.past import Past
from tdxdbg.ui.live.place import behind
from tdxdbg.ui.live.program import Program
from tdxdbg.ui.live.wire import Session, State, Wire
from tdxdbg.ui.live.words import START, NewsLine, Situation, badges
from tdxdbg.ui.live.world import World
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.panes import LIVE_PANES
from tdxdbg.ui.panes.base import MomentPane
from tdxdbg.ui.panes.code import CodePane
from tdxdbg.ui.panes.console import ConsolePane
from tdxdbg.ui.panes.memory import MemoryPane
from tdxdbg.ui.panes.queue import QueuePane
from tdxdbg.ui.panes.uapi import UapiPane
from tdxdbg.ui.remembered import LIVE_SAVED, Saved
from tdxdbg.ui.screen import bindings
from tdxdbg.ui.widgets.lines_widget import LinesWidget

#: Between two looks at what a running guest has recorded, in seconds.
FRAME: Final = 0.1
#: Records that a frame may read while a guest runs, for what is shared: a few ms.
HURRY: Final = 400
#: How long the cursor stays before a session in the past is sent after it, in seconds.
SETTLES: Final = 0.12
#: Commands that are asked for again while they are under way, and why they come back.
_REPEATED: Final = {"step": "a step", "step_instruction": "instruction count reached"}
_MOST_REPEATED: Final = 100
_NO_EXITS: Final = (
    "No exits yet.",
    "{step} runs the guest to its first exit, {instruction} one instruction, "
    "{continue} until something stops it.",
)
_NO_CODE: Final = (
    "The guest has not been asked yet.",
    "{step} runs it to its first exit, {instruction} one instruction.",
)
Kind = TypeVar("Kind", bound=MomentPane)


class LiveScreen(ReplayApp, inherit_bindings=False):
    """Worlds, the present and the past; what a person asks for is in `app.LiveApp`."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(LIVE_KEYS)
    PANES: ClassVar[Mapping[str, type[MomentPane]]] = LIVE_PANES
    PLAN: ClassVar[Plan] = LIVE
    KEYS: ClassVar[tuple[Key, ...]] = LIVE_KEYS
    SAVED: ClassVar[tuple[Saved, ...]] = LIVE_SAVED
    #: Useful keys by what the guest is doing.
    HINTS: ClassVar[Mapping[str, Hints]] = LIVE_HINTS

    def __init__(
        self,
        session: Session,
        palette: Palette,
        *,
        program: Program,
        start: Callable[[], Session],
        ascii_only: bool = False,
        title: str = "",
        notice: str = "",
    ) -> None:
        """`start` makes the same run once more; it may take a while."""
        trace = open_trace(session.trace_path)
        self.world = World(Wire(session), trace)
        self.worlds = [self.world]
        self.program = program
        self.start_again = start
        self.following = True
        self.guest = title
        self.news = NewsLine(NEWS)
        self._settle: Timer | None = None
        #: What runs the guest, and how often more it was asked for meanwhile.
        self._command, self._more = "", 0
        super().__init__(trace, palette, ascii_only=ascii_only, title=title, notice=notice)
        self.past = Past(self.listen, self._arrived, self._not_there)
        self.looking = Looking(
            self.pane(CODE, CodePane),
            self.pane(MEMORY, MemoryPane),
            self.pane(CONSOLE, ConsolePane),
            program,
        )
        self.looking.news = self.say
        for pane in self.panes.values():
            pane.empty = _NO_EXITS
        self.pane(CODE, CodePane).missing = _NO_CODE

    def pane(self, name: str, kind: type[Kind]) -> Kind:
        """A pane by its name, and what it is."""
        pane = self.panes[name]
        assert isinstance(pane, kind)
        return pane

    def make_bars(self) -> tuple[LinesWidget, ...]:
        return self.status, self.news, self.hints

    # Textual calls the one of each class.
    def on_mount(self) -> None:
        self.listen(self.world.wire)
        self.set_interval(FRAME, self._frame)
        self.pane(CONSOLE, ConsolePane).use(self.world.console)
        self._to_present()

    def close(self) -> None:
        """End every session; the recordings stay."""
        self.past.leave()
        for world in self.worlds:
            world.wire.close()
            world.trace.close()

    # --- sessions -----------------------------------------------------------------------

    def listen(self, wire: Wire) -> None:
        """Take what this session says as it says it."""
        number = wire.fileno()
        loop = asyncio.get_running_loop()

        def readable() -> None:
            if not wire.pump() and not wire.closed:
                loop.remove_reader(number)
                wire.ends = _nothing
                if wire is self.world.wire:
                    self._stopped(self.world, wire.state)

        loop.add_reader(number, readable)
        # Before the number can be another descriptor's.
        wire.ends = partial(loop.remove_reader, number)

    def run_guest(self, command: str, **arguments: object) -> None:
        """Let the guest of this world run, from the present."""
        world = self.world
        if world.running and command == self._command and command in _REPEATED:
            # A key that repeats faster than the guest steps loses nothing.
            self._more = min(self._more + 1, _MOST_REPEATED)
            return
        if not self._can_run():
            return
        self._command, self._more = command, 0
        self._run(world, command, **arguments)

    def _run(self, world: World, command: str, **arguments: object) -> None:
        self.hints.say(None)
        self._forget_form()
        refused = partial(self._refused, world)
        world.wire.run(command, partial(self._stopped, world), refused, **arguments)
        self.looking.leave("running")
        self.say()

    def _can_run(self) -> bool:
        world = self.world
        if world.running:
            self.tell(f"the guest runs: {self.key('interrupt')} stops it", "dim")
        elif world.wire.died:
            self.tell(f"the worker is gone: {self.key('restart')} starts the guest again", "error")
        elif world.over:
            self.tell(
                f"the guest has ended: {self.key('step_back')} goes back, "
                f"{self.key('restart')} starts it again",
                "dim",
            )
        else:
            return True
        return False

    def _stopped(self, world: World, state: State) -> None:
        """The guest of a world does not run any more."""
        if world is not self.world:
            return
        self.grow()
        if self._more and self.following and not world.over and state.why in _REPEATED.values():
            self._more -= 1
            self._run(world, self._command)
            return
        self._more = 0
        if self.following:
            self._to_present()
        else:
            self.say()

    def _refused(self, world: World, text: str) -> None:
        if world is self.world:
            self.grow()
            if not world.wire.died:
                self.tell(text, "error")
            if self.following:
                self._to_present()

    # --- a recording that grows -----------------------------------------------------------

    def _frame(self) -> None:
        """Ten times a second."""
        problem = self.program.arrived()
        if problem is not None:
            self.looking.names_came()
        if problem:
            self.tell(problem, "dim")
        if self.world.running:
            self.grow()
            self.looking.ask_console(self.world.wire, self.world.console)
            self.say()

    def grow(self) -> None:
        """Take in what was recorded since, and follow it."""
        hurry = self.world.running
        for timeline in self._timelines.values():
            timeline.reach = HURRY if hurry else REACH
        if not self.take_in():
            return
        if self.following:
            self._newest()
        self.show()

    def _newest(self) -> None:
        last = max(len(self.timeline) - 1, 0)
        self.cursor.to_row(last, self.timeline.steps(last) - 1 if len(self.timeline) else 0)

    # --- where one looks --------------------------------------------------------------------

    def follow(self) -> None:
        """To the present, and stay there."""
        if not self.following:
            self.following = True
            self.past.leave()
            if self._settle is not None:
                self._settle.stop()
        self._to_present()

    def _to_present(self) -> None:
        """Show where the guest stands now."""
        self._newest()
        self._make_form()
        world = self.world
        if world.wire.alive and not world.running:
            self.looking.look(world.wire, past=False)
            self.looking.ask_console(world.wire, world.console)
        else:
            self.looking.leave("running" if world.running else "gone")
        self.show()

    def go(self, row: int, step: int = 0) -> None:
        self._quiet()
        last = len(self.timeline) - 1
        if row >= last and not step:
            if self.following and row > last:
                self.tell("this is the newest exit", "dim")
            self.follow()
            return
        self.cursor.to_row(row, step)
        self.moved()

    def moved(self) -> None:
        """The cursor went into the past."""
        self.following = False
        self.past.leave()
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(SETTLES, self.look_back)
        self.looking.leave("reading" if self.world.wire.alive else "gone")
        self.show()

    def look_back(self) -> None:
        """Send a session to where the cursor is, unless one is there or on its way."""
        if self._settle is not None:
            self._settle.stop()
            self._settle = None
        if self.following or self.past.reading or self.past.wire is not None:
            return
        if self.world.wire.alive:
            row, step = self.cursor.row, self.cursor.step
            self.past.seek(self.world.wire, "go_to", row=row, step=step)
            self.say()

    def _arrived(self) -> None:
        """A session stands in the past."""
        state = self.past.state
        wire = self.past.wire
        if state is None or wire is None:
            return
        present = self.world.state
        if (state.steps, state.instructions) >= (present.steps, present.instructions):
            self.follow()
            return
        self.following = False
        if len(self.timeline):
            self.cursor.to_row(max(state.row, 0), max(state.step, 0))
        self.looking.look(wire, past=True)
        self.show()

    def _not_there(self, text: str) -> None:
        """The past could not be shown."""
        self.looking.leave("gone")
        self.tell(text, "error")
        self.say()

    # --- what is said -----------------------------------------------------------------------

    def show(self) -> None:
        self.say()
        super().show()

    def situation(self) -> Situation:
        """Everything that the lines above and below the panes say."""
        world = self.world
        back = ""
        if not self.following:
            row, step = self.cursor.row, self.cursor.step
            back = behind(self.timeline, row, step, world.state, self.past.state)
        sight = self.pane(CODE, CodePane).sight
        return Situation(
            doing=world.doing,
            state=world.state,
            world=world.name,
            behind=back,
            reading=not self.following and (self.past.reading or self._settle is not None),
            died=world.wire.died,
            asks=self._asks(),
            where=sight.where if sight is not None else "",
            at_start=self.past.state is not None and self.past.state.why == START,
        )

    def _asks(self) -> Safe:
        """What the exit that is held asks of userspace."""
        moment = self.moment() if self.following and self.world.held else None
        step = moment.shown if moment is not None else None
        if moment is None or step is None:
            return own("")
        return asks_of(step, moment.td)

    def say(self) -> None:
        """Bring the lines above and below the panes up to date."""
        now = self.situation()
        shown = badges(now)
        if shown != self.status.badges:
            self.status.badges = shown
            self.status.show(self.timeline, self.panes[QUEUE].moment, self.matches)
        self.news.show(now)
        self.hints.offer(self.HINTS[now.hints])

    # --- the answer that is waited for ------------------------------------------------------

    def _make_form(self) -> None:
        """What the uAPI pane shows of the answer that will be given."""
        self._forget_form()
        world = self.world
        moment = self.moment() if world.held else None
        step = moment.shown if moment is not None else None
        if moment is None or step is None or step.run is None:
            return
        uapi = self.pane(UAPI, UapiPane)
        uapi.form = AnswerForm.of(step.run, world.state.answer, world.state.proposed)
        uapi.form_at = moment.row, moment.step

    def _forget_form(self) -> None:
        self.pane(UAPI, UapiPane).form = None

    # --- worlds -----------------------------------------------------------------------------

    def enter(self, world: World) -> None:
        """Show another world, at its present."""
        if world not in self.worlds:
            self.worlds.append(world)
        self.past.leave()
        self.world = world
        self.following = True
        self.looking.vcpu = None
        self.status.rename(self.guest)
        self.use_trace(world.trace)
        self.pane(CONSOLE, ConsolePane).use(world.console)
        self.grow()
        self.pane(QUEUE, QueuePane).redraw()
        self._to_present()


def _nothing() -> None:
    """There is no reader to take away."""
