"""Searching for exits: the next match, error, RETRY, and what is looked for once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdxdbg.breakpoints import Row
from tdxdbg.decode.text import Safe
from tdxdbg.filters import Filter, FilterError, compile_filter
from tdxdbg.ui.condition_prompt import ConditionPrompt
from tdxdbg.ui.filtering import Filtering
from tdxdbg.ui.hunting import Hunt
from tdxdbg.ui.judging import judge_condition
from tdxdbg.ui.lines import own
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.prompt import Verdict
from tdxdbg.ui.tested import Tested

_ABOUT: Final = (own("Goes to the next exit that matches, and hides nothing."),)
#: What is said behind the last and before the first one, by what is looked for.
_NOTHING: Final[dict[str, tuple[Safe, Safe]]] = {
    "": (own("no match after this exit"), own("no match before it")),
    "error": (own("no error after this exit"), own("no error before it")),
    "retry": (own("no RETRY after this exit"), own("no RETRY before it")),
}


class Finding(Filtering, inherit_bindings=False):
    """`n`, `N`, `d`, `D`, `l`, `L` and find."""

    def set_up(self) -> None:
        super().set_up()
        self._find: Matches | None = None

    def action_find(self, text: str | None = None) -> None:
        """Go to the next exit that matches a text; without one, ask for it."""
        self._quiet()
        if text is not None:
            self._find_text(text)
            return
        before = self._find.wanted.text if self._find is not None else ""
        prompt = ConditionPrompt(
            own("find"),
            (*_ABOUT, self.hints.spoken("{next_match} and {previous_match} go on, and back.")),
            self.judge_find,
            self.palette,
            self.ascii_only,
            before,
            self.conditions,
        )

        def done(answer: str | None) -> None:
            if answer:
                self._find_text(answer)

        _ = self.push_screen(prompt, done)

    def command_find(self, text: str) -> None:
        """`:find EXPR`."""
        self.action_find(text or None)

    def judge_find(self, text: str, cursor: int) -> Verdict:
        """A condition."""
        return judge_condition(text, cursor, "goes to the next exit that matches")

    def _find_text(self, text: str) -> None:
        try:
            wanted = compile_filter(text)
        except FilterError as error:
            self.tell(f"find: {error}")
            return
        self._find = self.matching(self.timeline, wanted)
        self.hints.with_filter = True
        self.action_match(1)

    def action_match(self, direction: int) -> None:
        """The next match of what was looked for last, else of the filter."""
        matches = self._find or self.matches
        if matches is None:
            self._quiet()
            self.tell(
                f"nothing to find: {self.key('filter')} filters, {self.key('find')} finds", "dim"
            )
            return
        self._look_for(matches, "", direction)

    def action_next(self, field: str, direction: int) -> None:
        """The next exit with error, or retry; at the step that shows it."""
        wanted = compile_filter(field)
        self._look_for(self.matching(self.timeline, wanted), field, direction, wanted)

    def _look_for(
        self, matches: Matches, what: str, direction: int, shows: Filter | None = None
    ) -> None:
        def found(row: int) -> None:
            step = Row(self.timeline, row).first_step(shows) if shows is not None else 0
            self.jump(row, step)

        nothing = _NOTHING[what][direction < 0]
        rows = matches.search(self.cursor.row, direction)
        self.hunt(Hunt(rows, found, nothing))

    def use_filter(self, wanted: Filter | None) -> None:
        if wanted is not None:
            self._find = None
        super().use_filter(wanted)

    def row_sets(self) -> Iterator[Tested]:
        yield from super().row_sets()
        if self._find is not None:
            yield self._find

    def _use_timeline(self) -> None:
        super()._use_timeline()
        if self._find is not None:
            self._find = self.matching(self.timeline, self._find.wanted)
