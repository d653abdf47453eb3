"""Run to, and back to: an exit, a bookmark, or the next one that a condition selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from tdxdbg.breakpoints import Row
from tdxdbg.decode.text import Safe
from tdxdbg.filters import Filter
from tdxdbg.ui.breaking import Breaking
from tdxdbg.ui.condition_prompt import ConditionPrompt
from tdxdbg.ui.hunting import Hunt
from tdxdbg.ui.judging import Here, judge_target, parse_target
from tdxdbg.ui.lines import own
from tdxdbg.ui.marking import Marking
from tdxdbg.ui.prompt import Verdict

_ABOUT: Final = (
    own("415   'a   retry and vcpu == 1"),
    own("An exit's number, a bookmark, or the first exit that way which matches."),
)
_TITLES: Final = (own("run to"), own("back to"))
_NOTHING: Final = (own("no match after this exit"), own("no match before it"))


class Visiting(Breaking, Marking, inherit_bindings=False):
    """`t` and `T`."""

    #: How to ask where to run to, and back to.
    RUN_TO: ClassVar[tuple[Safe, ...]] = _ABOUT

    def action_run_to(self, direction: int, text: str | None = None) -> None:
        """On (1) or back (-1) to a place; without a text, ask for it."""
        self._quiet()
        if text is not None:
            self._run_to(text, direction)
            return
        judge = self.judge_run_to if direction > 0 else self.judge_back_to
        about = self.RUN_TO if direction > 0 else _ABOUT
        prompt = ConditionPrompt(
            _TITLES[direction < 0], about, judge, self.palette, self.ascii_only, "",
            self.conditions,
        )  # fmt: skip

        def done(answer: str | None) -> None:
            if answer:
                self._run_to(answer, direction)

        _ = self.push_screen(prompt, done)

    def command_run_to(self, text: str) -> None:
        """`:run-to 415`, `:run-to 'a`, `:run-to retry`."""
        self.action_run_to(1, text or None)

    def command_back_to(self, text: str) -> None:
        """`:back-to` the same."""
        self.action_run_to(-1, text or None)

    def judge_run_to(self, text: str, cursor: int) -> Verdict:
        """A place after this one."""
        return judge_target(text, cursor, self._here(), 1)

    def judge_back_to(self, text: str, cursor: int) -> Verdict:
        """A place before it."""
        return judge_target(text, cursor, self._here(), -1)

    def _here(self) -> Here:
        return Here(self.cursor.row, self.cursor.rows, self.bookmarks.rows)

    def _run_to(self, text: str, direction: int) -> None:
        try:
            target = parse_target(text, self._here(), direction)
        except ValueError as error:
            self.tell(str(error))
            return
        if target.condition is None:
            self.run_to_row(target.row)
        else:
            self.run_to_match(target.condition, direction)

    def run_to_row(self, row: int) -> None:
        """To that exit."""
        self.jump(row)

    def run_to_match(self, wanted: Filter, direction: int) -> None:
        """To the next exit that matches, at the step that shows it."""
        matches = self.matching(self.timeline, wanted)

        def found(row: int) -> None:
            self.jump(row, Row(self.timeline, row).first_step(wanted))

        rows = matches.search(self.cursor.row, direction)
        nothing: Safe = _NOTHING[direction < 0]
        self.hunt(Hunt(rows, found, nothing, lambda: matches.at, self._halted))

    def marks(self) -> dict[str, list[Sequence[int]]]:
        """With the hits of breakpoints, as far as they were counted."""
        return {**super().marks(), "breakpoint": self.stops.hits()}
