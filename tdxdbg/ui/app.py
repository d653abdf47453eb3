"""The screen of a recording: the core and its features, one module each.

A feature is a subclass of `Core` with its actions; a new one is written in a
module of its own and named here.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from tdxdbg.ui.answer.feature import Answering
from tdxdbg.ui.arranging import Arranging
from tdxdbg.ui.chaining import Chaining
from tdxdbg.ui.choosing import Choosing
from tdxdbg.ui.exporting import Exporting
from tdxdbg.ui.importing import Importing
from tdxdbg.ui.keys import KEYS
from tdxdbg.ui.map_keys import MapKeys
from tdxdbg.ui.remembers import Remembers
from tdxdbg.ui.screen import bindings
from tdxdbg.ui.surveying import Surveying
from tdxdbg.ui.theming import Theming


class ReplayApp(
    Importing,
    MapKeys,
    Answering,
    Exporting,
    Arranging,
    Chaining,
    Surveying,
    Choosing,
    Remembers,
    Theming,
    inherit_bindings=False,
):
    """The screen of a recording."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
