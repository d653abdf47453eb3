"""The list of breakpoints and watches, as a dialog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType

from tdxdbg.decode.text import Safe
from tdxdbg.ui.dialogs import DialogPane, Over
from tdxdbg.ui.lines import BLANK, Line, Span, cut, line, own, pad, wrap
from tdxdbg.ui.lines import word as span
from tdxdbg.ui.palette import Palette

_WIDEST: Final = 76
_HERE: Final = own("▶")
_NOT_HERE: Final = own(" ")
_ON: Final = own("● ")
_OFF: Final = own("◇ ")
_TEXT: Final = 44
_NONE: Final = own("There are none. a sets one: on an exit, an instruction, or a write to memory.")
_NO_ROWS: Final = own(
    "There are none. a sets one on exits; w, outside, on a GPA range or a register."
)
_KINDS: Final[dict[str, Safe]] = {
    "condition": own("exit "),
    "address": own("code "),
    "watch": own("write"),
    "exit": own("exit "),
    "mapping": own("gpa  "),
    "registers": own("reg  "),
}


#: As a session lists it: id, kind, text, enabled, hits, address, size. Untrusted.
#: With `more`, not all hits are counted yet.
Breakpoint = Mapping[str, Any]


class StopList(Over, inherit_bindings=False):
    """Changes are asked for at once; `update` shows what came of it. "add" wants a new one."""

    AUTO_FOCUS: ClassVar[str | None] = "DialogPane"
    EMPTY: ClassVar[Safe] = _NONE
    FOOT: ClassVar[tuple[Span, ...]] = ((own("a add  Space on/off  d delete  Esc"), "dim"),)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,B,enter,ctrl+c", "close"),
        Binding("ctrl+q", "app.interrupt"),
        Binding("a,b", "add"),
        Binding("j,down", "move(1)"),
        Binding("k,up", "move(-1)"),
        Binding("space,e", "switch"),
        Binding("d,delete", "delete"),
    ]

    def __init__(
        self,
        stops: Sequence[Breakpoint],
        change: Callable[[str, Breakpoint], object],
        palette: Palette,
        ascii_only: bool,
    ) -> None:
        """`change` is called with switch or remove, and one of them."""
        super().__init__()
        self._stops = stops
        self._change = change
        self._at = 0
        self._pane = DialogPane("stops")
        self._pane.tabs = (self._pane.tabs[0]._replace(title=own("breakpoints")),)
        self._pane.dress(palette, ascii_only)
        self._pane.choose_line = self._clicked

    def _fit(self) -> None:
        self._pane.styles.width = min(_WIDEST + 2, self.app.size.width)
        self._pane.styles.height = min(max(len(self._stops), 4) + 4, self.app.size.height)
        self._draw()

    def update(self, stops: Sequence[Breakpoint]) -> None:
        """The list is another one."""
        self._stops = stops
        self._at = min(self._at, max(len(stops) - 1, 0))
        self._draw()

    def _draw(self) -> None:
        lines = [self._line(number, item) for number, item in enumerate(self._stops)]
        if not lines:
            room = min(_WIDEST, self.app.size.width - 2)
            lines = [BLANK, *(line((piece, "dim")) for piece in wrap(self.EMPTY, room))]
        self._pane.set_lines(lines, self.FOOT, self._at if self._pane.rows else None)

    def _line(self, number: int, item: Breakpoint) -> Line:
        kind = _KINDS.get(str(item["kind"]), own("?    "))
        hits, enabled = item["hits"], bool(item["enabled"])
        more = "+" if item.get("more") else ""
        text = cut(span(str(item["text"]))[0], _TEXT)
        return line(
            (_HERE if number == self._at else _NOT_HERE, "focus"),
            (_ON if enabled else _OFF, "error" if enabled else "dim"),
            span(f"{item['id']:>3} ", "dim"),
            (kind, "name"),
            (own("  "), "dim"),
            (pad(text, _TEXT), "value" if enabled else "dim"),
            span(f"  {hits:,}{more} hit{'s' * (hits != 1)}", "text"),
            current=number == self._at,
        )

    def action_move(self, by: int) -> None:
        self._at = min(max(self._at + by, 0), max(len(self._stops) - 1, 0))
        self._draw()

    def action_switch(self) -> None:
        if self._stops:
            self._change("switch", self._stops[self._at])

    def action_delete(self) -> None:
        if self._stops:
            self._change("remove", self._stops[self._at])

    def action_add(self) -> None:
        _ = self.dismiss("add")

    def action_close(self) -> None:
        _ = self.dismiss(None)

    def _clicked(self, index: int) -> None:
        if index < len(self._stops):
            self._at = index
            self.action_switch()


class RowStopList(StopList):
    """The same over a recording, where one can go to what they stop at."""

    EMPTY: ClassVar[Safe] = _NO_ROWS
    FOOT: ClassVar[tuple[Span, ...]] = (
        (own("a add  Space on/off  d delete  n N next, previous hit  Esc"), "dim"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,B,ctrl+c", "close"),
        *StopList.BINDINGS[1:],
        Binding("n,enter", "go(1)"),
        Binding("N", "go(-1)"),
    ]

    def action_go(self, direction: int) -> None:
        """Close, and go to the next or previous row that this one stops at."""
        if self._stops:
            _ = self.dismiss(None)
            self._change("next" if direction > 0 else "previous", self._stops[self._at])
