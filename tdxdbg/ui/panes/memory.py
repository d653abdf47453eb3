"""The pane @: guest memory, hex and text; what changed since the last stop is lit."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from tdxdbg.decode.text import Safe
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import Line, Span, concat, cut, line, own, part, word
from tdxdbg.ui.panes.base import Drawn, MomentPane

PAGE: Final = 4096
#: Memory is asked for and kept in pieces of so many bytes.
PIECE: Final = 16
#: Pieces that are kept of one stop.
_KEPT: Final = 1024
_TOP: Final = 1 << 64
#: Bytes in a line and in a group, the first that fits.
_SHAPES: Final = ((32, 1), (16, 1), (16, 4), (8, 4), (4, 4))
_SPACE: Final = own(" ")
_NOT_YET: Final = "No address was chosen: {memory} shows memory at one, at a symbol or a register."
_WAIT: Final = own("··")
_DOT: Final = own(".")
_CHANGED: Final = (own("→"), "focus")
_NO: Final = own("--")


class Ask(NamedTuple):
    """A range that the pane wants to know. `linear`: through the vCPU's page tables, else a GPA."""

    address: int
    size: int
    linear: bool


class MemoryPane(MomentPane):
    """A window on memory. `None` as a piece's content: nothing is there."""

    TITLE: ClassVar[Safe] = own("@ memory")
    SHORT: ClassVar[Safe] = own("@ mem")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.base = 0
        self.linear = True
        self.label = ""
        self._chosen = False
        self._now: dict[int, bytes | None] = {}
        self._before: dict[int, bytes | None] = {}
        #: Called when other memory is looked at than before.
        self.ask: Callable[[], None] = _nobody

    # --- what is looked at --------------------------------------------------------------

    def look_at(self, address: int, *, linear: bool, label: str = "") -> None:
        """Show memory from this address on."""
        if linear != self.linear:
            self._now.clear()
            self._before.clear()
        self.base, self.linear, self.label = address, linear, label
        self._chosen = True
        self.ask()
        self.redraw()

    @property
    def chosen(self) -> bool:
        """Whether somebody said what to look at."""
        return self._chosen

    def stopped(self) -> None:
        """The guest has run: everything has to be read again, and is compared with before."""
        if self._now:
            self._before = self._now
        self._now = {}

    def wanted(self) -> list[Ask]:
        """What is seen and not known, in pieces that no page border cuts."""
        if not self._chosen or not self.outer_size.height:
            return []
        start = self.base // PIECE * PIECE
        stop = min(self.base + self.rows * self.width, _TOP)
        asks: list[Ask] = []
        for address in range(start, stop, PIECE):
            if address in self._now:
                continue
            last = asks[-1] if asks else None
            if last is not None and last.address + last.size == address and address % PAGE:
                asks[-1] = last._replace(size=last.size + PIECE)
            else:
                asks.append(Ask(address, PIECE, self.linear))
        return asks

    def give(self, ask: Ask, data: bytes | None) -> None:
        """What is in a range; None: nothing is mapped there."""
        if ask.linear != self.linear:
            return
        if len(self._now) > _KEPT:
            self._now.clear()
        for at in range(0, ask.size, PIECE):
            piece = data[at : at + PIECE] if data is not None else None
            self._now[ask.address + at] = piece if piece else None
        self.redraw()

    # --- drawing ------------------------------------------------------------------------

    @property
    def _shape(self) -> tuple[int, int]:
        """Bytes in a line, and how many of them stand together."""
        for count, group in _SHAPES:
            if self._digits + 1 + _cells(count, group) + 1 + count <= self.columns:
                return count, group
        return _SHAPES[-1]

    @property
    def width(self) -> int:
        """Bytes in a line."""
        return self._shape[0]

    @property
    def _digits(self) -> int:
        return max(8, len(f"{self.base:x}"))

    def show(self, moment: Moment | None) -> None:
        """Memory comes when the session answered; only the foot is of the moment."""
        self.moment = moment
        self.set_foot(self._foot())

    def redraw(self) -> None:
        """Draw what is known."""
        if self.outer_size.width and self.outer_size.height:
            self.set_lines(*self.draw(None))

    def fit(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.ask()
        self.redraw()

    def draw(self, moment: Moment | None) -> Drawn:
        if not self._chosen:
            return self.explain(self.spoken(_NOT_YET)), (), None
        lines = []
        for row in range(self.rows):
            address = self.base + row * self.width
            if address >= _TOP:
                break
            lines.append(self._line(address))
        return lines, self._foot(), None

    def _foot(self) -> tuple[Span, ...]:
        if not self._chosen:
            return ()
        spans: list[Span] = []
        if self.label:
            spans += [(cut(word(self.label)[0], 24), "name"), (_SPACE, "dim"), (_SPACE, "dim")]
        if self.linear:
            return (*spans, (own("virtual"), "dim"))
        gpa_map = self.moment.gpa_map if self.moment is not None else None
        spans.append((own("GPA"), "dim"))
        if gpa_map is not None and self.base < 1 << 52:
            shared = gpa_map.is_shared(self.base & ~(PAGE - 1))
            spans.append(
                (
                    own(" ▓ shared") if shared else own(" ░ private"),
                    "shared" if shared else "private",
                )
            )
        return tuple(spans)

    def _line(self, address: int) -> Line:
        spans: list[Span] = [word(f"{address:0{self._digits}x}", "dim"), (_SPACE, "dim")]
        text: list[Span] = []
        width, group = self._shape
        for at in range(width):
            if at and at % group == 0:
                spans.append((_SPACE, "dim"))
            if at and at % 8 == 0 and group == 1:
                spans.append((_SPACE, "dim"))
            shown, letter, role = self._byte(address + at)
            spans.append((shown, role))
            text.append((letter, role))
        if any(role == "changed" for _, role in text):
            # Which bytes is said in bold; that there are some, with a glyph.
            spans[1] = _CHANGED
        return line(*_joined(spans), (_SPACE, "dim"), *_joined(text))

    def _byte(self, address: int) -> tuple[Safe, Safe, str]:
        start = address // PIECE * PIECE
        if start not in self._now:
            return _WAIT, _SPACE, "unknown"
        piece, at = self._now[start], address - start
        if piece is None or at >= len(piece):
            return _NO, _SPACE, "unknown"
        value = piece[at]
        role = "changed" if self._changed(start, at, value) else "dim" if not value else "value"
        letter = part(word(chr(value))[0], 0, 1) if 32 <= value < 127 else _DOT
        return word(f"{value:02x}")[0], letter, role

    def _changed(self, start: int, at: int, value: int) -> bool:
        before = self._before.get(start)
        return before is not None and at < len(before) and before[at] != value

    # --- scrolling ----------------------------------------------------------------------

    def scroll_lines(self, lines: int, cells: int = 0) -> None:
        """Memory has no end to scroll to: another address."""
        step = lines * self.width + (1 if cells > 0 else -1 if cells < 0 else 0)
        base = min(max(self.base + step, 0), _TOP - self.rows * self.width)
        if self._chosen and base != self.base:
            self.base, self.label = base, ""
            self.ask()
            self.redraw()


def _cells(count: int, group: int) -> int:
    """Cells that the hex of so many bytes takes."""
    halves = (count - 1) // 8 if group == 1 else 0
    return 2 * count + (count - 1) // group + halves


def _joined(spans: list[Span]) -> list[Span]:
    """Neighbours of one role as one."""
    result: list[Span] = []
    for text, role in spans:
        if result and result[-1][1] == role:
            result[-1] = concat(result[-1][0], text), role
        else:
            result.append((text, role))
    return result


def _nobody() -> None:
    """No one listens."""
