from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.engine import GpaMap
from tdxdbg.ui.panes.gpa_map import Window, cell_states, window_around

PAGE = 4096
END = 1 << 52


@given(
    st.integers(0, END - 1),
    st.integers(1, 1 << 52),
    st.sampled_from([8, 16, 32, 64]),
    st.integers(1, 40),
)
def test_a_window_shows_the_range_and_stays_in_the_space(
    gpa: int, size: int, columns: int, rows: int
) -> None:
    size = min(size, END - gpa)
    window = window_around(gpa, size, columns, rows)
    assert window.start % (window.cell * columns) == 0
    assert window.start <= gpa < window.end
    assert window.cell & (window.cell - 1) == 0
    assert window.start >= 0


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60), st.booleans()), max_size=12),
    st.sampled_from([1, 2, 4, 8]),
)
def test_cells_are_what_their_pages_are(
    conversions: list[tuple[int, int, bool]], pages: int
) -> None:
    gpa_map = GpaMap()
    bits = [False] * 512
    for first, count, private in conversions:
        gpa_map = gpa_map.convert(first * PAGE, count * PAGE, private=private)
        bits[first : first + count] = [not private] * count
    window = Window(0, pages * PAGE, 16, 1)
    expected = []
    for cell in range(16):
        kinds = set(bits[cell * pages : (cell + 1) * pages])
        expected.append("mixed" if len(kinds) == 2 else "shared" if True in kinds else "private")
    assert cell_states(gpa_map, 0, window) == expected


@pytest.mark.parametrize(
    ("gpa", "size", "cell"),
    [(0x4000_0000, PAGE, PAGE), (0x4000_0000, 8 << 20, 128 << 10), (0, END, 1 << 46)],
)
def test_the_size_of_a_cell_follows_the_range(gpa: int, size: int, cell: int) -> None:
    assert window_around(gpa, size, 16, 8).cell == cell
