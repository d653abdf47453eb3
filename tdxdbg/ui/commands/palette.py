"""The palette: every command, found by any part of its name or of what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType

from tdxdbg.decode.text import Safe
from tdxdbg.ui.commands.table import Command
from tdxdbg.ui.dialogs import Over
from tdxdbg.ui.keys import Key
from tdxdbg.ui.lines import BLANK, Line, line, own, pad, right, word
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.prompt import PromptPane, edit_spans

_WIDEST: Final = 100
_ASK: Final = own("> ")
_NONE: Final = own("No command has these words. Backspace takes some away.")
_FOOT: Final = ((own("Enter runs it  Esc closes"), "dim"),)
#: Lines above the list, and lines of it.
_HEAD: Final = 2
_SEEN: Final = 20


def find(commands: Sequence[Command], typed: str) -> list[Command]:
    """The commands that have all words that were typed, the best first."""
    words = typed.lower().split()
    ranked = [(sum(_rank(row, word) for word in words), row) for row in commands]
    return [row for rank, row in sorted(ranked, key=lambda item: item[0]) if rank < _NEVER]


_NEVER: Final = 1000


def _rank(row: Command, typed: str) -> int:
    """How far a word is from this command, 0 being its name."""
    names = (row.name, *row.aliases)
    tests = (
        typed in names,
        row.name.startswith(typed),
        any(part.startswith(typed) for name in names for part in name.split("-")),
        any(typed in name for name in names),
        any(part.startswith(typed) for part in row.help.lower().split()),
        typed in row.help.lower(),
        _in_order(typed, row.name),
    )
    return next((rank for rank, holds in enumerate(tests) if holds), _NEVER)


def _in_order(letters: str, name: str) -> bool:
    """Whether a name has these letters in this order: `npn` finds next-pane."""
    rest = iter(name)
    return all(letter in rest for letter in letters)


class PalettePane(PromptPane):
    """A line that is typed, and the list below it."""

    TITLE: ClassVar[Safe] = own("commands")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        #: Called with the index of a line that was clicked, and with lines that the wheel turned.
        self.choose_line: Callable[[int], object] = _nothing
        self.turned: Callable[[int], object] = _nothing

    def clicked(self, index: int) -> None:
        self.choose_line(index)

    def wheel(self, lines: int) -> None:
        self.turned(lines)


class CommandPalette(Over, inherit_bindings=False):
    """Returns the name of the command that was chosen."""

    AUTO_FOCUS: ClassVar[str | None] = "PalettePane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "close"),
        Binding("ctrl+q", "app.interrupt"),
        Binding("enter", "enter"),
        Binding("down,tab,ctrl+n", "move(1)"),
        Binding("up,shift+tab,ctrl+p", "move(-1)"),
        Binding("pagedown", "move(10)"),
        Binding("pageup", "move(-10)"),
    ]

    def __init__(
        self,
        commands: Sequence[Command],
        keys: Sequence[Key],
        palette: Palette,
        ascii_only: bool,
    ) -> None:
        super().__init__()
        self._commands = commands
        self._found = list(commands)
        self._shown = {key.id: key.shown for key in keys if "{key}" not in key.action}
        self._at = self._top = 0
        self._pane: PalettePane = PalettePane("palette")
        self._pane.dress(palette, ascii_only)
        self._pane.take = self.take
        self._pane.choose_line = self._clicked
        self._pane.turned = self.action_move

    def _fit(self) -> None:
        self._pane.styles.width = min(_WIDEST, self.app.size.width)
        self._pane.styles.height = self._rows + _HEAD + 2
        self._draw()

    @property
    def _rows(self) -> int:
        """Commands that are seen at once."""
        return max(min(len(self._commands), _SEEN, self.app.size.height - _HEAD - 2), 1)

    # --- what is seen ---------------------------------------------------------------------

    def _draw(self) -> None:
        self._top = min(max(self._top, self._at - self._rows + 1), self._at)
        room = max(min(_WIDEST, self.app.size.width) - 4, 8)
        lines = [line((_ASK, "focus"), *edit_spans(self._pane.edit, room)), BLANK]
        seen = self._found[self._top : self._top + self._rows]
        lines += [self._line(row, self._top + at == self._at) for at, row in enumerate(seen)]
        if not self._found:
            lines.append(line((_NONE, "dim")))
        self._pane.set_lines(lines, _FOOT)

    def _line(self, row: Command, current: bool) -> Line:
        name = pad(word(row.usage)[0], 20)
        key = right(word(self._shown.get(row.key, ""))[0], 10)
        return line(
            (own("▶ ") if current else own("  "), "focus"),
            (name, "name"),
            (key, "focus"),
            (own("  "), "dim"),
            word(row.help, "text"),
            current=current,
        )

    # --- keys and the mouse ---------------------------------------------------------------

    def take(self, event: events.Key) -> bool:
        """A key for the line that is typed; False when it is none."""
        used = not event.key or self._pane.edit.key(event.key, event.character)
        if used:
            self._found = find(self._commands, self._pane.edit.text)
            self._at = self._top = 0
            self._draw()
        return used

    def action_move(self, by: int) -> None:
        self._at = min(max(self._at + by, 0), max(len(self._found) - 1, 0))
        self._draw()

    def action_enter(self) -> None:
        if self._found:
            _ = self.dismiss(self._found[self._at].name)

    def action_close(self) -> None:
        _ = self.dismiss(None)

    def _clicked(self, index: int) -> None:
        at = self._top + index - _HEAD
        if index >= _HEAD and at < len(self._found):
            _ = self.dismiss(self._found[at].name)


def _nothing(lines: int) -> None:
    """No one listens."""
