from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.filters import compile_filter
from tdxdbg.index.client import Answer
from tdxdbg.timeline import Timeline
from tdxdbg.ui.matches import Matches
from tests.ui import demo

TIMELINE = Timeline(demo.mapgpa())
EXPRESSIONS = ["leaf == MapGPA", "retry", "vcpu == 1", "status == 77", "index >= 0"]


def matching(text: str) -> list[int]:
    wanted = compile_filter(text)
    return [row for row in range(len(TIMELINE)) if wanted.matches(TIMELINE.summary(row))]


def found(matches: Matches, start: int, direction: int) -> int | None:
    return next((row for row in matches.search(start, direction) if row is not None), None)


@given(
    st.sampled_from(EXPRESSIONS),
    st.integers(0, len(TIMELINE)),
    st.integers(-1, len(TIMELINE)),
    st.sampled_from([1, -1]),
)
def test_search_finds_the_nearest_match_however_much_was_counted(
    text: str, scanned: int, start: int, direction: int
) -> None:
    matches = Matches(TIMELINE, compile_filter(text))
    matches.scan(scanned)
    rows = matching(text)
    beyond = [row for row in rows if (row - start) * direction > 0]
    expected = min(beyond, key=lambda row: abs(row - start), default=None)
    assert found(matches, start, direction) == expected


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_counting_in_slices_finds_all(text: str) -> None:
    matches = Matches(TIMELINE, compile_filter(text))
    while not matches.complete:
        matches.scan(2)
    rows = matching(text)
    assert matches.count == len(rows)
    assert [row for row in range(len(TIMELINE)) if matches.matches(row)] == rows
    matches.scan(5)
    assert matches.count == len(rows)


class Told:
    """An index whose answers come when the test says so."""

    alive = True

    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []
        self.answer = Answer(self, 1, "retry")

    def send(self, message: dict[str, object]) -> None:
        self.sent.append(message)

    def ask(self, text: str, total: int) -> Answer:
        return self.answer


@given(st.integers(0, len(TIMELINE)), st.lists(st.integers(0, len(TIMELINE)), max_size=4))
def test_own_counting_and_answers_never_disagree(scanned: int, answers: list[int]) -> None:
    index = Told()
    matches = Matches(TIMELINE, compile_filter("retry"))
    matches.ask(index)
    rows = matching("retry")
    matches.scan(scanned)
    for seen in sorted(answers):
        index.answer.seen = seen
        index.answer.rows = [row for row in rows if row < seen]
        before = matches.seen
        assert matches.take() is (seen > before)
        matches.scan(1)
        assert matches.seen in (before, seen, before + 1)
        assert list(matches.rows) == [row for row in rows if row < matches.seen]
        assert matches.count == len(matches.rows)
    index.alive = False
    assert matches.take()
    while matches.to_count:
        matches.scan(2)
    assert list(matches.rows) == rows


def test_who_is_asked_late_takes_over() -> None:
    index = Told()
    matches = Matches(TIMELINE, compile_filter("retry"))
    matches.scan(3)
    matches.ask(index)
    matches.scan(3)
    assert matches.seen == 6
    index.answer.seen, index.answer.rows = 7, [row for row in matching("retry") if row < 7]
    assert matches.take()
    matches.scan(3)
    assert matches.seen == 7
    assert list(matches.rows) == index.answer.rows


def test_growth_asks_from_the_first_row_that_may_change() -> None:
    index = Told()
    matches = Matches(TIMELINE, compile_filter("retry"))
    matches.ask(index)
    index.answer.seen, index.answer.firm = len(TIMELINE), 9
    index.answer.rows = matching("retry")
    assert matches.take()
    matches.grown([3])
    assert (matches.seen, list(matches.rows)) == (3, [row for row in matching("retry") if row < 3])
    assert not matches.to_count
    assert index.sent[-1]["start"] == 3
    matches.grown([0])
    assert (matches.seen, matches.count) == (0, 0)
    matches.scan(4)
    assert list(matches.rows) == [row for row in matching("retry") if row < 4]
