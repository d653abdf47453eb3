"""The list of bookmarks, as a dialog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tdxdbg.ui.bookmarks import Bookmark
from tdxdbg.ui.dialogs import DialogPane, Over
from tdxdbg.ui.lines import BLANK, Line, cut, line, own, pad, word, wrap
from tdxdbg.ui.palette import Palette

_WIDEST: Final = 76
_SAYS: Final = 26
_NONE: Final = own("There are none. m and a letter sets one, ' and the letter goes there.")
_FOOT: Final = ((own("Enter goes there  n note  d delete  Esc"), "dim"),)
_GAP: Final = own("  ")

Item = tuple[str, Bookmark]


class MarkList(Over, inherit_bindings=False):
    """Gives the letter to go to, or with "note " before it the one to write a note for."""

    AUTO_FOCUS: ClassVar[str | None] = "DialogPane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,M,ctrl+c", "close"),
        Binding("ctrl+q", "app.interrupt"),
        Binding("j,down", "move(1)"),
        Binding("k,up", "move(-1)"),
        Binding("enter", "go"),
        Binding("n", "note"),
        Binding("d,delete", "delete"),
    ]

    def __init__(
        self,
        items: Sequence[Item],
        says: Callable[[int], str],
        remove: Callable[[str], Sequence[Item]],
        palette: Palette,
        ascii_only: bool,
    ) -> None:
        """`says` is what a row is; `remove` forgets a letter and gives the rest."""
        super().__init__()
        self._items = items
        self._says = says
        self._remove = remove
        self._at = 0
        self._pane = DialogPane("marks")
        self._pane.tabs = (self._pane.tabs[0]._replace(title=own("bookmarks")),)
        self._pane.dress(palette, ascii_only)
        self._pane.choose_line = self._clicked

    def _fit(self) -> None:
        self._pane.styles.width = min(_WIDEST + 2, self.app.size.width)
        self._pane.styles.height = min(max(len(self._items), 4) + 3, self.app.size.height)
        self._draw()

    def _draw(self) -> None:
        lines = [self._line(number, *item) for number, item in enumerate(self._items)]
        if not lines:
            room = min(_WIDEST, self.app.size.width - 2)
            lines = [BLANK, *(line((piece, "dim")) for piece in wrap(_NONE, room))]
        self._pane.set_lines(lines, _FOOT, self._at if self._pane.rows else None)

    def _line(self, number: int, letter: str, mark: Bookmark) -> Line:
        says = cut(word(self._says(mark.row))[0], _SAYS)
        return line(
            word(f" {letter} ", "focus"),
            word(f"{mark.row:>10,}", "dim"),
            (_GAP, "dim"),
            (pad(says, _SAYS), "name"),
            (_GAP, "dim"),
            word(mark.note, "text"),
            current=number == self._at,
        )

    def action_move(self, by: int) -> None:
        self._at = min(max(self._at + by, 0), max(len(self._items) - 1, 0))
        self._draw()

    def action_go(self) -> None:
        _ = self.dismiss(self._items[self._at][0] if self._items else None)

    def action_note(self) -> None:
        if self._items:
            _ = self.dismiss(f"note {self._items[self._at][0]}")

    def action_delete(self) -> None:
        if self._items:
            self._items = self._remove(self._items[self._at][0])
            self.action_move(0)

    def action_close(self) -> None:
        _ = self.dismiss(None)

    def _clicked(self, index: int) -> None:
        if index < len(self._items):
            self._at = index
            self.action_go()
