"""Breakpoints and watches of a recording: continue and reverse-continue, and the list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from tdxdbg.abi.vmx import TDCALL
from tdxdbg.breakpoints import Breakpoint
from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.text import Safe
from tdxdbg.errors import TraceError
from tdxdbg.filters import FIELDS
from tdxdbg.filters.tree import value_text
from tdxdbg.ui.condition_prompt import ConditionPrompt
from tdxdbg.ui.core import count
from tdxdbg.ui.finding import Finding
from tdxdbg.ui.hunting import Hunt
from tdxdbg.ui.judging import judge_condition, judge_watch
from tdxdbg.ui.lines import own
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.prompt import Verdict
from tdxdbg.ui.row_stops import RowStops
from tdxdbg.ui.stop_list import RowStopList
from tdxdbg.ui.tested import Tested

_ABOUT_RUNNING: Final = (
    "Stops at exits that match: {continue} runs on to the next one, {continue_back} back."
)
_ABOUT_STOPS: Final = (own("leaf == MMIO and gpa in 0xfec00000..0xfec00fff   status != SUCCESS"),)
_ABOUT_WATCH: Final = (
    own("gpa in 2G..3G, 74000000 +2M  where pages of a GPA range are converted"),
    own("r11 == 0x10001               a register at the TD exit, or after it"),
)
_NOTHING: Final = (own("no breakpoint stops after this exit"), own("none stops before it"))


class Breaking(Finding, inherit_bindings=False):
    """`b`, `B`, `w`, `c` and `C`."""

    def set_up(self) -> None:
        super().set_up()
        self.stops = RowStops(self.timeline, self.matching)

    def _use_timeline(self) -> None:
        super()._use_timeline()
        self.stops.use(self.timeline)
        self.queue.stops_at = self.stops.stops_at

    def _no_stops(self) -> str:
        if len(self.stops):
            return f"all breakpoints are off: {self.key('breakpoints')} lists them"
        return f"no breakpoints: {self.key('breakpoint')} sets one, {self.key('watch')} watches"

    # --- running on and back ------------------------------------------------------------

    def action_cont(self, direction: int) -> None:
        """To the next exit that a breakpoint stops at, or back to the previous one."""
        self._quiet()
        stops = self.stops
        if not stops.enabled:
            self.tell(self._no_stops(), "dim")
            return
        rows = stops.search(self.cursor.row, direction)
        self.hunt(self._hunt_for(rows, self._stopped_at, _NOTHING[direction < 0]))

    def _hunt_for(
        self, rows: Iterator[int | None], found: Callable[[int], object], nothing: Safe
    ) -> Hunt:
        """A hunt that stays where it has come when it is stopped."""
        return Hunt(rows, found, nothing, lambda: self.stops.looked_at, self._halted)

    def _stopped_at(self, row: int) -> None:
        words, step = self.stops.why(row)
        self.jump(row, step)
        self.tell(f"stopped: breakpoint {words}", "ok")

    def _halted(self, row: int) -> None:
        self.jump(row)
        self.tell(f"interrupted at exit {self.cursor.row:,}", "dim")

    # --- setting them -------------------------------------------------------------------

    def action_breakpoint(self, text: str | None = None) -> None:
        """Stop at exits that match; without a text, ask for it."""
        self._quiet()
        if text is not None:
            self._add(self.stops.add, text)
            return
        judge = self.judge_break
        about = (self.hints.spoken(_ABOUT_RUNNING), *_ABOUT_STOPS)
        self._ask_stop(own("stop at"), about, judge, self.stops.add, self._like_this())

    def command_break(self, text: str) -> None:
        """`:break COND`."""
        self.action_breakpoint(text or None)

    def judge_break(self, text: str, cursor: int) -> Verdict:
        """A condition."""
        return judge_condition(text, cursor, "stops at exits that match")

    def action_watch(self, text: str | None = None) -> None:
        """Stop where a GPA range is converted or a register has a value."""
        self._quiet()
        if text is not None:
            self._add(self.stops.add_watch, text)
            return
        self._ask_stop(own("watch"), _ABOUT_WATCH, self.judge_watch, self.stops.add_watch,
                       self._range_here())  # fmt: skip

    def command_watch(self, text: str) -> None:
        """`:watch gpa in A..B`, or a condition on registers."""
        self.action_watch(text or None)

    def judge_watch(self, text: str, cursor: int) -> Verdict:
        """A range of GPAs, or a condition on registers."""
        return judge_watch(text, cursor)

    def _ask_stop(
        self,
        title: Safe,
        about: tuple[Safe, ...],
        judge: Callable[[str, int], Verdict],
        add: Callable[[str], Breakpoint],
        text: str,
    ) -> None:
        prompt = ConditionPrompt(
            title, about, judge, self.palette, self.ascii_only, text, self.conditions
        )

        def done(answer: str | None) -> None:
            if answer:
                self._add(add, answer)

        _ = self.push_screen(prompt, done)

    def _add(self, add: Callable[[str], Breakpoint], text: str) -> None:
        try:
            point = add(text)
        except ValueError as error:
            self.tell(str(error))
            return
        self._stops_differ()
        runs = self.hints.spoken("{continue} runs on to it, {continue_back} back")
        self.tell(f"breakpoint {point.number}: {point.text}; {runs}", "ok")

    def _stops_differ(self) -> None:
        self.queue.redraw()
        self._relist()

    def _relist(self) -> None:
        dialog = self.on_top(RowStopList)
        if dialog is not None:
            dialog.update(self.stops.listing())

    # --- what is likely to be meant -----------------------------------------------------

    def _summary(self) -> RowSummary | None:
        try:
            return self.timeline.summary(self.cursor.row) if self.cursor.rows else None
        except TraceError:
            return None

    def _like_this(self) -> str:
        """A condition for exits like the one under the cursor."""
        row = self._summary()
        return like(row) if row is not None else ""

    def _range_here(self) -> str:
        """The range that the exit under the cursor is about."""
        row = self._summary()
        if row is None or row.gpa is None:
            return ""
        if not row.size or row.gpa + row.size > 1 << 52:
            return f"gpa == {row.gpa:#x}"
        return f"gpa in {row.gpa:#x}..{row.gpa + row.size - 1:#x}"

    # --- the list -----------------------------------------------------------------------

    def action_breakpoints(self) -> None:
        """The list of them."""
        self._quiet()
        listing = self.stops.listing()
        dialog = RowStopList(listing, self._change_stop, self.palette, self.ascii_only)

        def done(name: str | None) -> None:
            if name == "add":
                self.action_breakpoint()

        _ = self.push_screen(dialog, done)

    def _change_stop(self, how: str, stop: Mapping[str, Any]) -> None:
        number = stop["id"]
        if how == "remove":
            self.stops.remove(number)
        elif how == "switch":
            self.stops.switch(number)
        else:
            self._to_hit(number, 1 if how == "next" else -1)
            return
        self._stops_differ()

    def _to_hit(self, number: int, direction: int) -> None:
        """To the nearest exit that one of them would stop at."""

        def found(row: int) -> None:
            self.jump(row, self.stops.step(number, row))

        rows = self.stops.search_one(number, self.cursor.row, direction)
        nothing = (own("it stops at no exit after this one"), own("it stops at none before it"))
        self.hunt(Hunt(rows, found, nothing[direction < 0]))

    # --- counting -----------------------------------------------------------------------

    def work_on(self, stop: float) -> None:
        counted = self.stops.uncounted()
        if counted is None:
            super().work_on(stop)
            return
        count(counted, stop)
        self._relist()

    def recounted(self, changed: Collection[Matches]) -> None:
        super().recounted(changed)
        self._relist()

    def row_sets(self) -> Iterator[Tested]:
        yield from super().row_sets()
        yield from self.stops.counted()

    # --- what is remembered -------------------------------------------------------------

    def state(self) -> dict[str, object]:
        return {**super().state(), "breakpoints": self.stops.state()}

    def restore(self, state: Mapping[str, object]) -> list[str]:
        problems = super().restore(state) + self.stops.restore(state.get("breakpoints", ()))
        self._stops_differ()
        return problems


def like(row: RowSummary) -> str:
    """A condition that selects exits like this one."""
    parts = []
    if row.leaf is not None:
        parts.append(_is("leaf", row.leaf))
    elif row.reason is not None and row.reason != TDCALL:
        parts.append(_is("reason", row.reason))
    elif row.exit:
        parts.append(_is("exit", row.exit[0]))
    if row.port is not None:
        parts.append(_is("port", row.port))
    elif row.gpa is not None and row.direction is not None:
        parts.append(_is("gpa", row.gpa))
    if row.retry or row.error:
        parts.append("retry" if row.retry else "error")
    return " and ".join(parts)


def _is(field: str, value: int) -> str:
    return f"{field} == {value_text(FIELDS[field], value)}"
