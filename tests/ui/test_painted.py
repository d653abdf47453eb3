"""What a painted strip sends looks like what textual would have sent, and is less."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tdxdbg.ui.palette import ROLES
from tdxdbg.ui.themes import choose, load_themes
from tdxdbg.ui.widgets.painted import PaintedStrip

NAMES = sorted(load_themes().palettes)
SYSTEMS = ("truecolor", "256", "standard")
WIDTH = 60
ROLE = sorted(ROLES - {"background", "cursor", "lit"})

#: Styles of the themes, and some that no theme makes: without a colour, without any.
STYLES = st.one_of(
    st.builds(
        lambda theme, role, current: choose(load_themes(), theme).style(role, current),
        st.sampled_from(NAMES),
        st.sampled_from(ROLE),
        st.booleans(),
    ),
    st.sampled_from([Style(), Style(bold=True), Style(color="red"), Style(bgcolor="blue"),
                     Style(reverse=True), Style(color="default", bgcolor="default", italic=True),
                     Style(dim=True, underline=True)]),
)  # fmt: skip
PIECES = st.lists(
    st.tuples(st.text(" ab▓│", min_size=1, max_size=5), STYLES), min_size=1, max_size=12
)


def drawn(strip: Strip, system: str) -> list[tuple[object, ...]]:
    """Each cell as the terminal shows it; of a blank only what can be seen of it."""
    console = Console(color_system=system, force_terminal=True, _environ={})  # type: ignore[arg-type]
    screen = pyte.Screen(WIDTH, 1)
    pyte.Stream(screen).feed(strip.render(console))
    cells: list[tuple[object, ...]] = []
    for at in range(strip.cell_length):
        cell = screen.buffer[0][at]
        marks: tuple[object, ...] = (cell.bg, cell.reverse, cell.underscore)
        if cell.data != " " or cell.reverse or cell.underscore:
            marks += (cell.data, cell.fg, cell.bold, cell.italics)
        cells.append(marks)
    assert screen.cursor.attrs == screen.default_char, "it ends in the terminal's plain look"
    return cells


@pytest.mark.parametrize("system", SYSTEMS)
@given(pieces=PIECES)
def test_it_looks_the_same(system: str, pieces: list[tuple[str, Style]]) -> None:
    segments = [Segment(text, style) for text, style in pieces]
    assert drawn(PaintedStrip(segments), system) == drawn(Strip(segments), system)


@given(pieces=PIECES, at=st.integers(1, 20))
def test_a_part_of_it_looks_the_same(pieces: list[tuple[str, Style]], at: int) -> None:
    segments = [Segment(text, style) for text, style in pieces]
    one, other = PaintedStrip(segments).crop(0, at), Strip(segments).crop(0, at)
    assert drawn(one, "truecolor") == drawn(other, "truecolor")


def test_the_colour_that_stays_is_not_said_again() -> None:
    style = choose(load_themes(), "tdx-dark").style
    strip = PaintedStrip([Segment("R10", style("name")), Segment("  ", style("dim")),
                          Segment("5", style("value")), Segment("6", style("value"))])  # fmt: skip
    console = Console(color_system="truecolor", force_terminal=True, _environ={})
    assert strip.render(console) == (
        "\x1b[38;2;169;195;220;48;2;16;20;24mR10  \x1b[38;2;213;219;225m56\x1b[0m"
    )
