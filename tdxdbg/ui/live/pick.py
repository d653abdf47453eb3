"""Which sample guest to run: asked before the screen of the run opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from textual.app import App
from textual.binding import BindingType

from tdxdbg.ui.lines import own, pad, word
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.prompt import Choice, Offer
from tdxdbg.ui.themes import textual_theme

_QUESTION = (
    own("Which guest is to run? Its sources stand beside it, in tdxdbg/guests."),
    own("An ELF or flat image of your own: tdxdbg live FILE."),
)


class Guest(Protocol):
    """As `tdxdbg.guests.Guest`."""

    @property
    def name(self) -> str: ...
    @property
    def story(self) -> str: ...


class PickApp(App[str], inherit_bindings=False):
    """Returns the name of the guest that was chosen, None when none was."""

    CSS = """
    Screen { background: $background; }
    ModalScreen { align: center middle; background: $background; }
    DialogPane { max-width: 100%; max-height: 100%; }
    """
    TITLE = "tdxdbg"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, guests: Sequence[Guest], palette: Palette, ascii_only: bool) -> None:
        super().__init__()
        self._guests = guests
        self._palette = palette
        self._ascii = ascii_only

    def on_mount(self) -> None:
        self.register_theme(textual_theme(self._palette))
        self.theme = self._palette.name
        width = max((len(guest.name) for guest in self._guests), default=0)
        offers = [
            Offer(guest.name, (), pad(word(guest.name)[0], width), (word(guest.story, "text"),))
            for guest in self._guests
        ]
        dialog = Choice(own("tdxdbg live"), _QUESTION, offers, self._palette, self._ascii)
        _ = self.push_screen(dialog, self._chosen)

    def _chosen(self, name: str | None) -> None:
        self.exit(name)

    def action_interrupt(self) -> None:
        self.exit(None, 130)
