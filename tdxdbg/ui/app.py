"""The screen of a recording: the core and its features, one module each.

A feature is a subclass of `Core` with its actions; a new one is written in a
module of its own and named here.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from tdxdbg.ui.choosing import Choosing
from tdxdbg.ui.growing import Growing
from tdxdbg.ui.keys import KEYS
from tdxdbg.ui.screen import bindings
from tdxdbg.ui.surveying import Surveying


class ReplayApp(Surveying, Choosing, Growing, inherit_bindings=False):
    """The screen of a recording."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
