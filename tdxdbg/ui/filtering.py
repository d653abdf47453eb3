"""The display filter of the queue, and what is counted while one types it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from threading import Thread
from time import monotonic
from typing import Final

from tdxdbg.errors import TraceError
from tdxdbg.filters import Filter, FilterError, compile_filter, prepare
from tdxdbg.ui import core
from tdxdbg.ui.advice import SAMPLE, advice
from tdxdbg.ui.condition_prompt import ConditionPrompt
from tdxdbg.ui.hunting import Hunt, Hunting
from tdxdbg.ui.judging import judge_condition
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.prompt import Verdict
from tdxdbg.ui.status import Message

_ABOUT: Final = (
    own("leaf == MapGPA and status == RETRY   gpa in 2G..3G   exit == KVM_EXIT_IO"),
    own("An empty line shows every exit again."),
)
_NONE_AFTER: Final = own("no match after this exit")
_NONE_BEFORE: Final = own("no match before it")
#: Rows that are counted before a prompt says how many match.
_AT_ONCE: Final = 64


class Filtering(Hunting, inherit_bindings=False):
    """`/`, `h` and Esc; and moving over the exits that the filter selects."""

    def set_up(self) -> None:
        super().set_up()
        #: What was entered into any prompt for a condition.
        self.conditions = self.histories.of("condition")
        self._draft: Matches | None = None
        #: The one that was asked for here, and the last one of which the count was said.
        self._entered: Matches | None = None
        self._told: Matches | None = None

    def on_mount(self) -> None:
        super().on_mount()
        # So that the first character of the first filter does not wait for it.
        self.call_after_refresh(Thread(target=prepare, daemon=True).start)

    # --- asking -------------------------------------------------------------------------

    def action_filter(self, text: str | None = None) -> None:
        """Show the exits that match; without a text, ask for it; "" shows all."""
        self._quiet()
        if text is None:
            self.action_filter_with(self._wanted.text if self._wanted is not None else "")
        elif not text.strip():
            self.clear_filter()
        else:
            self._apply(text.strip())

    def action_filter_with(self, text: str) -> None:
        """Ask for a filter, beginning with a text."""
        self._quiet()
        prompt = ConditionPrompt(
            own("filter"), _ABOUT, self.judge_filter, self.palette, self.ascii_only,
            text, self.conditions,
        )  # fmt: skip

        def done(answer: str | None) -> None:
            if answer is not None:
                self.action_filter(answer)
            self._draft = None

        _ = self.push_screen(prompt, done)

    def command_filter(self, text: str) -> None:
        """`:filter EXPR`; without one all exits are shown."""
        self.action_filter(text)

    def judge_filter(self, text: str, cursor: int) -> Verdict:
        verdict = judge_condition(text, cursor)
        if not verdict.good:
            self._draft = None
            return verdict
        draft = self._counted(text.strip())
        return verdict._replace(says=self._found(draft))

    def _counted(self, text: str) -> Matches:
        """The matches of a text, which are counted while the prompt stands there."""
        for known in (self._draft, self.matches):
            if known is not None and known.wanted.text == text:
                self._draft = known
                return known
        self._draft = self.matching(self.timeline, compile_filter(text))
        self._draft.scan(_AT_ONCE)
        return self._draft

    def _found(self, matches: Matches) -> str:
        total = len(self.timeline)
        if matches.complete:
            return f"{matches.count:,} of {total:,} exits match"
        return f"{matches.count:,} of the first {matches.seen:,} exits match; counting"

    def _apply(self, text: str) -> None:
        try:
            wanted = compile_filter(text)
        except FilterError as error:
            self.tell(f"filter: {error}")
            return
        self.use_filter(wanted)

    # --- the filter ---------------------------------------------------------------------

    def use_filter(self, wanted: Filter | None) -> None:
        """Another filter, or none."""
        draft, self._wanted = self._draft, wanted
        if wanted is None:
            self.matches = None
        elif draft is not None and draft.wanted.text == wanted.text:
            self.matches = draft
        elif self.matches is None or self.matches.wanted.text != wanted.text:
            self.matches = self.matching(self.timeline, wanted)
        self.queue.matches = self.matches
        self.hints.with_filter = wanted is not None
        self._entered = self.matches
        if self.matches is not None:
            core.count(self.matches, monotonic() + core.SLICE)
            self._tell_count(self.matches)
        self.queue.redraw()
        self.show()

    def clear_filter(self) -> None:
        """Show every exit again, and say how to come back."""
        wanted = self._wanted
        if wanted is None:
            self.tell("there is no filter: / sets one", "dim")
            return
        self.conditions.add(wanted.text)
        self.use_filter(None)
        self.hints.say(Message(own("no filter any more: / and Up bring it back"), "dim"))

    def _tell_count(self, matches: Matches) -> None:
        """Say how many match, once: of one that was asked for, and where it is none."""
        if not matches.complete or self._told is matches:
            return
        self._told = matches
        if matches.count and self._entered is not matches:
            return
        if matches.count:
            self.tell(self._found(matches), "ok")
            return
        self.queue.advice = [word(text)[0] for text in self._advice(matches)]
        self.queue.redraw()
        self.tell(f"0 of {len(self.timeline):,} match; {self.key('stop')} clears", "retry")

    def _advice(self, matches: Matches) -> list[str]:
        start = max(min(self.cursor.row, len(self.timeline) - SAMPLE), 0)
        found = []
        for row in range(start, min(start + SAMPLE, len(self.timeline))):
            try:
                found.append(self.timeline.summary(row))
            except TraceError:
                continue
        return advice(matches.wanted, len(self.timeline), found, self.key)

    def action_hide(self) -> None:
        """List only what matches, or everything with the rest dim."""
        self._quiet()
        self.queue.hides = not self.queue.hides
        self.queue.redraw()
        hidden, dim = own("what does not match is hidden"), own("what does not match is dim")
        self.hints.say(Message(hidden if self.queue.hides else dim, "dim"))

    def action_stop(self) -> None:
        """Esc: the search, else what is typed or said, else the filter."""
        if self.stop_hunting():
            return
        typed = bool(self._count)
        self._quiet()
        if not typed and self._wanted is not None:
            self.clear_filter()

    # --- moving over what is listed -----------------------------------------------------

    @property
    def _partly(self) -> Matches | None:
        """The matches, while only some of those that are to be listed are known."""
        matches = self.matches
        partly = matches is not None and self.queue.hides and not matches.complete
        return matches if partly else None

    def move(self, lines: int) -> None:
        matches = self._partly
        if matches is None:
            super().move(lines)
        elif abs(lines) == 1:
            self._to_match(matches, self.cursor.row, lines)
        else:
            super().move(lines)

    def to_end(self, direction: int) -> None:
        matches = self.matches
        if matches is None or not self.queue.hides:
            super().to_end(direction)
        else:
            self._to_match(matches, -1 if direction < 0 else len(self.timeline), -direction)

    def _to_match(self, matches: Matches, start: int, direction: int) -> None:
        nothing = _NONE_AFTER if direction > 0 else _NONE_BEFORE
        self.hunt(Hunt(matches.search(start, direction), self.go, nothing))

    # --- in the background --------------------------------------------------------------

    def _background(self) -> None:
        draft, prompt = self._draft, self.on_top(ConditionPrompt)
        if draft is None or prompt is None or not draft.to_count:
            super()._background()
            return
        core.count(draft, monotonic() + core.SLICE)
        prompt.update()

    def _count_shown(self, matches: Matches | None) -> None:
        super()._count_shown(matches)
        if matches is not None:
            self._tell_count(matches)

    def recounted(self, changed: Collection[Matches]) -> None:
        super().recounted(changed)
        prompt = self.on_top(ConditionPrompt)
        if prompt is not None and self._draft in changed:
            prompt.update()

    # --- what is remembered -------------------------------------------------------------

    def state(self) -> dict[str, object]:
        text = self._wanted.text if self._wanted is not None else ""
        return {**super().state(), "filter": text, "hides": self.queue.hides}

    def restore(self, state: Mapping[str, object]) -> list[str]:
        problems = super().restore(state)
        text, hides = state.get("filter", ""), state.get("hides", True)
        self.queue.hides = hides if isinstance(hides, bool) else True
        try:
            wanted = compile_filter(text) if isinstance(text, str) and text else None
        except FilterError as error:
            return [*problems, f"filter: {error}"]
        if wanted is not None:
            self.use_filter(wanted)
        return problems
