"""The start page: choose among what was opened before, the samples and the guests.

Letters are keys until something is typed that is none, or after `/`: then they
are words that an entry has to have in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tdxdbg import __version__
from tdxdbg.ui.dialogs import Dialog
from tdxdbg.ui.edit import LineEdit
from tdxdbg.ui.lines import BLANK, Line, Span, concat, line, own, pad, width_of, word, wrap
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.prompt import Prompt, edit_spans
from tdxdbg.ui.screen import QuietApp
from tdxdbg.ui.start.entries import Entry
from tdxdbg.ui.start.files import expanded, judge_file
from tdxdbg.ui.start.pane import StartPane
from tdxdbg.ui.themes import textual_theme
from tdxdbg.ui.widgets.lines_widget import LinesWidget

FILE: Final = "file"
_SPACE: Final = own(" ")
_PROGRAM: Final = own(" tdxdbg ")
_ABOUT: Final = own("  exits of TDX guests: what a TD asked of KVM, and what it got")
_FILTER: Final = own("  filter ")
_BAD: Final = own("‼ ")
#: Lines of news at most.
_NEWS: Final = 6
_ABOUT_FILES: Final = (own("A recording of any known format; ~ is your home folder."),)
#: Keys and what they do, the most useful first.
_HINTS: Final = (
    (own("Enter"), own("open")),
    (own("j/k"), own("choose")),
    (own("/"), own("filter")),
    (own("o"), own("a file")),
    (own("?"), own("help")),
    (own("q"), own("quit")),
)
_TYPING_HINTS: Final = (
    (own("Enter"), own("open")),
    (own("Up/Down"), own("choose")),
    (own("Esc"), own("show everything")),
)
_HELP: Final = (
    (own("j k"), own("next, previous; also the arrows and the wheel")),
    (own("Tab S-Tab"), own("next, previous group")),
    (own("g G"), own("first, last")),
    (own("Enter"), own("open a recording, run a guest; a click does too")),
    (own("/"), own("type words that it has in it; other letters begin that too")),
    (own("o"), own("a file by its path, with completion")),
    (own("q"), own("leave; in a recording or a run, back to this page")),
    (own("Ctrl-c"), own("quit with exit status 130")),
)
#: Keys that move, also while words are typed.
_MOVES: Final = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10, "ctrl+n": 1, "ctrl+p": -1}
#: The same where letters are keys.
_LETTERS: Final = {"j": 1, "k": -1, "g": -9999, "G": 9999, "home": -9999, "end": 9999}


class Bar(LinesWidget):
    """One line, or a few, that the app gives."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._lines: Sequence[Line] = ()

    def say(self, *lines: Line) -> None:
        """Other lines."""
        self._lines = lines
        self.refresh()

    def line_for(self, y: int) -> Line:
        return self._lines[y] if y < len(self._lines) else BLANK


class StartApp(QuietApp[Entry]):
    """Returns the entry that was chosen, one of the group `FILE` for a typed path, or None."""

    CSS = """
    Screen { layout: vertical; overflow: hidden; background: $background; }
    ModalScreen { align: center middle; background: $background 60%; }
    App:ansi ModalScreen { background: transparent; }
    DialogPane, PromptPane { max-width: 100%; max-height: 100%; }
    StartPane { width: 100%; height: 1fr; }
    Bar { width: 100%; height: 1; }
    """
    AUTO_FOCUS: ClassVar[str | None] = "StartPane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", show=False),
        Binding("ctrl+q", "quit", show=False),
        Binding("ctrl+z", "suspend_process", show=False),
    ]

    def __init__(
        self,
        entries: Sequence[Entry],
        palette: Palette,
        ascii_only: bool,
        *,
        at: int = 0,
        said: str = "",
    ) -> None:
        """`at` is the entry to begin with, `said` news, of an error of before."""
        super().__init__()
        self.entries = entries
        self.palette = palette
        self.ascii_only = ascii_only
        self.said = said
        self.typed = LineEdit()
        self.typing = False
        self.top = Bar("top")
        self.list = StartPane("start")
        self.story = Bar("story")
        self.hints = Bar("hints")
        self._at = min(max(at, 0), max(len(entries) - 1, 0))
        self._shown = list(range(len(entries)))
        self._longest = max((len(word(entry.story)[0]) for entry in entries), default=0)

    def compose(self) -> ComposeResult:
        self.register_theme(textual_theme(self.palette))
        self.theme = self.palette.name
        for widget in (self.top, self.list, self.story, self.hints):
            widget.dress(self.palette, self.ascii_only)
            yield widget
        self.list.measure(self.entries)
        self.list.choose = self._clicked
        self.list.choose_tab = self._to_group
        self.list.resized = self.show

    def on_mount(self) -> None:
        if not self.is_headless:
            self.end_on_signals()

    # --- what is shown ----------------------------------------------------------------

    @property
    def here(self) -> Entry | None:
        """The entry under the cursor."""
        return self.entries[self._at] if self._at in self._shown else None

    def show(self) -> None:
        """Everything as it is now."""
        width = self.size.width
        place = self._shown.index(self._at) if self._at in self._shown else 0
        self.list.offer([self.entries[number] for number in self._shown], place)
        self.top.say(self._head(width))
        self._tell(width)
        self.hints.say(self._foot(width))

    def _tell(self, width: int) -> None:
        """Below the list: news, or all of a story where beside the names there is less."""
        here = self.here
        text, role, rows = own(""), "why", 1 if width > self._longest + 2 else 2
        if self.said:
            text, role, rows = concat(_BAD, word(self.said)[0]), "error", _NEWS
        elif here is not None:
            text = word(here.story)[0]
        pieces = wrap(text, width - 2)[:rows]
        self.story.display = bool(self.said) or self.list.room < self._longest
        self.story.styles.height = len(pieces) if self.said else rows
        self.story.say(*(line((concat(_SPACE, piece), role)) for piece in pieces))

    def _head(self, width: int) -> Line:
        spans: list[Span] = [(_PROGRAM, "title"), word(__version__, "dim")]
        if self.typing:
            count = word(f"  {len(self._shown)} of {len(self.entries)}", "dim")
            spans.append((_FILTER, "dim"))
            room = width - width_of(spans) - len(count[0])
            return line(*spans, *edit_spans(self.typed, max(room, 4)), count)
        if width_of(spans) + len(_ABOUT) <= width:
            spans.append((_ABOUT, "dim"))
        return line(*spans)

    def _foot(self, width: int) -> Line:
        spans: list[Span] = []
        for key, what in _TYPING_HINTS if self.typing else _HINTS:
            pair: list[Span] = [
                (_SPACE, "dim"),
                (key, "focus"),
                (concat(_SPACE, what, _SPACE), "dim"),
            ]
            if width_of(spans) + width_of(pair) > width:
                break
            spans += pair
        return line(*spans)

    # --- keys -------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        if len(self.screen_stack) > 1:
            if isinstance(self.screen, Prompt):
                self.screen.take(event)
            return
        self.said = ""
        if self._moves(event) or self._command(event) or self._types(event):
            event.stop()
            # Or a dialog that has just opened takes the key too.
            event.prevent_default()
        self.show()

    def _moves(self, event: events.Key) -> bool:
        by = _MOVES.get(event.key)
        if by is None and not self.typing:
            by = _LETTERS.get(event.character or "", _LETTERS.get(event.key))
        if by is None:
            return False
        self._move(by)
        return True

    def _move(self, by: int) -> None:
        if self._at in self._shown:
            place = self._shown.index(self._at) + by
            self._at = self._shown[min(max(place, 0), len(self._shown) - 1)]

    def _command(self, event: events.Key) -> bool:
        if event.key == "enter":
            self._open()
        elif event.key == "escape":
            self._show_all()
        elif event.key in ("tab", "shift+tab"):
            self._group(1 if event.key == "tab" else -1)
        elif self.typing:
            return False
        elif event.character == "/":
            self.typing = True
        elif event.key == "o":
            self._ask_file()
        elif event.key in ("question_mark", "f1"):
            self._help()
        elif event.key == "q":
            self.exit(None)
        else:
            return False
        return True

    def _types(self, event: events.Key) -> bool:
        if not self.typing and not (event.character or "").strip():
            return False
        used = self.typed.key(event.key, event.character)
        if used:
            self.typing = True
            self._narrow()
        return used

    def on_paste(self, event: events.Paste) -> None:
        if len(self.screen_stack) == 1:
            self.typing = True
            self.typed.insert(event.text)
            self._narrow()
            self.show()

    def _narrow(self) -> None:
        words = self.typed.text.lower().split()
        self._shown = [at for at, entry in enumerate(self.entries) if entry.fits(words)]
        if self._shown and self._at not in self._shown:
            self._at = self._shown[0]

    def _show_all(self) -> None:
        self.typing = False
        self.typed = LineEdit()
        self._narrow()

    def _group(self, direction: int) -> None:
        """To the first entry of the next group, or of the one before, around the end."""
        here = self.here
        if here is None:
            return
        groups = list(dict.fromkeys(self.entries[number].group for number in self._shown))
        self._to_group(groups[(groups.index(here.group) + direction) % len(groups)])

    def _to_group(self, name: str) -> None:
        """A name in the upper edge was clicked."""
        of_group = (number for number in self._shown if self.entries[number].group == name)
        self._at = next(of_group, self._at)
        self.show()
        self.list.bring_up()

    # --- what a person wants ------------------------------------------------------------

    def _open(self) -> None:
        if self.here is not None:
            self.exit(self.here)

    def _clicked(self, place: int) -> None:
        self._at = self._shown[place]
        self._open()

    def _ask_file(self) -> None:
        def done(text: str | None) -> None:
            if text is not None:
                path = expanded(text)
                self.exit(Entry(FILE, path, "", "", path))

        prompt = Prompt(own("open a file"), _ABOUT_FILES, judge_file, self.palette, self.ascii_only)
        _ = self.push_screen(prompt, done)

    def _help(self) -> None:
        width = max(len(key) for key, _ in _HELP) + 2
        lines = [line((pad(key, width), "focus"), (text, "text")) for key, text in _HELP]
        _ = self.push_screen(Dialog(own("help"), lambda _: lines, self.palette, self.ascii_only))
