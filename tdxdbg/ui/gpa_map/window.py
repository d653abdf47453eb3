"""Which part of the GPA space a map shows: rows of equal cells, both powers of two.

A row begins at a multiple of its size, so the addresses at the left are round
at every zoom, and panning goes by rows. `space` is always the end of the GPAs
that there are, in bytes, a power of two.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PAGE_SHIFT: Final = 12
PAGE: Final = 1 << PAGE_SHIFT
#: No GPA is larger, whatever the width.
TOP: Final = 1 << 52
#: Three bits a step: the page sizes 4 KiB, 2 MiB, 1 GiB and 512 GiB are among the cells.
_STEP: Final = 3


class Window(NamedTuple):
    """From `start`, `rows` rows of `columns` cells of `cell` bytes.

    `pitch` rows stand in a line of the screen, and the first one of them at a
    multiple of the line's size.
    """

    start: int
    cell: int
    columns: int
    rows: int
    pitch: int = 1

    @property
    def row(self) -> int:
        """Bytes in a row."""
        return self.cell * self.columns

    @property
    def line(self) -> int:
        """Bytes in a line of the screen."""
        return self.row * self.pitch

    @property
    def lines(self) -> int:
        return self.rows // self.pitch

    @property
    def size(self) -> int:
        """Bytes in all rows."""
        return self.row * self.rows

    @property
    def end(self) -> int:
        return self.start + self.size

    def sees(self, gpa: int) -> bool:
        """Whether this address is in it."""
        return self.start <= gpa < self.end

    def holds(self, gpa: int, size: int) -> bool:
        """Whether all of the range is seen, and large enough to be seen well."""
        return self.start <= gpa and gpa + size <= self.end and size >= self.cell

    def cells(self, gpa: int, size: int) -> range:
        """Numbers of the cells that a range touches, from the window's first one."""
        if size <= 0 or gpa >= self.end or gpa + size <= self.start:
            return range(0)
        first = max(gpa - self.start, 0) // self.cell
        last = (min(gpa + size, self.end) - 1 - self.start) // self.cell
        return range(first, last + 1)


def around(shape: Window, gpa: int, size: int, space: int) -> Window:
    """A window of this shape in which the range takes up to half."""
    cells = max(shape.columns * shape.rows // 2, 1)
    cell = PAGE
    while size > cell * cells and cell < space:
        cell <<= 1
    window = shape._replace(cell=cell)
    return _at(window, gpa // window.line - window.lines // 4, space)


def whole(shape: Window, space: int) -> Window:
    """All of the space, in the smallest cells that do."""
    cell = PAGE
    while cell * shape.columns * shape.rows < space:
        cell <<= 1
    return shape._replace(start=0, cell=cell)


def zoomed(window: Window, steps: int, at: int, space: int) -> Window:
    """Smaller cells (`steps` above 0) or larger ones; `at` stays in its line of the screen."""
    largest = whole(window, space).cell.bit_length() - 1 - PAGE_SHIFT
    shift = window.cell.bit_length() - 1 - PAGE_SHIFT
    for _ in range(steps):
        shift = max((shift - 1) // _STEP * _STEP, 0)
    for _ in range(-steps):
        shift = min((shift // _STEP + 1) * _STEP, largest)
    other = window._replace(cell=PAGE << shift)
    return _at(other, at // other.line - _line_of(window, at), space)


def refitted(window: Window, shape: Window, at: int, space: int) -> Window:
    """The same cells in another shape; `at` stays as high as it was, in proportion."""
    line = _line_of(window, at) * shape.lines // window.lines
    other = shape._replace(cell=min(window.cell, whole(shape, space).cell))
    return _at(other, at // other.line - line, space)


def panned(window: Window, lines: int, space: int) -> Window:
    """So many lines further, as far as there is space."""
    return _at(window, window.start // window.line + lines, space)


def showing(window: Window, at: int, space: int) -> Window:
    """The nearest window that has this address in it."""
    if window.sees(at):
        return window
    line = at // window.line
    return _at(window, line if at < window.start else line - window.lines + 1, space)


def _line_of(window: Window, at: int) -> int:
    """The line of the screen that has this address, or the nearest one."""
    return min(max((at - window.start) // window.line, 0), window.lines - 1)


def _at(window: Window, line: int, space: int) -> Window:
    """With this line of the space first, but not beyond it."""
    last = max(-(-space // window.line) - window.lines, 0)
    return window._replace(start=min(max(line, 0), last) * window.line)
