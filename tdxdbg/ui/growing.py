"""A recording that is still being written: followed, at its end until one looks elsewhere."""

from __future__ import annotations

from typing import Final

from tdxdbg.errors import TraceError
from tdxdbg.ui.core import Core
from tdxdbg.ui.lines import own

#: Between two looks at the file, in seconds: it is asked for its size.
POLL: Final = 0.25
FOLLOW: Final = (own(" FOLLOW "), "ok_badge")


class Growing(Core, inherit_bindings=False):
    """`f`, and replay --follow."""

    def set_up(self) -> None:
        super().set_up()
        #: The file is looked at; and the cursor goes with its end.
        self.watching = False
        self.at_end = False
        #: It was said that the file is not there any more.
        self._gone = False

    # Textual calls the one of each class.
    def on_mount(self) -> None:
        self.set_interval(POLL, self._poll)

    def follow_from_start(self) -> None:
        """Before the screen opens; a recording that cannot grow is only opened at its end."""
        self._follow()

    def _follow(self) -> None:
        self.watching = self.at_end = self.trace.grows
        self._to_newest()

    def action_follow(self) -> None:
        """To the end, and stay there while it moves."""
        self._quiet()
        if not self.trace.grows:
            self.tell("this is a copy in memory, which does not grow; a .tdxt file can", "dim")
            return
        self._follow()
        self._poll()
        self.show()
        keys = self.hints.spoken("{previous_row} or {first} looks back, {follow} follows again")
        self.tell(f"following the recording: {keys}", "ok")

    def _poll(self) -> None:
        if not self._gone and (cut := self.trace.cut):
            self._gone = True
            self.watching = self.at_end = False
            self.show()
            self.tell(cut)
        if not self.watching:
            return
        try:
            grown = self.take_in()
        except TraceError as error:
            # What was written is no continuation of it: a file that was replaced.
            self.watching = self.at_end = False
            self.tell(f"not followed any more: {error}")
            return
        if grown:
            if self.at_end:
                self._to_newest()
            self.show()

    def _is_newest(self) -> bool:
        row, step, rows = self.cursor.row, self.cursor.step, self.cursor.rows
        return not rows or (row == rows - 1 and step == self.timeline.steps(row) - 1)

    def _to_newest(self) -> None:
        last = max(self.cursor.rows - 1, 0)
        steps = self.timeline.steps(last) if self.cursor.rows else 1
        self.cursor.to_row(last, steps - 1)

    def show(self) -> None:
        self.at_end = self.watching and self._is_newest()
        badges = tuple(badge for badge in self.status.badges if badge is not FOLLOW)
        self.status.badges = (*badges, FOLLOW) if self.at_end else badges
        super().show()
