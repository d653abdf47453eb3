"""A trace that is still being written shows at every point what a finished one would."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdxdbg.engine import BY_NAME, Td
from tdxdbg.timeline import Timeline
from tdxdbg.traces import TraceMeta, Writer, open_trace
from tests.timeline.journals import MIXED, make_trace, records_of

TD = Td(gpaw=48)
GENERATION = BY_NAME["7.2"]
RECORDS = records_of(MIXED, TD, GENERATION, checkpoint_every=6)
META = TraceMeta(source="test", generation="7.2", origin="synthetic", td=TD)


def moments(timeline: Timeline) -> list[object]:
    return [
        timeline.moment(row, step)
        for row in range(len(timeline))
        for step in range(timeline.steps(row))
    ]


@pytest.mark.parametrize("kernel", ["7.2", "v19"])
@given(cuts=st.lists(st.integers(0, len(RECORDS)), min_size=1, max_size=6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_growing_shows_what_a_finished_trace_of_that_length_shows(
    tmp_path: Path, cuts: list[int], kernel: str
) -> None:
    path = tmp_path / "growing.tdxt"
    path.unlink(missing_ok=True)
    with Writer(path, META) as writer, open_trace(path) as trace:
        grown = Timeline(trace, BY_NAME[kernel])
        done = 0
        for cut in sorted({*cuts, len(RECORDS)}):
            for record in RECORDS[done:cut]:
                writer.write(record)
            done = cut
            if trace.refresh():
                grown.grown()
            fresh = Timeline(make_trace(RECORDS[:cut], TD, GENERATION), BY_NAME[kernel])
            assert len(grown) == len(fresh)
            assert moments(grown) == moments(fresh)
            rows = range(len(fresh))
            assert [grown.summary(row) for row in rows] == [fresh.summary(row) for row in rows]


def test_only_rows_without_an_end_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "growing.tdxt"
    with Writer(path, META) as writer, open_trace(path) as trace:
        timeline = Timeline(trace)
        seen: set[int] = set()
        for record in RECORDS:
            writer.write(record)
            trace.refresh()
            forgotten = timeline.grown()
            assert len(forgotten) <= 2, "one for each vCPU"
            seen |= forgotten
            moments(timeline)
        assert seen == set(range(len(timeline)))
        assert timeline.grown() == frozenset()
