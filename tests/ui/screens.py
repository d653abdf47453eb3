"""Apps for the tests, and what stands on their screens."""

from __future__ import annotations

from pathlib import Path

from tdxdbg.engine import BY_NAME
from tdxdbg.filters import compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.traces import Trace, open_trace
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.themes import choose, load_themes

SAMPLES = sorted(samples_dir().glob("*.tdxt"))
SIZES = [(80, 24), (120, 40), (200, 60)]


def app_on(
    trace: Trace | Path,
    *,
    at: int = 0,
    kernel: str | None = None,
    wanted: str | None = None,
    theme: str | None = None,
    ascii_only: bool = False,
) -> ReplayApp:
    """The app on a recording."""
    opened = open_trace(trace) if isinstance(trace, Path) else trace
    return ReplayApp(
        opened,
        choose(load_themes(), theme),
        generation=BY_NAME[kernel] if kernel else None,
        at=at,
        wanted=compile_filter(wanted) if wanted else None,
        ascii_only=ascii_only,
        title=Path(opened.name).name,
    )


def screen_text(app: ReplayApp) -> list[str]:
    """The text of every row of the screen."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


def pane_text(app: ReplayApp, name: str) -> str:
    """Everything that a pane could show, scrolled or not."""
    pane = app.panes[name]
    return "\n".join(pane.line_at(index).text for index in range(pane.count()))
