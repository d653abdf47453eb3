"""The panes, in the order in which Tab goes. A new one is one line in `PANES`."""

from __future__ import annotations

from typing import Final

from tdxdbg.ui.layout import (
    CHAIN,
    CODE,
    CONSOLE,
    DECODE,
    GPA_MAP,
    HEX,
    LANES,
    MEMORY,
    QUEUE,
    REGISTERS,
    UAPI,
)
from tdxdbg.ui.panes.base import MomentPane
from tdxdbg.ui.panes.chain import ChainPane
from tdxdbg.ui.panes.code import CodePane
from tdxdbg.ui.panes.console import ConsolePane
from tdxdbg.ui.panes.decode import DecodePane
from tdxdbg.ui.panes.gpa_map import GpaMapPane
from tdxdbg.ui.panes.hex import HexPane
from tdxdbg.ui.panes.lanes import LanesPane
from tdxdbg.ui.panes.memory import MemoryPane
from tdxdbg.ui.panes.queue import QueuePane
from tdxdbg.ui.panes.registers import RegistersPane
from tdxdbg.ui.panes.uapi import UapiPane

PANES: Final[dict[str, type[MomentPane]]] = {
    QUEUE: QueuePane,
    DECODE: DecodePane,
    UAPI: UapiPane,
    REGISTERS: RegistersPane,
    GPA_MAP: GpaMapPane,
    CHAIN: ChainPane,
    LANES: LanesPane,
    HEX: HexPane,
    CODE: CodePane,
}

#: A live run has these too.
LIVE_PANES: Final[dict[str, type[MomentPane]]] = {
    **PANES,
    MEMORY: MemoryPane,
    CONSOLE: ConsolePane,
}
