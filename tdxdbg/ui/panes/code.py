"""Pane 9: the instructions around RIP, and the vCPU's registers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import ClassVar, Final

from tdxdbg.decode.text import Safe
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import (
    BLANK,
    Line,
    Span,
    blanks,
    crop,
    cut,
    line,
    own,
    pad,
    width_of,
    word,
)
from tdxdbg.ui.live.sight import CodeLine, Sight
from tdxdbg.ui.panes.base import Drawn, MomentPane

_HERE: Final = own("▶")
_EXITED: Final = own("←")
_STOP: Final = own("●")
_OFF: Final = own("◇")
_NONE: Final = own(" ")
_SPACE: Final = own(" ")
_CHANGED: Final = own("→")
_COLON: Final = own(":")
_COMMENT: Final = own("; ")
_BAR: Final = own("│ ")
#: From this many columns on the registers stand beside the instructions.
_WITH_REGISTERS: Final = 74
_REGISTERS: Final = 24
#: From this many on the bytes of an instruction are shown.
_WITH_BYTES: Final = 46
_BYTES: Final = 8
_TEXT: Final = 24
_NO_CODE: Final = own("The bytes at RIP cannot be read: nothing is mapped there.")
_NOT_RECORDED: Final = (
    own("A recording holds the guest's exits, not its instructions."),
    own("tdxdbg live runs a guest with its code, symbols and registers here."),
)
_ORDER: Final = (
    "rip", "rflags", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip


class CodePane(MomentPane):
    """Draws a `Sight`; what it shows is asked for by the app."""

    TITLE: ClassVar[Safe] = own("9 code")
    SHORT: ClassVar[Safe] = own("9 code")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.sight: Sight | None = None
        #: What is said while there is no code.
        self.missing: tuple[str, ...] = _NOT_RECORDED
        self._before: Mapping[str, int] = {}
        self._note = own("")
        self._shift = 0
        #: Addresses with a breakpoint, and whether it is enabled.
        self.breakpoints: Mapping[int, bool] = {}

    def show(self, moment: Moment | None) -> None:
        """Instructions are no view of a moment; they come when the session answered."""
        self.moment = moment

    def look(self, sight: Sight | None, note: Safe = _NONE) -> None:
        """Show this place; `note` says in the lower edge what is being waited for."""
        old = self.sight
        if sight is not None and old is not None and sight.place != old.place:
            self._before = old.registers if sight.vcpu == old.vcpu else {}
            self._shift = 0
        self.sight, self._note = sight, note
        self.redraw()

    def redraw(self) -> None:
        """Draw anew: a breakpoint was set, or the size is another one."""
        if self.outer_size.width and self.outer_size.height:
            self.set_lines(*self.draw(None))

    def fit(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def draw(self, moment: Moment | None) -> Drawn:
        sight = self.sight
        foot = self._foot()
        if sight is None:
            return (
                self.explain(self._note) if self._note.strip() else self._missing(),
                foot,
                None,
            )
        if self.columns >= _WITH_REGISTERS:
            width = self.columns - _REGISTERS
            code = self._window(sight, width, self.rows)
            return _joined(code, self._registers(sight), width), foot, 0
        return [self._head(sight), *self._window(sight, self.columns, self.rows - 1)], foot, 0

    def _window(self, sight: Sight, width: int, rows: int) -> list[Line]:
        """So many lines, RIP among them unless it was scrolled away."""
        if not sight.code:
            return self.explain(_NO_CODE)
        lines, at = self._code(sight, width)
        last = max(len(lines) - rows, 0)
        start = min(max(at - rows * 2 // 5, 0), last)
        self._shift = min(max(self._shift, -start), last - start)
        return lines[start + self._shift : start + self._shift + rows]

    def scroll_lines(self, lines: int, cells: int = 0) -> None:
        if lines:
            self._shift += lines
            self.redraw()
        else:
            super().scroll_lines(0, cells)

    def _missing(self) -> list[Line]:
        return self.explain(*map(self.spoken, self.missing))

    def _foot(self) -> tuple[Span, ...]:
        if self._note.strip():
            return ((self._note, "unknown"),)
        sight = self.sight
        if sight is None:
            return ()
        text = f"v{sight.vcpu}" if sight.vcpus < 2 else f"v{sight.vcpu} of {sight.vcpus}"
        where = f"{text}  {sight.where}" if sight.where else text
        return (word(where[: max(self.columns - 6, 8)], "dim"),)

    # --- instructions -------------------------------------------------------------------

    def _code(self, sight: Sight, width: int) -> tuple[list[Line], int]:
        """The lines, and which of them is at RIP."""
        lines: list[Line] = []
        keep = 0
        digits = max((len(f"{item.address:x}") for item in sight.code), default=1)
        source = ""
        for item in sight.code:
            if item.label:
                lines.append(line(word(item.label, "name"), (_COLON, "name")))
            if item.source and item.source != source:
                lines.append(line(word(f"  {item.source}", "why")))
                source = item.source
            if item.address == sight.rip:
                keep = len(lines)
            lines.append(self._instruction(item, sight, digits, width))
        return lines, keep

    def _instruction(self, item: CodeLine, sight: Sight, digits: int, width: int) -> Line:
        current = item.address == sight.rip
        exited = sight.exited and item.is_tdcall and item.end == sight.rip
        beside = width < self.columns
        enabled = self.breakpoints.get(item.address)
        stop = _NONE if enabled is None else _STOP if enabled else _OFF
        spans: list[Span] = [
            (stop, "error" if enabled else "dim"),
            (_HERE if current else _EXITED if exited else _NONE, "focus"),
            word(f"{item.address:{digits}x} ", "dim"),
        ]
        if width >= _WITH_BYTES + digits + (0 if not item.comment else 8):
            data = item.data[:_BYTES].hex()
            spans.append((pad(word(data)[0], 2 * _BYTES + 1), "dim"))
        text, comment = word(item.text)[0], word(item.comment)[0]
        role = "focus" if current and beside else "value"
        room = width - width_of(spans) - 4
        if not comment or room - len(text) < 4:
            return line(*spans, (text, role), current=current and not beside)
        # Comments stand below each other as long as they are seen whole.
        text = pad(text, min(_TEXT, room - len(comment)))
        comment = cut(comment, room - len(text))
        spans += [(text, role), (_SPACE, "dim"), (_COMMENT, "why"), (comment, "why")]
        return line(*spans, current=current and not beside)

    # --- registers ----------------------------------------------------------------------

    def _head(self, sight: Sight) -> Line:
        """Where the vCPU is, and as many registers as fit."""
        spans: list[Span] = []
        for name in ("rax", "rcx", "r10", "r11", "rsp"):
            if name not in sight.registers:
                continue
            item = self._register(sight, name)
            if width_of(spans) + width_of(item) + 1 > self.columns:
                break
            spans += [*item, (_SPACE, "dim")]
        return line(*spans)

    def _register(self, sight: Sight, name: str) -> list[Span]:
        value = sight.registers[name]
        changed = self._before.get(name, value) != value
        role = "changed" if changed else "dim" if not value else "value"
        mark = _CHANGED if changed else _SPACE
        return [word(name, "name"), (mark, role), word(f"{value:x}", role)]

    def _registers(self, sight: Sight) -> list[Line]:
        names = [name for name in _ORDER if name in sight.registers]
        names += [name for name in sight.registers if name not in _ORDER]
        lines = []
        for name in names:
            label, mark, value = self._register(sight, name)
            lines.append(line((pad(label[0], 6), label[1]), mark, value))
        return lines


def _joined(code: list[Line], registers: list[Line], width: int) -> list[Line]:
    """Instructions with the registers to their right."""
    lines = []
    for left, right in zip_longest(code, registers, fillvalue=BLANK):
        spans = crop(left.spans, 0, width - 1)
        fill = blanks(width - width_of(spans))
        lines.append(line(*spans, (fill, "text"), (_BAR, "frame"), *right.spans))
    return lines
