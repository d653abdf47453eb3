"""Breakpoints over a recording: which rows they stop at, found and counted in slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from tdxdbg.breakpoints import Breakpoint, Breakpoints, Kind, Row
from tdxdbg.filters import Filter
from tdxdbg.filters.tree import Or
from tdxdbg.timeline import Timeline
from tdxdbg.ui.judging import parse_watch
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.tested import Tested

_END: Final = -1
Matching = Callable[[Timeline, Filter], Matches]


class RowStops:
    """`points` is the list of them; change it through the methods here."""

    def __init__(self, timeline: Timeline, matching: Matching = Matches) -> None:
        """`matching` makes the rows that a condition selects."""
        self.points = Breakpoints()
        self._matching = matching
        self._timeline = timeline
        self._hits: dict[int, Tested] = {}
        self._any = self._tested(self.points.at_row)

    def __len__(self) -> int:
        return len(self.points)

    def use(self, timeline: Timeline) -> None:
        """The same breakpoints over another timeline."""
        self._timeline = timeline
        self._hits = {each.number: self._rows_of(each) for each in self.points}
        self._changed()

    def _tested(self, test: Callable[[Row], object]) -> Tested:
        timeline = self._timeline
        return Tested(lambda row: bool(test(Row(timeline, row))), lambda: len(timeline))

    def _rows_of(self, point: Breakpoint) -> Tested:
        condition = self.points.condition(point.number)
        if condition is not None:
            return self._matching(self._timeline, condition)
        return self._tested(lambda row: self.points.holds(point.number, row))

    # --- the list -----------------------------------------------------------------------

    def add(self, text: str) -> Breakpoint:
        """Stop at exits that match; raises FilterError, and ValueError when there are too many."""
        return self._added(self.points.add_exit(text))

    def add_watch(self, text: str) -> Breakpoint:
        """Stop where a GPA range is converted or a register has a value: see `parse_watch`.

        Raises PlaceError, FilterError and ValueError.
        """
        watch = parse_watch(text)
        if watch.condition:
            return self._added(self.points.add_registers(watch.condition))
        return self._added(self.points.add_mapping(watch.gpa, watch.size))

    def _added(self, point: Breakpoint) -> Breakpoint:
        self._hits[point.number] = self._rows_of(point)
        self._changed()
        return point

    def remove(self, number: int) -> None:
        """KeyError if there is none of this number."""
        self.points.remove(number)
        del self._hits[number]
        self._changed()

    def switch(self, number: int) -> None:
        """On, or off; KeyError if there is none of this number."""
        point = self.points.get(number)
        if point is None:
            raise KeyError(number)
        self.points.enable(number, enabled=not point.enabled)
        self._changed()

    def _changed(self) -> None:
        self._any = self._tested(self.points.at_row)

    def listing(self) -> list[dict[str, Any]]:
        """Each as the list shows it; `hits` of so many rows as were counted, `more` to come."""
        return [
            {
                "id": each.number,
                "kind": each.kind.value,
                "text": each.text,
                "enabled": each.enabled,
                "hits": self._hits[each.number].count,
                "more": not self._hits[each.number].complete,
            }
            for each in self.points
        ]

    # --- rows ---------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether there is anything to stop for."""
        return any(each.enabled for each in self.points)

    def stops_at(self, row: int) -> bool:
        """Whether any that is enabled stops at a row."""
        return bool(len(self.points)) and self._any.matches(row)

    def why(self, row: int) -> tuple[str, int]:
        """What stops at a row, in words, and the first step at which one does."""
        at = Row(self._timeline, row)
        numbers = self.points.at_row(at)
        if not numbers:
            return "", 0
        found = [each for each in self.points if each.number in numbers]
        words = ", ".join(f"{each.number} {each.text}" for each in found)
        return words, min(self.points.step(number, at) for number in numbers)

    def step(self, number: int, row: int) -> int:
        """The step of a row at which one of them stops."""
        return self.points.step(number, Row(self._timeline, row))

    @property
    def looked_at(self) -> int:
        """The row that a search has come to."""
        return self._any.at

    def search(self, start: int, direction: int) -> Iterator[int | None]:
        """The nearest row beyond `start` at which one stops: None between slices, then the row.

        Conditions of the filter's language are found by its own search, which may
        have columns; beside it every row is asked, so that neither waits for the other.
        """
        conditions, others = self._conditions()
        quick = conditions.search(start, direction) if conditions is not None else iter(())
        ahead: int | None = None
        self._any.at = start
        for row in self._any.search(start, direction):
            if row is not None:
                yield row
                return
            if ahead is None:
                ahead = next(quick, _END)
            if ahead is not None and not others:
                if ahead != _END:
                    yield ahead
                return
            yield None

    def search_one(self, number: int, start: int, direction: int) -> Iterator[int | None]:
        """The same for one of them, enabled or not."""
        return self._hits[number].search(start, direction)

    def _conditions(self) -> tuple[Matches | None, bool]:
        """The rows of all enabled conditions together, and whether there are other kinds."""
        enabled = [each for each in self.points if each.enabled]
        found = [self.points.condition(each.number) for each in enabled]
        trees = [each.tree for each in found if each is not None]
        if not trees:
            return None, bool(enabled)
        tree = trees[0] if len(trees) == 1 else Or(tuple(trees))
        return self._matching(self._timeline, Filter(str(tree), tree)), None in found

    # --- counting -----------------------------------------------------------------------

    def counted(self) -> Iterator[Tested]:
        """What was counted."""
        yield from self._hits.values()
        yield self._any

    def uncounted(self) -> Tested | None:
        """One whose hits are still to be counted."""
        return next((each for each in self._hits.values() if each.to_count), None)

    def hits(self) -> list[Sequence[int]]:
        """Of each that is enabled the rows in order, as far as they were counted."""
        return [self._hits[each.number].rows for each in self.points if each.enabled]

    # --- what is remembered -------------------------------------------------------------

    def state(self) -> list[dict[str, object]]:
        """All of them, as plain data."""
        return [
            {"kind": each.kind.value, "text": each.text, "enabled": each.enabled}
            for each in self.points
        ]

    def restore(self, state: object) -> list[str]:
        """Add those of a `state`; a line for each that cannot be."""
        problems = []
        for item in state if isinstance(state, Sequence) else ():
            try:
                self._restore_one(item)
            except ValueError as error:
                problems.append(f"breakpoint: {error}")
        return problems

    def _restore_one(self, item: object) -> None:
        text = item.get("text") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(text, str):
            raise ValueError("it has no text")
        is_exit = item.get("kind") == Kind.EXIT.value
        point = self.add(text) if is_exit else self.add_watch(text)
        if item.get("enabled") is False:
            self.switch(point.number)
