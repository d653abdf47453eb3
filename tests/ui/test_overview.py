from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.traces import Trace, TraceMeta
from tdxdbg.ui.overview import MARKS, Marks
from tests.ui import demo
from tests.ui.screens import app_on, screen_text

SIZE = (120, 40)
rows = st.lists(st.integers(0, 99), unique=True).map(sorted)


@given(st.integers(1, 40), rows, rows, st.integers(0, 99))
def test_a_cell_shows_the_first_kind_that_has_an_exit_in_its_stretch(
    count: int, errors: list[int], matches: list[int], here: int
) -> None:
    marks = Marks(100, [("error", errors), ("match", array("Q", matches))])
    edge = marks.edge(count, here)
    for cell, (seen, span) in enumerate(zip(marks.cells(count), edge, strict=True)):
        stretch = [row for row in range(100) if row * count // 100 == cell]
        of_error = [row for row in errors if row in stretch]
        of_match = [row for row in matches if row in stretch]
        kind = "error" if of_error else "match" if of_match else ""
        assert seen.kind == kind
        assert seen.row == min(of_error or of_match or stretch)
        if here in stretch:
            assert span is not None
            assert span[0] == "▶"
        else:
            assert span == MARKS.get(kind)


@pytest.mark.parametrize("total", [0, 1, 3])
def test_fewer_exits_than_cells(total: int) -> None:
    marks = Marks(total, [("retry", range(total))])
    assert len(marks.edge(10, 0 if total else None)) == 10
    assert sum(cell.kind == "retry" for cell in marks.cells(10)) == total
    assert all(0 <= cell.row < max(total, 1) for cell in marks.cells(10))
    assert marks.cells(0) == ()


def test_keys_differ_where_what_is_seen_may() -> None:
    keys = {
        Marks(total, [("bookmark", found)]).key
        for total, found in [(9, [1, 3, 5]), (9, [1, 4, 5]), (9, []), (8, []), (99, range(80))]
    }
    assert len(keys) == 5


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_the_edge_shows_the_whole_recording_and_leads_there(ascii_only: bool) -> None:
    app = app_on(demo.mapgpa(), ascii_only=ascii_only)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2", "G", "m", "a")
        app.action_filter("leaf == MapGPA")
        await pilot.pause(0.3)
        queue, total = app.queue, app.cursor.rows
        x = queue.outer_size.width - 1

        def edge() -> dict[int, str]:
            seen = {
                y - 1: line[x] for y, line in enumerate(screen_text(app)[1 : 1 + queue.rows], 1)
            }
            return {row: seen[-(-row * queue.rows // total)] for row in range(total)}

        marks = edge()
        here, error, retry, match = (">", "!", "~", "=") if ascii_only else ("▶", "‼", "↻", "▪")
        assert marks[2] == here
        assert {row for row in range(total) if marks[row] == error} == {7, 10}
        assert {row for row in range(total) if marks[row] == retry} == {1, 3}
        assert match in marks.values()
        at = next(y for y, cell in enumerate(queue._overview.cells(queue.rows)) if cell.row == 7)
        await pilot.click(f"#{queue.id}", offset=(x, at + 1))
        assert app.cursor.row == 7
        await pilot.press("G")
        assert edge()[2] == ("*" if ascii_only else "◆")


async def test_a_click_beside_an_empty_recording() -> None:
    app = app_on(Trace.from_records(TraceMeta(), []))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.click(f"#{app.queue.id}", offset=(app.queue.outer_size.width - 1, 3))
        assert app.is_running
