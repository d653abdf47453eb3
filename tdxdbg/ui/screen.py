"""What the apps share: bindings out of a key table, the screen under the panes."""

from __future__ import annotations

import gc

from textual.binding import Binding, BindingType
from textual.screen import Screen

from tdxdbg.ui.keys import Key


def bindings(keys: tuple[Key, ...]) -> list[BindingType]:
    """A key table as textual wants it."""
    return [
        Binding(name, key.action.format(key=name), id=f"{key.id}.{name}", show=False)
        for key in keys
        for name in key.keys.split(",")
        if name
    ]


class PanesScreen(Screen[None], inherit_bindings=False):
    """The screen of the panes; its keys are all in the key table."""


def freeze() -> None:
    """Long-lived objects are no work for the collector any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
