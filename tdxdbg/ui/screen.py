"""What the apps share: bindings out of a key table, the screen under the panes, how they end."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from tdxdbg.ui.export import offline_svg
from tdxdbg.ui.keys import Key

Result = TypeVar("Result")


def bindings(keys: tuple[Key, ...]) -> list[BindingType]:
    """A key table as textual wants it."""
    return [
        Binding(name, key.action.format(key=name), id=f"{key.id}.{name}", show=False)
        for key in keys
        for name in key.keys.split(",")
        if name
    ]


class QuietApp(App[Result], inherit_bindings=False):
    """An app that says nothing that it did not make safe, and leaves the terminal as it was."""

    TITLE = "tdxdbg"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    ALLOW_SELECT: ClassVar[bool] = False
    ESCAPE_TO_MINIMIZE: ClassVar[bool] = False
    #: What went wrong inside, to be raised when the terminal is restored.
    crash: Exception | None = None

    def get_line_filters(self) -> Sequence[LineFilter]:
        """None: the palette knows what the terminal can, and NO_COLOR."""
        return ()

    def end_on_signals(self) -> None:
        """End as a program does that is told to: with the terminal restored."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, self.exit, None, 128 + number)

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """The screen as SVG, without anything remote in it; its title is the program's."""
        return offline_svg(super().export_screenshot(title=self.TITLE, simplify=simplify))

    def action_interrupt(self) -> None:
        self.exit(None, 130)

    def _fatal_error(self) -> None:
        """Textual would print a traceback with local variables: what a guest wrote, unescaped."""
        if isinstance(self._exception, Exception):
            self.crash = self._exception
        self._close_messages_no_wait()


class PanesScreen(Screen[None], inherit_bindings=False):
    """The screen of the panes; its keys are all in the key table."""


def freeze() -> None:
    """Long-lived objects are no work for the collector any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
