"""A recording of another tool that is still being imported, while its first exits are looked at."""

from __future__ import annotations

from typing import Final

from tdxdbg.traces.background import Background
from tdxdbg.ui.growing import Growing
from tdxdbg.ui.lines import Span, own, word

#: Between two looks at how far it is, in seconds.
_LOOK: Final = 0.1


class Importing(Growing, inherit_bindings=False):
    """Shows how far the import is; Esc stops it where it is."""

    def set_up(self) -> None:
        super().set_up()
        self._import: Background | None = None
        self._import_badge: Span | None = None

    # Textual calls the one of each class.
    def on_mount(self) -> None:
        self.set_interval(_LOOK, self._look_at_import)
        self._look_at_import()

    def on_unmount(self) -> None:
        if self._import is not None:
            self._import.close()

    def come_from(self, background: Background) -> None:
        """Before the screen opens: the trace grows by this import."""
        self._import = background
        self.watching = True

    def _look_at_import(self) -> None:
        background = self._import
        if background is None:
            return
        background.read()
        badges = tuple(badge for badge in self.status.badges if badge is not self._import_badge)
        self._import_badge = None if background.ended else self._badge(background)
        self.status.badges = badges if self._import_badge is None else (*badges, self._import_badge)
        self.status.show(self.timeline, self.queue.moment, self.matches)
        if background.ended:
            self._import = None
            self._poll()
            self._say_end(background)
            background.close()

    def _badge(self, background: Background) -> Span:
        if not background.total:
            return own(" IMPORTING "), "retry_badge"
        share = min(100 * background.done // background.total, 100)
        return word(f" IMPORTING {share} % ")[0], "retry_badge"

    def _say_end(self, background: Background) -> None:
        if background.failure:
            self.tell(background.failure, "error")
        elif self.trace.problems:
            more = f"{self.trace.problems[0]} ({self.key('about')}: all)"
            self.tell(f"imported: {len(self.trace):,} exits; {more}")
        else:
            self.tell(f"imported: {len(self.trace):,} exits", "ok")

    def action_stop(self) -> None:
        """Esc: first whatever else it stops; asked twice, as it is pressed by habit."""
        again = f"{self.key('stop')} again ends the import here: what was read stays"
        if self._import is None or self._wanted is not None or self._count:
            super().action_stop()
        elif self.hints.message == again:
            self._import.stop()
            self.tell("the import ends here", "dim")
        else:
            super().action_stop()
            self.tell(again, "dim")
