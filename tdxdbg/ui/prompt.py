"""Dialogs that ask: for a line of text, or for one of a few things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, NamedTuple

from textual import events
from textual.binding import Binding, BindingType

from tdxdbg.decode.text import Safe
from tdxdbg.ui.dialogs import DialogPane, Over
from tdxdbg.ui.edit import LineEdit
from tdxdbg.ui.history import History
from tdxdbg.ui.lines import (
    BLANK,
    Line,
    Span,
    blanks,
    concat,
    crop,
    joined,
    line,
    own,
    width_of,
    word,
    wrap,
)
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.widgets.pane import Pane

_WIDEST: Final = 76
_ASK: Final = own("> ")
_SPACE: Final = own(" ")
_HERE: Final = own("▶")
_GOOD: Final = own("✓ ")
_BAD: Final = own("‼ ")
_NONE: Final = own("")
_BETWEEN: Final = own("  ")
_FOOT: Final = ((own("Enter takes it  Tab completes  Esc closes"), "dim"),)
_CHOICE_FOOT: Final = ((own("Enter chooses  Esc closes"), "dim"),)
#: Words offered at once.
_OFFERED: Final = 6


class Verdict(NamedTuple):
    """What a text means, or what is wrong with it; `words` could stand from `start` on.

    `unfinished`: nothing is wrong with it, something is missing. `at`: the
    character that is wrong.
    """

    good: bool
    says: str
    start: int = 0
    words: tuple[str, ...] = ()
    unfinished: bool = False
    at: int | None = None


class PromptPane(Pane):
    """The line that is typed, and what it means."""

    TITLE: ClassVar[Safe] = own("tdxdbg")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.edit = LineEdit()
        #: Called with a key: True when it was used.
        self.take: Callable[[events.Key], bool] = _not_taken

    def on_key(self, event: events.Key) -> None:
        if self.take(event):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.edit.insert(event.text)
        self.take(events.Key("", None))


def _mark(verdict: Verdict) -> Safe:
    if verdict.unfinished:
        return _NONE
    return _GOOD if verdict.good else _BAD


def edit_spans(edit: LineEdit, width: int, role: str = "value") -> tuple[Span, ...]:
    """A line of text with its cursor, scrolled so that the cursor is seen."""
    before = word(edit.text[: edit.cursor])[0]
    at = word(edit.text[edit.cursor : edit.cursor + 1] or " ")[0]
    after = word(edit.text[edit.cursor + 1 :])[0]
    spans: tuple[Span, ...] = ((before, role), (at, "badge"), (after, role))
    return crop(spans, scrolled(edit, width), width)


def scrolled(edit: LineEdit, width: int) -> int:
    """How many cells of a line do not fit before its cursor."""
    before = word(edit.text[: edit.cursor])[0]
    at = word(edit.text[edit.cursor : edit.cursor + 1] or " ")[0]
    return max(len(before) + len(at) - width, 0)


class Prompt(Over, inherit_bindings=False):
    """Asks for a line; `judge` says at each key what it means."""

    AUTO_FOCUS: ClassVar[str | None] = "PromptPane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "close"),
        Binding("ctrl+q", "app.interrupt"),
        Binding("enter", "enter"),
        Binding("tab", "complete(1)"),
        Binding("shift+tab", "complete(-1)"),
    ]

    _FOOT: ClassVar[tuple[Span, ...]] = _FOOT
    #: Lines above the words that say how to ask.
    _HEAD: ClassVar[int] = 5

    def __init__(
        self,
        title: Safe,
        about: Sequence[Safe],
        judge: Callable[[str, int], Verdict],
        palette: Palette,
        ascii_only: bool,
        text: str = "",
        history: History | None = None,
    ) -> None:
        """`about`: how to ask, in this program's words. `text` stands there at first.

        What is taken goes into `history`, and Up gets it back.
        """
        super().__init__()
        self._about = about
        self._judge = judge
        self._history = history
        #: The words that Tab goes through, and which of them stands there.
        self._cycle: Verdict | None = None
        self._at = 0
        self._pane: PromptPane = PromptPane("prompt")
        self._pane.edit = LineEdit.holding(text)
        self._pane.edit.past = history.lines if history is not None else ()
        self._pane.tabs = (self._pane.tabs[0]._replace(title=title),)
        self._pane.dress(palette, ascii_only)
        self._pane.take = self.take
        self._room = _WIDEST

    def _fit(self) -> None:
        width = min(_WIDEST + 2, self.app.size.width)
        self._room = max(width - 2, 8)
        self._pane.styles.width = width
        # The line, what it means (two lines), words that fit, and how to ask.
        head = self._HEAD + len(self._explained()) + 2
        self._pane.styles.height = min(head, self.app.size.height)
        self._draw()

    def _explained(self) -> list[Line]:
        room = min(_WIDEST, self.app.size.width - 2)
        return [line((piece, "dim")) for text in self._about for piece in wrap(text, room)]

    def _draw(self) -> None:
        edit = self._pane.edit
        verdict = self._judge(edit.text, edit.cursor)
        mark = _mark(verdict) if verdict.says else _NONE
        says = wrap(concat(mark, word(verdict.says)[0]), self._room)[:2]
        lines = [line((_ASK, "focus"), *edit_spans(edit, self._room - 2)), *self._below(verdict)]
        role = "dim" if verdict.unfinished else "ok" if verdict.good else "error"
        lines += [line((piece, role)) for piece in says]
        lines += [BLANK] * (self._HEAD - 2 - len(lines))
        lines.append(line(*crop(joined(self._offered(verdict.words), _BETWEEN), 0, self._room)))
        self._pane.set_lines([*lines, BLANK, *self._explained()], self._FOOT)

    def _below(self, verdict: Verdict) -> list[Line]:
        """What stands between the line and what it means."""
        return []

    def _offered(self, words: tuple[str, ...]) -> list[list[Span]]:
        """The words that fit; while Tab goes through them, from the one that stands there."""
        if self._cycle is not None:
            words = self._cycle.words[self._at :] + self._cycle.words[: self._at]
        here = 0 if self._cycle is not None else -1
        return [[word(item, "badge" if number == here else "name")]
                for number, item in enumerate(words[:_OFFERED])]  # fmt: skip

    def take(self, event: events.Key) -> bool:
        """A key for the line that is typed; False when it is none."""
        used = not event.key or self._pane.edit.key(event.key, event.character)
        if used:
            self._cycle = None
            self._draw()
        return used

    def action_complete(self, by: int) -> None:
        """As far as all words agree; from there on each of them in turn."""
        edit = self._pane.edit
        if self._cycle is None:
            verdict = self._judge(edit.text, edit.cursor)
            if not verdict.words:
                return
            typed = edit.text[verdict.start : edit.cursor]
            agreed = _agreed(verdict.words, typed)
            if len(agreed) > len(typed):
                edit.replace(verdict.start, agreed)
                self._draw()
                return
            self._cycle, self._at = verdict, 0 if by > 0 else -1
        else:
            self._at += by
        self._at %= len(self._cycle.words)
        edit.replace(self._cycle.start, self._cycle.words[self._at])
        self._draw()

    def action_enter(self) -> None:
        edit = self._pane.edit
        text = edit.text.strip()
        if text and self._judge(edit.text, edit.cursor).good:
            if self._history is not None:
                self._history.add(text)
            _ = self.dismiss(text)

    def action_close(self) -> None:
        _ = self.dismiss(None)


def _agreed(words: Sequence[str], typed: str) -> str:
    """How the words begin, all that go on from what was typed."""
    going_on = [item for item in words if item.lower().startswith(typed.lower())]
    if not going_on:
        return ""
    first, last = min(going_on), max(going_on)
    same = (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(same, min(len(first), len(last)))]


class Offer(NamedTuple):
    """One thing to choose: the keys that take it, how they are written, and what it does."""

    name: str
    keys: tuple[str, ...]
    shown: Safe
    spans: tuple[Span, ...]


class Choice(Over, inherit_bindings=False):
    """A question with a few answers; j, k and Enter, the mouse, or each answer's own key."""

    AUTO_FOCUS: ClassVar[str | None] = "DialogPane"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "close"),
        Binding("ctrl+q", "app.interrupt"),
        Binding("enter", "enter"),
        Binding("j,down", "move(1)"),
        Binding("k,up", "move(-1)"),
        Binding("pagedown,space", "move(10)"),
        Binding("pageup", "move(-10)"),
        Binding("g,home", "move(-9999)"),
        Binding("G,end", "move(9999)"),
    ]

    def __init__(
        self,
        title: Safe,
        question: Sequence[Safe],
        offers: Sequence[Offer],
        palette: Palette,
        ascii_only: bool,
    ) -> None:
        super().__init__()
        self._question = question
        self._offers = offers
        self._at = 0
        self._pane = DialogPane("choice")
        self._pane.tabs = (self._pane.tabs[0]._replace(title=title),)
        self._pane.dress(palette, ascii_only)
        self._pane.choose_line = self._clicked

    def _fit(self) -> None:
        room = min(_WIDEST, self.app.size.width - 2)
        self._head = [
            line((piece, "text")) for text in self._question for piece in wrap(text, room)
        ]
        if self._head:
            self._head.append(BLANK)
        lines = self._made()
        self._pane.styles.width = min(
            max(34, *(width_of(item.spans) for item in lines)) + 2, room + 2
        )
        self._pane.styles.height = min(len(lines) + 2, self.app.size.height)
        self._pane.set_lines(lines, _CHOICE_FOOT, len(self._head) + self._at)

    def _made(self) -> list[Line]:
        keys = max(len(offer.shown) for offer in self._offers)
        lines = list(self._head)
        for number, offer in enumerate(self._offers):
            fill = blanks(keys - len(offer.shown) + 2)
            lines.append(
                line(
                    (_HERE if number == self._at else _SPACE, "focus"),
                    (concat(offer.shown, fill), "focus"),
                    *offer.spans,
                    current=number == self._at,
                )
            )
        return lines

    def _draw(self) -> None:
        self._pane.set_lines(self._made(), _CHOICE_FOOT, len(self._head) + self._at)

    def on_key(self, event: events.Key) -> None:
        for offer in self._offers:
            if event.key in offer.keys:
                event.stop()
                event.prevent_default()
                _ = self.dismiss(offer.name)
                return

    def action_move(self, by: int) -> None:
        self._at = min(max(self._at + by, 0), len(self._offers) - 1)
        self._draw()

    def action_enter(self) -> None:
        _ = self.dismiss(self._offers[self._at].name)

    def action_close(self) -> None:
        _ = self.dismiss(None)

    def _clicked(self, index: int) -> None:
        at = index - len(self._head)
        if 0 <= at < len(self._offers):
            _ = self.dismiss(self._offers[at].name)


def _not_taken(event: events.Key) -> bool:
    return False
