"""struct kvm_run in hex and ASCII, beside its decode: the field pointed at is lit in both."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar, Final

from tdxdbg.abi.kvm import PIO_PAGE_OFFSET, RUN_UNION_OFFSET, RUN_UNION_SIZE
from tdxdbg.decode.run_bytes import RunByte, run_bytes
from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import UapiRow, decode_run
from tdxdbg.engine import Outcome, Step
from tdxdbg.engine.recorded import KNOWN_RUN_FLAGS
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import About, Line, Span, concat, line, own, part, word
from tdxdbg.ui.panes.base import Drawn, MomentPane
from tdxdbg.ui.panes.fields import about_field, overlaps

#: Bytes in a line, the first that fits.
_WIDTHS: Final = (16, 8, 4)
_SPACE: Final = own(" ")
_STALE: Final = own("·")
_UNKNOWN: Final = own("??")
_OPEN: Final = own("[")
_CLOSE: Final = own("]")
_DOT: Final = own(".")
_ABSENT: Final = own("  ")
_NOTHING: Final = own("Handled in the kernel: struct kvm_run says nothing of this exit.")
_UNSEEN: Final = own("What KVM did with this was not recorded.")
_LEGENDS: Final = (
    own("·00 stale  ?? not recorded  [ ] the field"),
    own("·00 stale  ?? not recorded"),
)
#: Cells of an offset, and of what a byte takes in hex.
_OFFSET: Final = 4
_BYTE: Final = 3


class HexPane(MomentPane):
    """The bytes of struct kvm_run that an exit uses; its cursor is on a byte."""

    TITLE: ClassVar[Safe] = own("8 hex kvm_run")
    SHORT: ClassVar[Safe] = own("8 hex")
    PURPOSE: ClassVar[Safe] = own("Here stands struct kvm_run as bytes.")
    POINTS: ClassVar[bool] = True

    def __init__(self, id: str) -> None:
        super().__init__(id)
        #: The byte of the pane's cursor, by its offset in struct kvm_run; None: none yet.
        self.byte: int | None = None
        self._lit: tuple[int, int] | None = None
        self._bytes: dict[int, RunByte] = {}
        self._fields: list[UapiRow] = []
        #: The offset of the first byte of each line.
        self._starts: list[int] = []

    @property
    def width(self) -> int:
        """Bytes in a line."""
        fitting = (count for count in _WIDTHS if _OFFSET + count * (_BYTE + 1) + 2 <= self.columns)
        return next(fitting, _WIDTHS[-1])

    def show(self, moment: Moment | None) -> None:
        if self._other_row(moment):
            self.byte = None
        super().show(moment)

    def draw_moment(self, moment: Moment) -> Drawn:
        self._bytes, self._fields, self._starts = {}, [], []
        at = moment
        while at.step and at.shown is not None and at.shown.outcome is Outcome.REENTER_TD:
            # Nothing is new for userspace: what its last exit left there.
            if self.timeline is None:
                break
            at = self.timeline.moment(at.row, at.step - 1)
        step = at.shown
        if step is None:
            return self.explain(_UNSEEN), (), None
        if step.run is None:
            return self.explain(_NOTHING), (), None
        self._read(at, step)
        lines = [self._line(start) for start in self._starts]
        lines += self._beyond()
        return lines, self._foot(), self._line_of(self._lit[0]) if self._lit else None

    def _read(self, moment: Moment, step: Step) -> None:
        if step.run is None:
            return
        known = moment.recorded is None or moment.recorded_known & KNOWN_RUN_FLAGS
        flags = step.run_flags if known else None
        self._bytes = run_bytes(step.run, flags)
        self._fields = decode_run(step.run, flags, moment.td)
        width = self.width
        # Whole lines up to the last field; then the page of port I/O data.
        end = max((row.offset + row.size for row in self._fields if row.offset < PIO_PAGE_OFFSET),
                  default=RUN_UNION_OFFSET)  # fmt: skip
        first = min(self._bytes) // width * width
        starts = [*range(first, end, width)]
        starts += range(PIO_PAGE_OFFSET, max(self._bytes) + 1, width)
        self._starts = [start for start in starts if self._shown(start)]

    def _shown(self, start: int) -> bool:
        return any(at in self._bytes for at in range(start, start + self.width))

    def _foot(self) -> tuple[Span, ...]:
        fitting = (text for text in _LEGENDS if len(text) + 6 <= self.outer_size.width)
        return tuple((text, "dim") for text in [next(fitting, own(""))] if text)

    def _beyond(self) -> list[Line]:
        """What of the union no field of this exit uses, in one line."""
        last = max((start for start in self._starts if start < PIO_PAGE_OFFSET), default=0)
        start = max(last + self.width, RUN_UNION_OFFSET)
        stop = RUN_UNION_OFFSET + RUN_UNION_SIZE
        if start >= stop:
            return []
        rest = [self._bytes[at] for at in range(start, stop)]
        unknown = sum(item.value is None for item in rest)
        zero = sum(item.value == 0 for item in rest)
        words = [f"{unknown} not recorded"] if unknown else []
        words += [f"{zero} zero"] if zero else []
        other = len(rest) - unknown - zero
        words += [f"{other} left from before"] if other else []
        text = f"{start:04x} {len(rest)} more bytes: {', '.join(words)}"
        return [line(word(text, "dim"))]

    # --- lines --------------------------------------------------------------------------

    def _line(self, start: int) -> Line:
        lit = self._shown_range()
        spans: list[Span] = [word(f"{start:04x}", "dim")]
        letters: list[Span] = []
        offsets = range(start, start + self.width)
        for at in offsets:
            digits, letter, role = self._byte(at)
            spans += [self._before(at, lit), (digits, "focus" if _in(at, lit) else role)]
            letters.append((letter, "focus" if _in(at, lit) else role))
        closes = lit is not None and sum(lit) == offsets.stop
        end = (_CLOSE, "focus") if closes else (_SPACE, "dim")
        return line(*_merged([*spans, end, (_SPACE, "dim"), *letters]))

    def _before(self, at: int, lit: tuple[int, int] | None) -> Span:
        """The cell in front of a byte: an edge of the field, or that the byte is stale."""
        if lit is not None and at == lit[0]:
            return _OPEN, "focus"
        if lit is not None and at == lit[0] + lit[1] and at % self.width:
            return _CLOSE, "focus"
        item = self._bytes.get(at)
        stale = item is not None and item.value is not None and not item.written
        return (_STALE, "unknown") if stale else (_SPACE, "dim")

    def _byte(self, at: int) -> tuple[Safe, Safe, str]:
        """Its digits, its letter and its role."""
        item = self._bytes.get(at)
        if item is None:
            return _ABSENT, _SPACE, "dim"
        if item.value is None:
            return _UNKNOWN, _SPACE, "unknown"
        letter = part(word(chr(item.value))[0], 0, 1) if 32 <= item.value < 127 else _DOT
        return word(f"{item.value:02x}")[0], letter, "value" if item.written else "unknown"

    # --- the cursor ---------------------------------------------------------------------

    def _shown_range(self) -> tuple[int, int] | None:
        """The bytes that are lit: of this pane's cursor while it has the focus, else of another."""
        if not self.has_focus:
            return self._lit
        about = self.about
        return about.where if about is not None else None

    @property
    def pointer(self) -> int | None:
        if not self._starts:
            return None
        return self._line_of(self._at())

    @property
    def about(self) -> About | None:
        if not self._starts:
            return None
        at = self._at()
        for row in self._fields:
            if overlaps((row.offset, row.size), (at, 1)):
                return about_field(row)
        item = self._bytes.get(at)
        if item is None or item.value is None:
            return None
        return About(word(f"byte {at:#x}")[0], word(f"{item.value:#x}")[0], item.value, None,
                     (at, 1))  # fmt: skip

    def _at(self) -> int:
        """The byte under the cursor: at first that which the other pane points at."""
        if self.byte is not None and self.byte in self._bytes:
            return self.byte
        if self._lit is not None and self._lit[0] in self._bytes:
            return self._lit[0]
        return min(self._bytes)

    def _line_of(self, at: int) -> int:
        found = (number for number, start in enumerate(self._starts) if start <= at)
        return max(found, default=0)

    def arrow(self, cells: int, lines: int) -> bool:
        if not self._starts:
            return False
        if cells:
            self._move_byte(1 if cells > 0 else -1)
        else:
            number = min(max((self.pointer or 0) + lines, 0), len(self._starts) - 1)
            self._to(self._starts[number] + self._at() % self.width)
        return True

    def _move_byte(self, by: int) -> None:
        shown = [at for start in self._starts for at in range(start, start + self.width)
                 if at in self._bytes]  # fmt: skip
        number = shown.index(self._at()) + by if self._at() in shown else 0
        self._to(shown[min(max(number, 0), len(shown) - 1)])

    def point(self, index: int) -> None:
        """A line: the byte that was clicked on, or the first."""
        if 0 <= index < len(self._starts):
            cell = (self.column - _OFFSET) // _BYTE
            self._to(self._starts[index] + min(max(cell, 0), self.width - 1))

    def _to(self, at: int) -> None:
        """To this byte, or the nearest of its line."""
        line_of = range(at // self.width * self.width, at // self.width * self.width + self.width)
        near = [item for item in line_of if item in self._bytes]
        if near:
            self.byte = min(near, key=lambda item: abs(item - at))
            self.top = self._clamped(self._showing(self.pointer or 0))
            self.refresh()
            self._redraw()
            self.moved()

    def light(self, where: tuple[int, int] | None) -> None:
        if where != self._lit:
            self._lit = where
            self.byte = None if where is not None else self.byte
            self._redraw()

    def _redraw(self) -> None:
        if self.outer_size.width and self.outer_size.height:
            self.set_lines(*self.draw(self.moment))

    def on_focus(self) -> None:
        self._redraw()

    def on_blur(self) -> None:
        self._redraw()


def _in(at: int, where: tuple[int, int] | None) -> bool:
    return where is not None and where[0] <= at < where[0] + where[1]


def _merged(spans: list[Span]) -> list[Span]:
    """Neighbours of one role as one."""
    return [
        (concat(*(text for text, _ in same)), role)
        for role, same in groupby(spans, key=lambda span: span[1])
    ]
