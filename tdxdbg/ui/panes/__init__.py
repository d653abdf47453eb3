"""The panes, in the order of their numbers. A new one is one line in `PANES`."""

from __future__ import annotations

from typing import Final

from tdxdbg.ui.layout import DECODE, GPA_MAP, QUEUE, REGISTERS, UAPI
from tdxdbg.ui.panes.base import MomentPane
from tdxdbg.ui.panes.decode import DecodePane
from tdxdbg.ui.panes.gpa_map import GpaMapPane
from tdxdbg.ui.panes.queue import QueuePane
from tdxdbg.ui.panes.registers import RegistersPane
from tdxdbg.ui.panes.uapi import UapiPane

PANES: Final[dict[str, type[MomentPane]]] = {
    QUEUE: QueuePane,
    DECODE: DecodePane,
    UAPI: UapiPane,
    REGISTERS: RegistersPane,
    GPA_MAP: GpaMapPane,
}
