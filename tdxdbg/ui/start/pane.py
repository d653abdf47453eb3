"""The list of the start page: entries in columns under the names of their groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from tdxdbg.decode.text import Safe
from tdxdbg.ui.lines import BLANK, Line, Span, cut, line, own, pad, word
from tdxdbg.ui.start.entries import Entry
from tdxdbg.ui.widgets.frame import Tab, top_width
from tdxdbg.ui.widgets.pane import Pane

_HERE: Final = own(" ▶ ")
_NOT_HERE: Final = own("   ")
_GAP: Final = own("  ")
_NOTHING: Final = own("   Nothing here has that in it. Esc shows everything again.")
#: Cells of a name at most, and of what an entry needs for its story to stand beside it.
_NAME: Final = 34
_STORY: Final = 24


class StartPane(Pane):
    """`entries` are shown, `at` is the one under the cursor."""

    TITLE: ClassVar[Safe] = own("open")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.entries: Sequence[Entry] = ()
        self.chosen = 0
        #: Widths of the columns: of everything there is, so that filtering moves nothing.
        self._name_width, self._detail_width = 0, 0
        #: Which entry each line is; -1 for none.
        self._of_line: list[int] = []
        #: Called with an entry that was clicked.
        self.choose: Callable[[int], None] = _nothing
        #: Called when the pane has another size, to be drawn for it.
        self.resized: Callable[[], None] = self.draw

    def measure(self, entries: Sequence[Entry]) -> None:
        """Columns as wide as these need."""
        self._name_width = min(max((len(word(item.name)[0]) for item in entries), default=0), _NAME)
        self._detail_width = max((len(word(item.detail)[0]) for item in entries), default=0)

    def offer(self, entries: Sequence[Entry], at: int) -> None:
        """Show these, with the cursor on one of them."""
        self.entries, self.chosen = entries, at
        self.draw()

    @property
    def with_stories(self) -> bool:
        """Whether the stories stand beside the names, if not all of each."""
        return self._beside >= _STORY

    @property
    def with_details(self) -> bool:
        return self._beside - self._detail_width - len(_GAP) >= 2 * _STORY

    @property
    def room(self) -> int:
        """Cells that a story gets."""
        taken = self._detail_width + len(_GAP) if self.with_details else 0
        return self._beside - taken if self.with_stories else 0

    @property
    def _beside(self) -> int:
        return self.columns - len(_HERE) - self._name_width - len(_GAP) - 1

    def bring_up(self) -> None:
        """Scroll until the name of the cursor's group is near the top, or the end is seen."""
        line_here = self._of_line.index(self.chosen) if self.chosen in self._of_line else 0
        self.top = self._clamped(line_here - 2)
        self.refresh()

    def on_resize(self) -> None:
        self.resized()

    def draw(self) -> None:
        """Everything anew, with the line of the cursor in view, and the name of its group."""
        lines: list[Line] = []
        self._of_line = []
        group = ""
        here = 0
        for number, entry in enumerate(self.entries):
            if entry.group != group:
                group = entry.group
                head = [BLANK] if lines else []
                head.append(line((own(" "), "dim"), word(group, "title")))
                lines += head
                self._of_line += [-1] * len(head)
            if number == self.chosen:
                here = len(lines)
            lines.append(self._line(entry, number == self.chosen))
            self._of_line.append(number)
        if not lines:
            lines = [line((_NOTHING, "dim"))]
        self._name_groups()
        self.set_lines(lines, (), 0 if here <= 1 else here)

    def _name_groups(self) -> None:
        """The groups in the upper edge, as tabs: all of them rarely fit on the screen at once."""
        here = self.entries[self.chosen].group if self.entries else ""
        names = dict.fromkeys(entry.group for entry in self.entries)
        tabs = tuple(Tab(name, word(name)[0], name == here) for name in names)
        if top_width(tabs) > self.outer_size.width:
            tabs = tuple(tab for tab in tabs if tab.front)
        tabs = tabs or (Tab("", self.TITLE, True),)
        if tabs != self.tabs:
            self.tabs = tabs
            self.refresh_row(0)

    def _line(self, entry: Entry, current: bool) -> Line:
        name = cut(word(entry.name)[0], self._name_width)
        spans: list[Span] = [(_HERE if current else _NOT_HERE, "focus")]
        if not self.with_stories:
            return line(*spans, (cut(name, self.columns - len(_HERE)), "name"), current=current)
        spans += [(pad(name, self._name_width), "name"), (_GAP, "dim")]
        if self.with_details:
            spans += [(pad(word(entry.detail)[0], self._detail_width), "dim"), (_GAP, "dim")]
        return line(*spans, (cut(word(entry.story)[0], self.room), "text"), current=current)

    def clicked(self, index: int) -> None:
        if index < len(self._of_line) and self._of_line[index] >= 0:
            self.choose(self._of_line[index])


def _nothing(number: int) -> None:
    """No one listens."""
