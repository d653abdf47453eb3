"""Typing into the guest: every key goes to its serial port, until Ctrl-] ends that.

Nothing is echoed here: the guest does that.
"""

from __future__ import annotations

from typing import Final

from textual import events
from textual.timer import Timer

from tdxdbg.ui.layout import CONSOLE, QUEUE
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.live.guest_keys import key_bytes, paste_bytes
from tdxdbg.ui.live.running import LiveRun
from tdxdbg.ui.live.wire import State
from tdxdbg.ui.live.words import LEAVES, typing_words
from tdxdbg.ui.panes.console import ConsolePane
from tdxdbg.ui.status import Message

#: Ctrl-], as telnet and virsh have it; the one key that no guest gets.
_LEAVE: Final = b"\x1d"
#: What is typed within so many seconds goes as one request: a frame of the screen.
_TOGETHER: Final = 1 / 60
#: Between two looks for the echo, in seconds.
_ECHO: Final = 1 / 30
#: What the serial port keeps for the guest, in bytes.
_MOST: Final = 1 << 16


class LiveConsole(LiveRun):
    """`A`, and Enter in the pane of the console."""

    def set_up(self) -> None:
        super().set_up()
        self.typing = False
        self._typed = b""
        self._sends: Timer | None = None
        self._echoes: Timer | None = None
        self._typed_from = QUEUE
        #: Why the last of what was typed did not get there.
        self._untold = ""

    @property
    def serial_pane(self) -> ConsolePane:
        """The pane of the serial console."""
        return self.pane(CONSOLE, ConsolePane)

    # --- in and out ---------------------------------------------------------------------

    def action_type(self) -> None:
        """From now on keys go to the guest."""
        self._quiet()
        if self.typing:
            return
        if not self._is_heard():
            self.tell(self._nobody_hears(), "dim")
            return
        self._typed_from = self.desk.view.focus
        self.typing, self._untold = True, ""
        self._echoes = self.set_interval(_ECHO, self._echo)
        self.focus_pane(CONSOLE)
        self.serial_pane.type(word(LEAVES)[0])
        self.desk.retitle()
        self.say()

    def action_act(self) -> None:
        if self.focused_pane is self.serial_pane:
            self.action_type()
        else:
            super().action_act()

    def _stop_typing(self) -> None:
        self._send_typed()
        self.typing = False
        if self._echoes is not None:
            self._echoes.stop()
        self.serial_pane.type(own(""))
        self.desk.retitle()
        self.hints.say(None)
        self.say()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The mouse went to another pane: keys are no more the guest's."""
        if self.typing and self.focused is not self.serial_pane:
            self._stop_typing()

    # --- what is typed ------------------------------------------------------------------

    def take_key(self, event: events.Key) -> bool:
        if not self.typing or len(self.screen_stack) > 1:
            return False
        data = key_bytes(event.key, event.character)
        if data == _LEAVE:
            self._stop_typing()
            self.focus_pane(self._typed_from)
        else:
            self._type(data)
        return True

    def take_paste(self, event: events.Paste) -> bool:
        if not self.typing or len(self.screen_stack) > 1:
            return False
        self._type(paste_bytes(event.text))
        return True

    def _type(self, data: bytes) -> None:
        if not data or not self._is_heard():
            return
        self._untold = ""
        self._typed += data
        if len(self._typed) > _MOST:
            rest = len(self._typed) - _MOST
            self._typed = self._typed[:_MOST]
            self._untold = f"{rest:,} bytes were too many for the port: they are not sent"
        self.serial_pane.follow()
        self.say()
        if self._sends is None:
            self._sends = self.set_timer(_TOGETHER, self._send_typed)

    def _send_typed(self) -> None:
        data, self._typed = self._typed, b""
        if self._sends is not None:
            self._sends.stop()
            self._sends = None
        if data:
            world = self.world

            def taken(state: State) -> None:
                world.wire.state = state

            world.wire.ask("serial", taken, self._not_taken, data=data)

    def _not_taken(self, text: str) -> None:
        self._untold = text
        self.say()

    def _echo(self) -> None:
        if self.world.running:
            self.looking.echo(self.world.wire, self.world.console)

    # --- what is said -------------------------------------------------------------------

    def _is_heard(self) -> bool:
        """Whether somebody can read what is typed, now or when it runs on."""
        return self.following and not self.world.over

    def _nobody_hears(self) -> str:
        if self.world.wire.died:
            return f"the worker is gone: {self.key('restart')} starts the guest again"
        if not self.following:
            return (f"this is the past, which hears nothing: {self.key('follow')} returns to the "
                    f"present, {self.key('fork')} forks")  # fmt: skip
        return f"the guest has ended: {self.key('restart')} starts it again"

    def say(self) -> None:
        super().say()
        if self.typing:
            says = typing_words(self.situation(), self._untold, self.key)
            self.hints.say(Message(word(says)[0], "focus"))
