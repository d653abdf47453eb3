"""Which columns the exit queue has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tdxdbg.decode.text import Safe
from tdxdbg.ui.columns import BY_NAME, COLUMNS, DEFAULT, chosen
from tdxdbg.ui.core import Core
from tdxdbg.ui.dialogs import DialogPane, Over
from tdxdbg.ui.lines import Line, line, own, word
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.prompt import Verdict

_ON: Final = own(" ✓ ")
_OFF: Final = own("   ")
_FOOT: Final = ((own("Space on/off  r as at first  Esc closes"), "dim"),)


class ColumnsDialog(Over, inherit_bindings=False):
    """Switches; each change shows at once."""

    AUTO_FOCUS: ClassVar[str | None] = "DialogPane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,vertical_line,enter,ctrl+c", "close"),
        Binding("ctrl+q", "app.interrupt"),
        Binding("j,down", "move(1)"),
        Binding("k,up", "move(-1)"),
        Binding("space,e", "switch"),
        Binding("r", "reset"),
    ]

    def __init__(
        self,
        wanted: tuple[str, ...],
        use: Callable[[tuple[str, ...]], object],
        palette: Palette,
        ascii_only: bool,
    ) -> None:
        super().__init__()
        self._wanted = wanted
        self._use = use
        self._at = 0
        self._pane = DialogPane("columns")
        self._pane.tabs = (self._pane.tabs[0]._replace(title=own("columns")),)
        self._pane.dress(palette, ascii_only)
        self._pane.choose_line = self._clicked

    def _fit(self) -> None:
        self._pane.styles.width = min(68, self.app.size.width)
        self._pane.styles.height = min(len(COLUMNS) + 2, self.app.size.height)
        self._draw()

    def _draw(self) -> None:
        lines = [self._line(number, *item) for number, item in enumerate(_rows())]
        self._pane.set_lines(lines, _FOOT, self._at if self._pane.rows else None)

    def _line(self, number: int, name: str, about: Safe) -> Line:
        on = name in self._wanted
        return line(
            (_ON if on else _OFF, "ok"),
            word(f"{name:<11}", "value" if on else "dim"),
            (about, "text" if on else "dim"),
            current=number == self._at,
        )

    def action_move(self, by: int) -> None:
        self._at = min(max(self._at + by, 0), len(COLUMNS) - 1)
        self._draw()

    def action_switch(self) -> None:
        name = COLUMNS[self._at].name
        wanted = set(self._wanted) ^ {name}
        if wanted:
            self._change(chosen(wanted))

    def action_reset(self) -> None:
        self._change(DEFAULT)

    def _change(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._use(wanted)
        self._draw()

    def action_close(self) -> None:
        _ = self.dismiss(None)

    def _clicked(self, index: int) -> None:
        if index < len(COLUMNS):
            self._at = index
            self.action_switch()


def _rows() -> list[tuple[str, Safe]]:
    return [(column.name, column.about) for column in COLUMNS]


class Choosing(Core, inherit_bindings=False):
    """`|`."""

    def action_columns(self) -> None:
        """Choose them."""
        self._quiet()
        dialog = ColumnsDialog(self.queue.wanted, self._use_columns, self.palette, self.ascii_only)
        _ = self.push_screen(dialog)

    def _use_columns(self, wanted: tuple[str, ...]) -> None:
        self.queue.wanted = wanted
        self.queue.redraw()

    def command_columns(self, text: str) -> None:
        """`:columns index time delta`; without a name choose them."""
        if not text.strip():
            self.action_columns()
            return
        try:
            self._use_columns(chosen(text.replace(",", " ").split()))
        except ValueError as error:
            self.tell(str(error))

    def judge_columns(self, text: str, cursor: int) -> Verdict:
        """Names of columns, in any order."""
        before = text[:cursor].replace(",", " ")
        start = before.rfind(" ") + 1
        words = tuple(name for name in BY_NAME if name.startswith(before[start:]))
        if not text.strip():
            return Verdict(True, "choose among the columns", start, words)
        try:
            return Verdict(True, " ".join(chosen(text.replace(",", " ").split())), start, words)
        except ValueError as error:
            return Verdict(False, str(error), start, words)

    def state(self) -> dict[str, object]:
        return {**super().state(), "columns": list(self.queue.wanted)}

    def restore(self, state: Mapping[str, object]) -> list[str]:
        problems = super().restore(state)
        names = state.get("columns", DEFAULT)
        try:
            self._use_columns(chosen(names if isinstance(names, list | tuple) else ()))
        except ValueError as error:
            problems.append(f"columns: {error}")
        return problems
