"""The help: keys as they are now, commands that take something, and the marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from textual import events
from textual.binding import Binding, BindingType

from tdxdbg.decode.text import Safe
from tdxdbg.ui.commands.table import Command
from tdxdbg.ui.dialogs import GLYPHS, Over
from tdxdbg.ui.edit import LineEdit
from tdxdbg.ui.keys import Key
from tdxdbg.ui.lines import (
    BLANK,
    Line,
    Span,
    blanks,
    cut,
    line,
    own,
    pad,
    width_of,
    word,
    wrap,
)
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.prompt import PromptPane, edit_spans

#: From this width on there are two columns.
_TWO: Final = 112
_WIDEST_COLUMN: Final = 92
_GAP: Final = own("  ")
_KEYS_WIDTH: Final = 14
#: From this width of a column on keys and what they do stand side by side.
_BESIDE: Final = 48
_FIND: Final = own("/ ")
_NOTHING: Final = own("Nothing here has these words. Backspace takes some away, Esc all.")
_FOOT: Final = ((own("j k scroll  / finds  Esc closes"), "dim"),)
_FOUND: Final = ((own("j k scroll  / finds  Esc shows all"), "dim"),)
_FINDING: Final = ((own("Enter keeps these lines  Esc drops the words"), "dim"),)
_COMMANDS: Final = "commands"
_MARKS: Final = "marks"


class Row(NamedTuple):
    """A line of the help: what is pressed or drawn, and what it does."""

    group: str
    shown: Safe
    role: str
    says: str

    def has(self, words: Sequence[str]) -> bool:
        """Whether all words are somewhere in it."""
        text = f"{self.shown} {self.says} {self.group}".lower()
        return all(item in text for item in words)


def help_rows(keys: Sequence[Key], commands: Sequence[Command]) -> list[Row]:
    """Everything that help says, group by group."""
    rows = []
    for at, key in enumerate(keys):
        if key.help:
            second = keys[at + 1 : at + 2]
            shown = " ".join([key.shown, *(item.shown for item in second if not item.help)])
            rows.append(Row(key.group, word(shown)[0], "focus", key.help))
    for command in commands:
        if command.takes or not command.key:
            rows.append(Row(_COMMANDS, word(f":{command.usage}")[0], "focus", command.help))
    return [*rows, *(Row(_MARKS, glyph, role, says) for glyph, role, says in GLYPHS)]


def help_lines(rows: Sequence[Row], width: int) -> list[Line]:
    """The rows below the titles of their groups, in as many columns as there is room for."""
    columns = 2 if width >= _TWO else 1
    room = min((width - len(_GAP) * (columns - 1)) // columns, _WIDEST_COLUMN)
    groups = [_group(title, rows, room) for title in dict.fromkeys(row.group for row in rows)]
    if columns == 1 or len(groups) < 2:
        return _stacked(groups)
    left, right = min(
        ((_stacked(groups[:at]), _stacked(groups[at:])) for at in range(1, len(groups))),
        key=lambda pair: max(len(pair[0]), len(pair[1])),
    )
    return _beside(left, right, room)


def _group(title: str, rows: Sequence[Row], room: int) -> list[Line]:
    lines = [line((cut(word(title)[0], room), "title"))]
    for row in rows:
        if row.group == title:
            lines += _row(row, room)
    return lines


def _row(row: Row, room: int) -> list[Line]:
    if room < _BESIDE:
        # What it does stands below what is pressed.
        below = wrap(word(row.says)[0], room - 4)
        head = line((blanks(2), "dim"), (cut(row.shown, room - 2), row.role))
        return [head, *(line((blanks(4), "dim"), (piece, "text")) for piece in below)]
    indent = 2 + max(_KEYS_WIDTH, len(row.shown) + 1)
    first, *rest = wrap(word(row.says)[0], room - 2 - _KEYS_WIDTH, indent - 2 - _KEYS_WIDTH)
    head = line((blanks(2), "dim"), (pad(row.shown, indent - 2), row.role), (first, "text"))
    return [head, *(line((blanks(2 + _KEYS_WIDTH), "dim"), (piece, "text")) for piece in rest)]


def _stacked(groups: Sequence[list[Line]]) -> list[Line]:
    lines: list[Line] = []
    for group in groups:
        lines += [*([BLANK] if lines else []), *group]
    return lines


def _beside(left: list[Line], right: list[Line], room: int) -> list[Line]:
    lines = []
    for at in range(max(len(left), len(right))):
        one = left[at].spans if at < len(left) else ()
        other = right[at].spans if at < len(right) else ()
        gap: Span = (blanks(room - width_of(one) + len(_GAP)), "dim")
        lines.append(line(*one, gap, *other) if other else line(*one))
    return lines


class HelpPane(PromptPane):
    """The lines of the help, and what is looked for in them."""

    TITLE: ClassVar[Safe] = own("help")


class Help(Over, inherit_bindings=False):
    """Scrolls as `less` does; / and some words leave the lines that have them."""

    AUTO_FOCUS: ClassVar[str | None] = "HelpPane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back"),
        Binding("q,question_mark,f1", "close"),
        Binding("ctrl+q,ctrl+c", "app.interrupt"),
        Binding("enter", "enter"),
        Binding("slash", "find"),
        Binding("j,down", "move(1)"),
        Binding("k,up", "move(-1)"),
        Binding("pagedown,space,ctrl+d", "move(10)"),
        Binding("pageup,ctrl+u", "move(-10)"),
        Binding("g,home", "move(-9999)"),
        Binding("G,end", "move(9999)"),
    ]

    def __init__(
        self,
        keys: Sequence[Key],
        commands: Sequence[Command],
        palette: Palette,
        ascii_only: bool,
        words: str = "",
    ) -> None:
        """`words`: what is looked for at first."""
        super().__init__()
        self._rows = help_rows(keys, commands)
        self._typing = False
        self._pane: HelpPane = HelpPane("help")
        self._pane.edit.insert(words)
        self._pane.dress(palette, ascii_only)
        self._pane.take = self._key

    def _fit(self) -> None:
        """As large as all of the help, whatever is looked for."""
        size = self.app.size
        lines = help_lines(self._rows, size.width - 2)
        widest = max(width_of(item.spans) for item in lines)
        self._pane.styles.width = min(widest + 2, size.width)
        self._pane.styles.height = min(len(lines) + 2, size.height)
        self._draw()

    def _draw(self) -> None:
        words = self._pane.edit.text.lower().split()
        found = [row for row in self._rows if row.has(words)]
        room = self.app.size.width - 2
        lines = help_lines(found, room) if found else [line((_NOTHING, "dim"))]
        if words or self._typing:
            role = "value" if self._typing else "dim"
            spans = edit_spans(self._pane.edit, max(room - 2, 8), role)
            lines = [line((_FIND, "focus"), *spans), BLANK, *lines]
        foot = _FINDING if self._typing else _FOUND if words else _FOOT
        self._pane.set_lines(lines, foot)

    # --- keys -----------------------------------------------------------------------------

    def _key(self, event: events.Key) -> bool:
        if not self._typing or not (
            not event.key or self._pane.edit.key(event.key, event.character)
        ):
            return False
        self._from_the_top()
        return True

    def action_find(self) -> None:
        self._typing = True
        self._from_the_top()

    def action_enter(self) -> None:
        if not self._typing:
            self.action_close()
            return
        self._typing = False
        self._from_the_top()

    def action_back(self) -> None:
        """Esc: first the words go, then the help."""
        if not self._typing and not self._pane.edit.text:
            self.action_close()
            return
        self._typing = False
        self._pane.edit = LineEdit()
        self._from_the_top()

    def _from_the_top(self) -> None:
        self._pane.top = 0
        self._draw()

    def action_move(self, lines: int) -> None:
        self._pane.scroll_lines(lines)

    def action_close(self) -> None:
        _ = self.dismiss(None)
