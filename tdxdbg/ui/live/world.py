"""One world on the screen: a session with its recording, its console and its breakpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tdxdbg.traces import Trace
from tdxdbg.ui.live.serial import SerialText
from tdxdbg.ui.live.wire import State, Wire
from tdxdbg.ui.live.words import ENDED, HELD, doing_of


@dataclass
class World:
    """`name` as the screen says it: live, fork 1; `story`: where it began."""

    wire: Wire
    trace: Trace
    name: str = "live"
    story: str = ""
    console: SerialText = field(default_factory=SerialText)
    #: As the session lists them (`breakpoints.Breakpoint`).
    stops: tuple[Any, ...] = ()

    @property
    def state(self) -> State:
        return self.wire.state

    @property
    def running(self) -> bool:
        return bool(self.wire.running)

    @property
    def doing(self) -> str:
        """running, held, in_td, ended or died."""
        return doing_of(self.state, self.running, self.wire.died)

    @property
    def held(self) -> bool:
        return self.doing == HELD

    @property
    def over(self) -> bool:
        """Whether nothing more can happen in it."""
        return bool(self.wire.died) or (not self.running and self.state.where == ENDED)
