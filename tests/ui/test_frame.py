from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.lines import own, width_of, word
from tdxdbg.ui.widgets.frame import Frame, Tab, thumb_rows

TABS = (Tab("a", own("1 exits"), True), Tab("b", own("2 decode"), False))


@given(st.integers(4, 80), st.booleans(), st.text(max_size=30), st.integers(0, 40))
def test_every_edge_and_line_is_as_wide_as_the_pane(
    width: int, focused: bool, text: str, left: int
) -> None:
    frame = Frame(width, 5, focused)
    for made in (
        frame.top(TABS),
        frame.bottom((word(text),)),
        frame.body((word(text),), left, False, True),
    ):
        assert width_of(made.spans) == width


def test_the_focused_frame_differs_by_its_glyphs_not_by_colour_alone() -> None:
    assert Frame(30, 5, True).top(TABS).text == "╔═ 1 exits │ 2 decode ═══════╗"
    assert Frame(30, 5, False).top(TABS).text == "┌─ 1 exits │ 2 decode ───────┐"
    assert Frame(12, 5, False).bottom((word("3/9"),)).text == "└──── 3/9 ─┘"


@pytest.mark.parametrize(
    ("top", "rows", "total", "expected"),
    [
        (0, 10, 10, range(0)),
        (0, 10, 20, range(5)),
        (10, 10, 20, range(5, 10)),
        (0, 10, 10_000_000, range(1)),
        (9_999_990, 10, 10_000_000, range(9, 10)),
        (0, 0, 5, range(0)),
    ],
)
def test_thumb(top: int, rows: int, total: int, expected: range) -> None:
    assert thumb_rows(top, rows, total) == expected
