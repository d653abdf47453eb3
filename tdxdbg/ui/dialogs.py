"""What is shown over the panes: the generations, what the recording says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from tdxdbg.decode.text import Safe
from tdxdbg.engine import GENERATIONS
from tdxdbg.timeline import Timeline
from tdxdbg.traces.unread import unread_texts
from tdxdbg.ui.lines import BLANK, Line, Span, blanks, cut, line, own, pad, width_of, word, wrap
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.widgets.pane import Pane

_WIDEST: Final = 76
#: Cells of a name before its value; with less room for that, it stands below.
_NAMES: Final = 14
_ROOM: Final = 16
_HERE: Final = own("▶ ")
_NOT_HERE: Final = own("  ")
_INDENT: Final[Span] = (own("  "), "dim")
#: The marks, each with what it means: help shows them.
GLYPHS: Final = (
    (own("✓ ok"), "ok", "the guest got SUCCESS"),
    (own("· kernel"), "dim", "done in the kernel, userspace saw nothing"),
    (own("↻ RETRY"), "retry", "the guest is told to call again"),
    (own("‼ error"), "error", "refused, failed, or the end of the TD"),
    (own("← userspace"), "text", "the row ends in userspace"),
    (own("▶"), "focus", "here"),
    (own("≡"), "focus", "selected by the filter"),
    (own("◆ · ?"), "name", "register: selected by RCX, hidden, not recorded"),
    (own("≠ ~"), "error", "recorded and computed differ; computed only"),
    (own("▓ ░ ▒ ·"), "shared", "shared, private, mixed, no memory; [ ] beside this exit's range"),
)


class DialogPane(Pane):
    """The lines of a dialog."""

    TITLE: ClassVar[Safe] = own("tdxdbg")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        #: Called with the index of a line that was clicked.
        self.choose_line: Callable[[int], None] = _nothing

    def clicked(self, index: int) -> None:
        self.choose_line(index)


class Over(ModalScreen[str | None], inherit_bindings=False):
    """Something over the panes; it is laid out anew when the terminal changes its size."""

    _pane: Pane

    def compose(self) -> ComposeResult:
        self._fit()
        yield self._pane

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Give the pane its size and its lines, for the terminal as it is."""


class Dialog(Over, inherit_bindings=False):
    """Lines in a frame; Esc, q and Enter close it."""

    AUTO_FOCUS: ClassVar[str | None] = "DialogPane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,a", "close"),
        Binding("ctrl+q,ctrl+c", "app.interrupt"),
        Binding("enter", "enter"),
        Binding("j,down", "move(1)"),
        Binding("k,up", "move(-1)"),
        Binding("pagedown,space,ctrl+d", "move(10)"),
        Binding("pageup,ctrl+u", "move(-10)"),
        Binding("g,home", "move(-9999)"),
        Binding("G,end", "move(9999)"),
    ]

    def __init__(
        self, title: Safe, made: Callable[[int], list[Line]], palette: Palette, ascii_only: bool
    ) -> None:
        """`made` gives the lines for a terminal of that many columns."""
        super().__init__()
        self._lines = made
        self.foot: tuple[Span, ...] = ((own("j k scroll  Esc closes"), "dim"),)
        self._pane: DialogPane = DialogPane("dialog")
        self._pane.tabs = (self._pane.tabs[0]._replace(title=title),)
        self._pane.dress(palette, ascii_only)

    def _fit(self) -> None:
        lines = self._lines(self.app.size.width)
        widest = max((width_of(item.spans) for item in lines), default=0)
        self._pane.styles.width = max(widest + 2, 24)
        self._pane.styles.height = len(lines) + 2
        self._pane.set_lines(lines, self.foot)

    def action_close(self) -> None:
        _ = self.dismiss(None)

    def action_enter(self) -> None:
        _ = self.dismiss(None)

    def action_move(self, lines: int) -> None:
        self._pane.scroll_lines(lines)


class Generations(Dialog):
    """Choose a kernel generation."""

    def __init__(self, timeline: Timeline, palette: Palette, ascii_only: bool) -> None:
        self._timeline = timeline
        self._at = GENERATIONS.index(timeline.generation)
        super().__init__(own("kernel generation"), self._made, palette, ascii_only)
        self._pane.choose_line = self._choose

    def _made(self, width: int) -> list[Line]:
        room = max(width - 30, 8)
        lines = []
        for number, item in enumerate(GENERATIONS):
            current = number == self._at
            own_one = item is self._timeline.own_generation
            mark = own("recorded ") if own_one else own("         ")
            lines.append(
                line(
                    (_HERE if current else _NOT_HERE, "focus"),
                    (pad(word(item.name)[0], 10), "value"),
                    (mark, "ok"),
                    (cut(word(item.kernels)[0], room), "dim"),
                    current=current,
                )
            )
        return [*lines, BLANK, line((own("  Enter: the same guest under that kernel"), "dim"))]

    def action_move(self, lines: int) -> None:
        self._at = min(max(self._at + lines, 0), len(GENERATIONS) - 1)
        self._pane.set_lines(self._made(self.app.size.width), self._pane.foot, self._at)

    def action_enter(self) -> None:
        _ = self.dismiss(GENERATIONS[self._at].name)

    def _choose(self, index: int) -> None:
        if index < len(GENERATIONS):
            _ = self.dismiss(GENERATIONS[index].name)


def _nothing(index: int) -> None:
    """No one listens."""


def about_lines(timeline: Timeline, width: int) -> list[Line]:
    """The metadata and what is damaged or missing."""
    trace, meta, td = timeline.trace, timeline.trace.meta, timeline.td
    rows = (
        ("title", meta.title),
        ("origin", meta.origin),
        ("recorded by", meta.source),
        ("kernel", meta.kernel),
        ("generation", meta.generation or f"not named; {timeline.own_generation.name} assumed"),
        ("created", meta.created),
        ("exits", f"{len(trace):,}"),
        ("records", f"{trace.n_records:,}"),
        ("TD", f"GPAW {td.gpaw}, MAXPHYADDR {td.maxphyaddr}, KVM_CAP_EXIT_HYPERCALL "
               f"{'on' if td.exit_hypercall else 'off'}"),
    )  # fmt: skip
    room = max(min(width - 4, _WIDEST) - _NAMES, 4)
    lines: list[Line] = []
    for name, value in rows:
        if value:
            lines += _field(name, value, room)
    problems = [
        ("damaged, missing", trace.problems),
        ("what could not be read", unread_texts(trace)),
        ("left out", trace.remarks),
    ]
    for title, found in problems:
        if found:
            lines += [BLANK, line(word(title, "error"))]
        for item in found[:200]:
            pieces = wrap(word(item)[0], room + 12)
            lines += [line(_INDENT, (piece, "text")) for piece in pieces]
    if not trace.problems:
        lines += [BLANK, line((own("nothing is damaged"), "ok"))]
    return lines


def _field(name: str, value: str, room: int) -> list[Line]:
    if room < _ROOM:
        below = wrap(word(value)[0], room + _NAMES - 2)
        return [line(word(name, "name")), *(line(_INDENT, (piece, "text")) for piece in below)]
    first, *rest = wrap(word(value)[0], room)
    head = line(word(f"{name:<{_NAMES}}", "name"), (first, "text"))
    return [head, *(line((blanks(_NAMES), "dim"), (piece, "text")) for piece in rest)]
