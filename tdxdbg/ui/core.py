"""The screen of a recording: the app owns the cursor; panes are shown the moment under it.

One key is one call of `show`, which hands every pane the new moment before
control returns to textual, so all of them change in one frame.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from time import monotonic
from typing import Any, ClassVar, Final, TypeVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from tdxdbg.engine import BY_NAME, GENERATIONS, Generation
from tdxdbg.errors import TraceError
from tdxdbg.filters import Filter
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.traces import Trace
from tdxdbg.ui.cursor import Cursor
from tdxdbg.ui.dialogs import Dialog, Generations, about_lines
from tdxdbg.ui.keys import KEYS, Key
from tdxdbg.ui.layout import HINTS, QUEUE, REPLAY, STATUS, Plan
from tdxdbg.ui.lines import concat, own, word
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.paned import Paned
from tdxdbg.ui.panes import PANES
from tdxdbg.ui.panes.base import MomentPane
from tdxdbg.ui.panes.queue import QueuePane
from tdxdbg.ui.screen import PanesScreen, bindings, freeze
from tdxdbg.ui.status import HintLine, Message, StatusLine
from tdxdbg.ui.tested import Tested
from tdxdbg.ui.themes import textual_theme
from tdxdbg.ui.widgets.desk import Desk
from tdxdbg.ui.widgets.lines_widget import LinesWidget

#: How long work that can wait may take at once, and how long it pauses, in seconds.
SLICE: Final = 0.004
PAUSE: Final = 0.02
#: Records read, rows counted between two looks at the clock.
_CATCH_UP: Final = 128
_SCAN: Final = 16
#: Slices of reading between two looks whether the history is known.
_LOOK: Final = 20


Kind = TypeVar("Kind", bound=Screen[Any])


class Core(Paned, inherit_bindings=False):
    """What every screen over a recording has: panes, cursor, kernels; features are mixed in."""

    CSS = """
    Screen { layout: vertical; overflow: hidden; background: $background; }
    ModalScreen { align: center middle; background: $background 60%; }
    ConditionPrompt { align: center bottom; background: $background 20%; }
    App:ansi ModalScreen { background: transparent; }
    DialogPane, PromptPane { max-width: 100%; max-height: 100%; }
    """
    AUTO_FOCUS: ClassVar[str | None] = f"#{QUEUE}"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
    #: What a screen is made of: panes by name, where they stand, keys.
    PANES: ClassVar[Mapping[str, type[MomentPane]]] = PANES
    PLAN: ClassVar[Plan] = REPLAY
    KEYS: ClassVar[tuple[Key, ...]] = KEYS

    def __init__(
        self,
        trace: Trace,
        palette: Palette,
        *,
        generation: Generation | None = None,
        at: int = 0,
        wanted: Filter | None = None,
        ascii_only: bool = False,
        title: str = "",
        notice: str = "",
    ) -> None:
        """`at` is the row to begin with, `title` names the recording, `notice` is said first."""
        super().__init__()
        self.trace = trace
        self.palette = palette
        self.ascii_only = ascii_only
        own_timeline = Timeline(trace)
        self._timelines = {own_timeline.generation.name: own_timeline}
        self._wanted = wanted
        self._notice = notice
        #: Where one was before the last jump: row and step.
        self.came_from: tuple[int, int] | None = None
        self._waited = 0
        #: What was shown last of a place whose history will not be known.
        self._unknown: Moment | None = None
        self.panes: dict[str, MomentPane] = {name: made(name) for name, made in self.PANES.items()}
        self.status = StatusLine(STATUS, title or trace.name)
        self.hints = HintLine(HINTS)
        self.bars = self.make_bars()
        self.desk = Desk(*self.panes.values(), *self.bars, plan=self.PLAN)
        self.matches: Matches | None = None
        self.cursor = Cursor(self._timeline(generation or own_timeline.generation))
        self.cursor.to_row(at)
        self.set_up()

    def set_up(self) -> None:
        """What features keep; each calls the next one's."""

    @property
    def queue(self) -> QueuePane:
        """The pane that lists the exits."""
        queue = self.panes[QUEUE]
        assert isinstance(queue, QueuePane)
        return queue

    # --- start and end ----------------------------------------------------------------

    def make_bars(self) -> tuple[LinesWidget, ...]:
        """The lines around the panes."""
        return self.status, self.hints

    def get_default_screen(self) -> Screen[None]:
        return PanesScreen(id="_default")

    def compose(self) -> ComposeResult:
        self.register_theme(textual_theme(self.palette))
        self.theme = self.palette.name
        for widget in (*self.bars, *self.panes.values()):
            widget.dress(self.palette, self.ascii_only)
        for pane in self.panes.values():
            pane.choose_tab = self.focus_pane
        self.queue.choose_row = self.go
        self.hints.with_filter = self._wanted is not None
        self._use_timeline()
        self.show()
        self._greet()
        yield self.desk

    def _greet(self) -> None:
        problems = self.trace.problems
        if self._notice:
            self.hints.say(Message(word(self._notice)[0], "error"))
        elif problems:
            count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
            text = f"{count} in this file ({self.key('about')}: all): "
            self.hints.say(Message(concat(own("‼ "), word(text + problems[0])[0]), "error"))

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self.desk, self._draw_again)
        self.set_interval(PAUSE, self._background)
        if not self.is_headless:
            # Long-lived objects are no work for the collector any more.
            self.set_timer(1.0, freeze)
            self.end_on_signals()

    def _draw_again(self, app: App[Any]) -> None:
        """After a suspension the terminal shows nothing of ours any more."""
        for screen in app.screen_stack:
            screen.refresh()

    # --- the cursor -------------------------------------------------------------------

    @property
    def timeline(self) -> Timeline:
        return self.cursor.timeline

    def moment(self) -> Moment | None:
        """The moment under the cursor; None in an empty recording."""
        if not self.cursor.rows:
            return None
        return self.timeline.moment(self.cursor.row, self.cursor.step)

    def show(self) -> None:
        """Show every pane the moment under the cursor, now."""
        try:
            moment = self.moment()
        except TraceError as error:
            self.hints.say(Message(word(str(error))[0], "error"))
            return
        for pane in self.panes.values():
            pane.show(moment)
        self.status.show(self.timeline, moment, self.matches)

    def go(self, row: int, step: int = 0) -> None:
        """Move the cursor and show what is there."""
        self._quiet()
        self.cursor.to_row(row, step)
        self.show()

    def jump(self, row: int, step: int = 0) -> None:
        """`go`, to a place that is not the next one: there is a way back."""
        before = self.cursor.row, self.cursor.step
        self.go(row, step)
        if before != (self.cursor.row, self.cursor.step):
            self.came_from = before

    def _quiet(self) -> None:
        self._drop_count()
        self.hints.say(None)

    def move(self, lines: int) -> None:
        """Down the queue, or up; over the exits that it lists."""
        self.go(self.queue.listed.beyond(self.cursor.row, lines))

    def action_row(self, rows: int) -> None:
        self.move(rows)

    def action_step(self, direction: int) -> None:
        self._quiet()
        moved = self.cursor.forward() if direction > 0 else self.cursor.back()
        if moved:
            self.show()
        else:
            end = own("the last step of the recording") if direction > 0 else own("the first step")
            self.hints.say(Message(end, "dim"))

    def action_end(self, direction: int) -> None:
        count = self._count
        if count and direction > 0:
            before = self._count_from
            self._drop_count()
            self._look(before)
            self.jump(int(count))
            return
        self.to_end(direction)

    def to_end(self, direction: int) -> None:
        """The first or the last exit."""
        self.jump(0 if direction < 0 else self.cursor.rows - 1)

    def action_page(self, pages: float) -> None:
        pane = self.panes[self.desk.view.focus]
        lines = int(max(pane.rows, 1) * pages)
        if pane.id == QUEUE:
            self.move(lines)
        else:
            pane.scroll_lines(lines)

    def action_arrow(self, cells: int, lines: int) -> None:
        pane = self.panes[self.desk.view.focus]
        if pane.id == QUEUE and lines:
            self.move(lines)
        else:
            pane.scroll_lines(lines, cells)

    def action_stop(self) -> None:
        self._quiet()

    # --- a recording that grows -----------------------------------------------------------

    def row_sets(self) -> Iterator[Tested]:
        """Everything that was counted over the rows."""
        if self.matches is not None:
            yield self.matches

    def matching(self, timeline: Timeline, wanted: Filter) -> Matches:
        """The rows that a filter selects, not counted yet."""
        return Matches(timeline, wanted)

    def recounted(self, changed: Collection[Matches]) -> None:
        """More rows of these are known, which were not counted here."""
        if self.matches in changed:
            self._count_shown(self.matches)

    def take_in(self) -> bool:
        """Read what was recorded since; False when that is nothing."""
        if not self.trace.refresh():
            return False
        rows: set[int] = set()
        for timeline in self._timelines.values():
            rows |= timeline.grown()
        for counted in self.row_sets():
            counted.grown(rows)
        self.queue.grown()
        return True

    # --- another kernel ----------------------------------------------------------------

    def _timeline(self, generation: Generation) -> Timeline:
        found = self._timelines.get(generation.name)
        if found is None:
            first = next(iter(self._timelines.values()))
            found = self._timelines[generation.name] = first.with_generation(generation)
        return found

    def use_trace(self, trace: Trace) -> None:
        """Another recording, from its first exit."""
        self.trace = trace
        timeline = Timeline(trace)
        self._timelines = {timeline.generation.name: timeline}
        self.cursor = Cursor(timeline)
        self._use_timeline()

    def _use_timeline(self) -> None:
        for pane in self.panes.values():
            pane.attach(self.timeline)
        wanted = self._wanted
        self.matches = self.matching(self.timeline, wanted) if wanted is not None else None
        self.queue.matches = self.matches

    def use_kernel(self, generation: Generation) -> None:
        """The same guest under that kernel, at the same place."""
        self._quiet()
        self.cursor.under(self._timeline(generation))
        self._use_timeline()
        self.queue.redraw()
        self.show()

    def action_kernel(self, direction: int) -> None:
        at = GENERATIONS.index(self.timeline.generation) + direction
        self.use_kernel(GENERATIONS[at % len(GENERATIONS)])

    def action_kernels(self) -> None:
        dialog = Generations(self.timeline, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, self._chosen)

    def _chosen(self, name: str | None) -> None:
        if name is not None:
            self.use_kernel(BY_NAME[name])

    # --- the rest ---------------------------------------------------------------------

    def action_about(self) -> None:
        made = partial(about_lines, self.timeline)
        title = own("about this recording")
        _ = self.push_screen(Dialog(title, made, self.palette, self.ascii_only))

    def key(self, id: str) -> str:
        """The key that does this, as help writes it."""
        return self.hints.key(id)

    def tell(self, text: str, role: str = "error") -> None:
        """News in the place of the keys, until the next key; any text."""
        self.hints.say(Message(word(text)[0], role))

    def on_top(self, kind: type[Kind]) -> Kind | None:
        """The dialog that is open, if it is one of this kind; also while the app ends."""
        screen = self.screen_stack[-1] if self.screen_stack else None
        return screen if isinstance(screen, kind) else None

    def state(self) -> dict[str, object]:
        """What a person set up on this screen, as plain data; features add theirs."""
        return {}

    def restore(self, state: Mapping[str, object]) -> list[str]:
        """Set it up again; a line for each thing that is not as `state` makes it."""
        return []

    def _background(self) -> None:
        """A slice of the work that can wait: history, counting."""
        stop = monotonic() + SLICE
        moment = self.panes[QUEUE].moment
        unknown = moment is not None and moment.gpa_map is None and self.timeline.has_map
        if unknown and moment is not self._unknown:
            self._read_on(stop)
        elif self.matches is not None and self.matches.to_count:
            self._count_on(self.matches, stop)
        else:
            self.work_on(stop)

    def work_on(self, stop: float) -> None:
        """What features can do when nothing else waits, until the clock says `stop`."""

    def _read_on(self, stop: float) -> None:
        """Read the history that the place of the cursor needs; look now and then if it is there."""
        left = 1
        while left and monotonic() < stop:
            left = self.timeline.catch_up(_CATCH_UP)
        self._waited += 1
        if not left or self._waited % _LOOK == 0:
            self.show()
        if not left:
            self._unknown = self.queue.moment

    def _count_on(self, matches: Matches, stop: float) -> None:
        count(matches, stop)
        self._count_shown(matches)

    def _count_shown(self, matches: Matches | None) -> None:
        self.queue.redraw_foot()
        self.status.show(self.timeline, self.queue.moment, matches)


def count(counted: Tested, stop: float) -> None:
    """Count rows until the clock says `stop`."""
    while counted.to_count and monotonic() < stop:
        counted.scan(_SCAN)
