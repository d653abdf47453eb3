"""What all panes of a moment share: they are pure views of it."""

from __future__ import annotations

from typing import ClassVar, Final

from tdxdbg.decode.known import seen
from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import Call, call_of
from tdxdbg.engine import TdExit
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.ui.lines import Line, Span, line, own, wrap
from tdxdbg.ui.widgets.pane import Pane

Drawn = tuple[list[Line], tuple[Span, ...], int | None]

_NOTHING: Final = "No exits in this recording. {about} says what it is, and what is damaged in it."


class MomentPane(Pane):
    """Draws a moment; holds no state of the debuggee, only where it is scrolled to."""

    #: What the pane is for, shown where there is no moment.
    PURPOSE: ClassVar[Safe] = own("")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.timeline: Timeline | None = None
        self.moment: Moment | None = None
        #: What is said where there is no exit.
        self.empty: tuple[str, ...] = (_NOTHING, self.PURPOSE)

    def attach(self, timeline: Timeline) -> None:
        """Another recording, or the same one under another kernel."""
        self.timeline = timeline

    def show(self, moment: Moment | None) -> None:
        """Draw this moment, in the coming frame; a pane that is not seen draws it later."""
        if self._other_row(moment):
            self.top = self.left = self.scrolled = 0
            self.at = None
        self.moment = moment
        if self.outer_size.width and self.outer_size.height:
            self.set_lines(*self.draw(moment))

    def light(self, where: tuple[int, int] | None) -> None:
        """Another pane points at these bytes of struct kvm_run: the first, and how many."""

    def _other_row(self, moment: Moment | None) -> bool:
        return moment is None or self.moment is None or moment.row != self.moment.row

    def fit(self) -> None:
        # Before textual says so, which is a frame later.
        self.show(self.moment)

    def on_resize(self) -> None:
        # One that was hidden may come back in the size that it had.
        self.show(self.moment)

    def draw(self, moment: Moment | None) -> Drawn:
        """The lines, the foot, and the line to have in view."""
        if moment is None:
            return self.explain(*map(self.spoken, self.empty)), (), None
        return self.draw_moment(moment)

    def draw_moment(self, moment: Moment) -> Drawn:
        """The same for a moment that is there."""
        return [], (), None

    def explain(self, *texts: Safe) -> list[Line]:
        """A pane with nothing to show says why and what to do."""
        return [line((piece, "dim")) for text in texts for piece in wrap(text, self.columns)]


def call_at(timeline: Timeline | None, moment: Moment) -> Call:
    """Which call the row of this moment is."""
    steps = timeline.recorded_steps(moment.row) if timeline is not None else []
    first = steps[0].input if steps else None
    if first is None or type(first.body) is not TdExit:
        return call_of(None, td=moment.td)
    return call_of(first.body, first.known, moment.td, seen(first.known))
