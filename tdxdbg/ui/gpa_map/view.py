"""Where the user looks on the map: with the exit, until a key or the mouse moves the view."""

from __future__ import annotations

from tdxdbg.ui.gpa_map.window import (
    PAGE,
    TOP,
    Window,
    around,
    panned,
    refitted,
    showing,
    whole,
    zoomed,
)


class MapView:
    """A window and a cursor in it. `moved`: they stay, whatever exit is shown.

    `listing`: the list of ranges is in front; its cursor is the same address.
    """

    def __init__(self) -> None:
        self.window = Window(0, PAGE, 8, 1)
        self.space = TOP
        self.at = 0
        self.moved = False
        self.listing = False
        #: The range that was followed last; `_anew`: it has to be found again.
        self.seen: tuple[int, int] | None = None
        self._anew = True

    def fit(self, shape: Window, space: int, wanted: tuple[int, int]) -> Window:
        """The window for a pane of this shape; `wanted` is the range (GPA, size) to follow."""
        self.space = space
        self.at = min(self.at, space - 1)
        old = self.window
        if old[2:] != shape[2:]:
            old = refitted(old, shape, self.at, space)
            self._anew = True
        if not self.moved:
            self.at = min(wanted[0], space - 1)
            if self._anew or not old.holds(*wanted):
                old = around(shape, self.at, wanted[1], space)
            self.seen, self._anew = wanted, False
        self.window = showing(panned(old, 0, space), self.at, space)
        return self.window

    def pan(self, cells: int, lines: int) -> None:
        """Move the cursor; at an edge the window goes with it."""
        window = self.window
        start = self.at // window.cell * window.cell
        moved = start + cells * window.cell + lines * window.row
        # Up in the first row, or down in the last one, is no way to another column.
        if 0 <= moved < self.space:
            self.go(moved)
        else:
            self.moved = True

    def page(self, pages: float) -> None:
        """Move the window by so many of its heights, and the cursor with it."""
        lines = round(self.window.lines * pages)
        row = self.window.row
        last = max(self.space - 1, 0) // row * row + self.at % row
        self.window = panned(self.window, lines, self.space)
        self.go(min(max(self.at + lines * self.window.line, self.at % row), last))

    def zoom(self, steps: int, at: int | None = None) -> None:
        """Closer (above 0) or further away, at the cursor or at another address."""
        self.moved = True
        if at is not None:
            self.at = at
        self.window = zoomed(self.window, steps, self.at, self.space)

    def see_all(self) -> None:
        """The whole space."""
        self.moved = True
        self.window = whole(self.window, self.space)

    def go(self, at: int) -> None:
        """The cursor to this address, and the window as little as needed."""
        self.moved = True
        self.at = min(max(at, 0), self.space - 1)
        self.window = showing(self.window, self.at, self.space)

    def see(self, start: int, size: int) -> None:
        """A whole range, as large as it can be seen well."""
        self.moved = True
        self.at = start
        self.window = around(self.window, start, size, self.space)

    def follow(self) -> None:
        """Back to the exit."""
        self.moved = self.listing = False
        self._anew = True
