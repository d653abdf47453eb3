"""The two lines around the panes: where one is, and what the keys do."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.decode.text import Safe
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.ui.keys import HINTS, Hints, hint
from tdxdbg.ui.layout import shape_of
from tdxdbg.ui.lines import BLANK, Line, Span, concat, cut, joined, line, own, width_of, word
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.widgets.lines_widget import LinesWidget

_SPACE: Final = own(" ")
_NONE: Final = own("")
#: What is said in colour is said by a glyph too.
_MARKS: Final = {"error": own("‼ "), "ok": own("✓ ")}
_BETWEEN: Final = own("  ")
_KERNEL: Final = (own("kernel "), "dim")
#: Below this width the word "kernel" is left out.
_ROOMY: Final = 100
_PROGRAM: Final = own("tdxdbg")
REPLAY_BADGE: Final[Span] = (own(" REPLAY "), "badge")
#: Cells of the recording's name.
_SHORTEST: Final = 10
_LONGEST: Final = 48
#: Where the TD exits come from, said on every screen.
_ORIGINS: Final[dict[str, tuple[Safe, str]]] = {
    "hardware": (own("HARDWARE"), "ok"),
    "emulated": (own("EMULATED"), "unknown"),
    "synthetic": (own("SYNTHETIC"), "unknown"),
    "imported": (own("IMPORTED"), "text"),
}
#: What a small terminal is told, the longest that fits.
_ENLARGE: Final = (
    own(" small terminal, one pane at a time: Tab for the next; made for 80x24 and up"),
    own(" small: one pane (Tab: next); made for 80x24 up"),
    own(" enlarge to 80x24; Tab: next pane"),
    own(" enlarge to 80x24"),
)
_BEST_WIDTH, _BEST_HEIGHT = 80, 24
_WORDS: Final = (own("tdxdbg"), own("needs"), own("20x5"))


class StatusLine(LinesWidget):
    """Program, recording, REPLAY, row and step, vCPU, kernel, origin, filter."""

    def __init__(self, id: str, name: str) -> None:
        super().__init__(id)
        self._recording = word(name)[0]
        self._rest: tuple[Span, ...] = ()
        #: What kind of screen this is, and what the guest does, in words.
        self.badges: tuple[Span, ...] = (REPLAY_BADGE,)

    def rename(self, name: str) -> None:
        """Another recording."""
        self._recording = word(name)[0]
        self.refresh()

    def show(self, timeline: Timeline, moment: Moment | None, matches: Matches | None) -> None:
        """Say where this moment is."""
        groups: list[list[Span]] = [
            *([badge] for badge in self.badges),
            [_ORIGINS[timeline.trace.meta.origin]],
        ]
        if moment is not None:
            # Both count from 0, as filters and --at do: the last is named, not their number.
            groups.append(_place(own("exit "), moment.row, len(timeline) - 1))
            place = _place(own("step "), moment.step, moment.steps - 1)
            groups.append([*place, (own("+"), "dim")] if moment.more else place)
            groups.append([word(f"v{moment.vcpu}", "value")])
        groups.append(self._kernel(timeline, moment))
        if matches is not None:
            more = "" if matches.complete else "+"
            groups.append([(own("filter "), "dim"),
                           (cut(word(matches.wanted.text)[0], 40), "value"),
                           word(f" {matches.count}{more}", "dim")])  # fmt: skip
        new = joined(groups, _BETWEEN)
        if new != self._rest:
            self._rest = new
            self.refresh()

    def _kernel(self, timeline: Timeline, moment: Moment | None) -> list[Span]:
        name = word(timeline.generation.name, "value")
        if not timeline.what_if:
            known = timeline.trace.meta.generation
            says = own(" recorded") if known else own(" assumed")
            return [_KERNEL, name, (says, "dim")]
        spans: list[Span] = [_KERNEL, name, (own(" WHAT IF"), "retry")]
        if moment is not None and moment.assumed:
            spans.append((own(" answer assumed"), "unknown"))
        if moment is not None and moment.diverged:
            spans.append((own(" guest diverged"), "error"))
        return spans

    def line_for(self, y: int) -> Line:
        """The name gets what the rest leaves, at least a few letters."""
        rest = self._rest
        if self.outer_size.width < _ROOMY:
            rest = tuple(span for span in rest if span is not _KERNEL)
        room = self.outer_size.width - width_of(rest) - 4
        start: list[Span] = [(_SPACE, "text")]
        if room - len(_PROGRAM) - 2 >= len(self._recording):
            start += [(_PROGRAM, "title"), (_BETWEEN, "text")]
        name = cut(self._recording, min(max(room, _SHORTEST), _LONGEST))
        return line(*start, (name, "text"), (_BETWEEN, "text"), *rest)


def _place(label: Safe, at: int, last: int) -> list[Span]:
    return [(label, "dim"), word(f"{at:,}", "value"), word(f"/{last:,}", "dim")]


class Message(NamedTuple):
    """One line for the user."""

    text: Safe
    role: str = "text"


class HintLine(LinesWidget):
    """The keys, or one line of news until the next key; in a tiny terminal, how to enlarge it."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._message: Message | None = None
        self.with_filter = False
        self._table: Hints = HINTS

    def offer(self, table: Hints) -> None:
        """Other keys are useful now."""
        if table is not self._table:
            self._table = table
            self.refresh()

    def say(self, message: Message | None) -> None:
        """Show a message instead of the keys; None brings them back."""
        if message != self._message:
            self._message = message
            self.refresh()

    @property
    def message(self) -> str:
        """What is said now, empty when the keys are shown."""
        return self._message.text if self._message is not None else ""

    def line_for(self, y: int) -> Line:
        size = self.app.size
        shape = shape_of(size.width, size.height)
        if shape == "words":
            return line((_WORDS[y], "text")) if y < len(_WORDS) else BLANK
        if self._message is not None:
            said, role = self._message
            mark = _MARKS.get(role, _NONE)
            mark = _NONE if said.startswith(mark) else mark
            return line((cut(concat(_SPACE, mark, said), self.outer_size.width), role))
        if shape == "single":
            fitting = (text for text in _ENLARGE if len(text) <= size.width)
            return line((next(fitting, _ENLARGE[-1]), "dim"))
        small = size.width < _BEST_WIDTH or size.height < _BEST_HEIGHT
        return line(*self._hints([(_ENLARGE[-1], "dim")] if small else []))

    def _hints(self, spans: list[Span]) -> list[Span]:
        for ids, what in self._table:
            if what == "match" and not self.with_filter:
                continue
            shown = hint(ids, self.keys)
            if not shown:
                continue
            pair = [(_SPACE, "dim"), word(shown, "focus"), word(f" {what} ", "dim")]
            if width_of(spans) + width_of(pair) > self.outer_size.width:
                break
            spans += pair
        return spans
