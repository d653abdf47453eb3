from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace, TraceMeta
from tdxdbg.ui.cursor import Cursor
from tests.ui import demo

TIMELINE = Timeline(demo.mapgpa())
PLACES = [(row, step) for row in range(len(TIMELINE)) for step in range(TIMELINE.steps(row))]


def test_stepping_forward_visits_every_step_in_order_and_stops() -> None:
    cursor = Cursor(TIMELINE)
    seen = [(cursor.row, cursor.step)]
    while cursor.forward():
        seen.append((cursor.row, cursor.step))
    assert seen == PLACES
    assert not cursor.forward()


@given(st.integers(0, len(PLACES) - 1))
def test_back_undoes_forward(place: int) -> None:
    row, step = PLACES[place]
    cursor = Cursor(TIMELINE, row, step)
    if cursor.forward():
        assert cursor.back()
        assert (cursor.row, cursor.step) == (row, step)


def test_back_stops_at_the_beginning() -> None:
    assert not Cursor(TIMELINE).back()


@given(st.integers(-5, 50), st.integers(-5, 50))
def test_a_place_is_clamped_to_what_there_is(row: int, step: int) -> None:
    cursor = Cursor(TIMELINE)
    cursor.to_row(row, step)
    assert (cursor.row, cursor.step) in PLACES


def test_an_empty_recording_has_one_place() -> None:
    cursor = Cursor(Timeline(Trace.from_records(TraceMeta(), [])))
    cursor.to_row(3, 3)
    assert (cursor.row, cursor.step, cursor.rows) == (0, 0, 0)
    assert not cursor.forward()
    assert not cursor.back()
