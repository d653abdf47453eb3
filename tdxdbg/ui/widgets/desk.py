"""The container of everything: places its children as `arrange` says."""

from __future__ import annotations

from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from tdxdbg.ui.layout import REPLAY, Arrangement, Plan, View, arrange
from tdxdbg.ui.lines import part
from tdxdbg.ui.widgets.frame import Tab, top_width
from tdxdbg.ui.widgets.pane import Pane


class _ByTable(Layout):
    """Children by their place in the desk's arrangement; others are not placed."""

    name = "desk"

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        if not isinstance(parent, Desk):
            return []
        places = parent.arranged(size).places
        return [
            WidgetPlacement(
                Region(*places[child.id]) if child.id in places else Region(0, 0, 0, 0),
                NULL_OFFSET,
                NULL_SPACING,
                child,
            )
            for child in children
        ]


class Desk(Widget):
    """Holds the panes and lines, `view` says what the user wants in front."""

    DEFAULT_CSS = "Desk { width: 1fr; height: 1fr; }"

    def __init__(self, *children: Widget, plan: Plan = REPLAY) -> None:
        super().__init__(*children, id="desk")
        self.plan = plan.only({child.id or "" for child in children})
        self.view = View()
        self._table = _ByTable()
        self._arranged: tuple[Size, View, Arrangement] | None = None

    @property
    def layout(self) -> Layout:
        return self._table

    def arranged(self, size: Size) -> Arrangement:
        """The arrangement for this size; panes learn their tabs."""
        known = self._arranged
        if known is not None and known[:2] == (size, self.view):
            return known[2]
        result = arrange(size.width, size.height, self.view, self.plan)
        self._arranged = size, self.view, result
        for pane in self.query_children(Pane):
            names = result.tabs.get(pane.id or "", (pane.id or "",))
            place = result.places.get(pane.id or "")
            tabs = self._tabs(names, pane.id or "", place.width if place is not None else 0)
            if tabs != pane.tabs:
                pane.tabs = tabs
                pane.refresh()
        return result

    def _tabs(self, names: tuple[str, ...], front: str, width: int) -> tuple[Tab, ...]:
        """The titles of the panes of a place, shorter where the long ones do not fit."""
        panes = [self.get_child_by_id(name, Pane) for name in names]
        long = tuple(Tab(pane.id or "", pane.titles[0], pane.id == front) for pane in panes)
        if len(panes) == 1 or top_width(long) <= width:
            return long
        short = tuple(Tab(pane.id or "", pane.titles[1], pane.id == front) for pane in panes)
        if top_width(short) <= width:
            return short
        # The number is enough to find a pane by.
        return tuple(
            tab if tab.front else tab._replace(title=part(tab.title, 0, 1)) for tab in short
        )

    @property
    def arrangement(self) -> Arrangement:
        """What is seen now."""
        return self.arranged(self.size)

    def change(self, view: View) -> None:
        """Show another view, in the next frame."""
        if view != self.view:
            self.view = view
            self.retitle()

    def retitle(self) -> None:
        """A pane has another title, from the next frame on."""
        self._arranged = None
        # A change of a child's layout is what makes its container arrange anew.
        for child in self.children[:1]:
            child.refresh(layout=True)
