"""The guest's image as the screen needs it: names of addresses, and instructions in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tdxdbg.ui.live.sight import CodeLine
from tdxdbg.ui.live.targets import Symbols


class Program(Protocol):
    """What is known about the guest's code."""

    @property
    def symbols(self) -> Symbols: ...

    def place(self, registers: Mapping[str, int]) -> None:
        """A vCPU's registers, which say where a kernel is that moves itself."""
        ...

    def arrived(self) -> str | None:
        """Once, when the names are there: why they are not all, else empty."""
        ...

    def name(self, address: int) -> str:
        """`main+0x12`; empty where no symbol is near."""
        ...

    def lines(
        self, start: int, data: bytes, registers: Mapping[str, int], *, exited: bool = False
    ) -> tuple[CodeLine, ...]:
        """Code as instructions, RIP being one of them; `exited` as in `Sight`."""
        ...
