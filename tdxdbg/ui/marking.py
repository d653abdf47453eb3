"""Bookmarks: set, go to, list; and the keys that take a letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from textual import events

from tdxdbg.decode.queue import row_name
from tdxdbg.errors import TraceError
from tdxdbg.ui.bookmarks import Bookmark, Bookmarks, is_letter
from tdxdbg.ui.core import Core
from tdxdbg.ui.lines import own
from tdxdbg.ui.mark_list import MarkList
from tdxdbg.ui.prompt import Prompt, Verdict

_ABOUT_NOTE: Final = (own("A few words about this exit; a blank takes them away."),)
_BACK: Final = "'"


class Marking(Core, inherit_bindings=False):
    """`m`, `'` and `M`."""

    def set_up(self) -> None:
        super().set_up()
        self.bookmarks = Bookmarks()
        #: What the next key is for.
        self._letter_for: Callable[[str], object] | None = None

    # --- keys that take a letter ----------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """A key that belongs to the one before it goes to nobody else."""
        then = self._letter_for
        if then is None or not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._letter_for = None
        self.hints.say(None)
        if event.key != "escape":
            then(event.character or event.key)

    def _with_letter(self, then: Callable[[str], object]) -> None:
        self._letter_for = then

    # --- bookmarks ------------------------------------------------------------------------

    def action_mark(self, letter: str | None = None, note: str = "") -> None:
        """Set a bookmark at this exit; without a letter, the next key says which."""
        self._quiet()
        if letter is None:
            self._with_letter(self.action_mark)
            self.tell(f"{self.key('mark')}: a letter sets a bookmark at this exit", "focus")
            return
        if not self.cursor.rows:
            self.tell("there is no exit to mark", "dim")
            return
        old = self.bookmarks.get(letter)
        if not note and old is not None and old.row == self.cursor.row:
            note = old.note
        try:
            self.bookmarks.set(letter, self.cursor.row, note)
        except ValueError as error:
            self.tell(str(error))
            return
        self._marks_changed()
        self.tell(f"bookmark {letter} at exit {self.cursor.row:,}: '{letter} comes back", "ok")

    def command_mark(self, text: str) -> None:
        """`:mark a`, and perhaps a note behind it."""
        letter, _, note = text.strip().partition(" ")
        self.action_mark(letter or None, note.strip())

    def judge_mark(self, text: str, cursor: int) -> Verdict:
        """A letter, and a note."""
        letter, _, note = text.strip().partition(" ")
        if not letter:
            return Verdict(True, "the next key is the letter")
        if not is_letter(letter):
            return Verdict(False, "a bookmark is a letter, a to z or A to Z")
        old = self.bookmarks.get(letter)
        says = f"bookmark {letter} at exit {self.cursor.row:,}"
        if old is not None:
            says += f", which is at {old.row:,} now"
        return Verdict(True, f"{says}: {note.strip()}" if note else says)

    def action_to_mark(self, letter: str | None = None) -> None:
        """Go to a bookmark; `'` is where one was before the last jump."""
        self._quiet()
        if letter is None:
            self._with_letter(self.action_to_mark)
            known = " ".join(f"{each}:{mark.row}" for each, mark in self.bookmarks.items())
            key = self.key("to_mark")
            self.tell(f"{key} to a bookmark: {known or 'there are none'}   '' back", "focus")
        elif letter == _BACK:
            self._back()
        else:
            self._to_bookmark(letter)

    def _to_bookmark(self, letter: str) -> None:
        mark = self.bookmarks.get(letter)
        if mark is None:
            words = f"no bookmark {letter}" if is_letter(letter) else "a bookmark is a letter"
            self.tell(f"{words}; {self.key('bookmarks')} lists them", "dim")
        elif mark.row >= self.cursor.rows:
            self.tell(f"bookmark {letter}: exit {mark.row:,} is not in this recording", "dim")
        else:
            self.jump(mark.row)
            if mark.note:
                self.tell(f"{letter}: {mark.note}", "text")

    def _back(self) -> None:
        if self.came_from is None:
            self.tell("there was no jump to come back from", "dim")
        else:
            self.jump(*self.came_from)

    def _marks_changed(self) -> None:
        self.queue.letters = {mark.row: letter for letter, mark in self.bookmarks.items()}
        self.queue.redraw()

    def action_bookmarks(self) -> None:
        """The list of them."""
        self._quiet()

        def remove(letter: str) -> list[tuple[str, Bookmark]]:
            self.bookmarks.remove(letter)
            self._marks_changed()
            return self.bookmarks.items()

        items = self.bookmarks.items()
        dialog = MarkList(items, self._what_is, remove, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, self._chosen_mark)

    def _chosen_mark(self, chosen: str | None) -> None:
        if chosen is None:
            return
        if len(chosen) > 1:
            self._ask_note(chosen[-1])
        else:
            self._to_bookmark(chosen)

    def _ask_note(self, letter: str) -> None:
        mark = self.bookmarks.get(letter)
        if mark is None:
            return

        def done(text: str | None) -> None:
            if text is not None:
                self.bookmarks.set(letter, mark.row, text)
                self._marks_changed()
                self.action_bookmarks()

        prompt = Prompt(own("note"), _ABOUT_NOTE, _any_text, self.palette, self.ascii_only,
                        mark.note)  # fmt: skip
        _ = self.push_screen(prompt, done)

    def _what_is(self, row: int) -> str:
        """The name of an exit."""
        try:
            return row_name(self.timeline.summary(row))
        except (IndexError, TraceError):
            return "not in this recording"

    def marks(self) -> dict[str, list[Sequence[int]]]:
        """Rows to show in an overview: of each kind some lists, each in order."""
        return {"bookmark": [[mark.row for _, mark in self.bookmarks.items()]]}

    # --- what is remembered ---------------------------------------------------------------

    def state(self) -> dict[str, object]:
        return {**super().state(), "bookmarks": self.bookmarks.state()}

    def restore(self, state: Mapping[str, object]) -> list[str]:
        problems = super().restore(state) + self.bookmarks.restore(state.get("bookmarks", {}))
        self._marks_changed()
        return problems


def _any_text(text: str, cursor: int) -> Verdict:
    return Verdict(True, "")
