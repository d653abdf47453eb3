"""The guest's image as the screen needs it: names of addresses, and instructions in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tdxdbg.ui.live.sight import CodeLine
from tdxdbg.ui.live.targets import NoSymbols, Symbols


class Program(Protocol):
    """What is known about the guest's code."""

    @property
    def symbols(self) -> Symbols: ...

    def name(self, address: int) -> str:
        """`main+0x12`; empty where no symbol is near."""
        ...

    def lines(self, start: int, data: bytes, registers: Mapping[str, int]) -> tuple[CodeLine, ...]:
        """Code as instructions, RIP being one of them."""
        ...


class Bare:
    """Nothing is known: bytes."""

    symbols: Symbols = NoSymbols()

    def name(self, address: int) -> str:
        return ""

    def lines(self, start: int, data: bytes, registers: Mapping[str, int]) -> tuple[CodeLine, ...]:
        rip = registers.get("rip", start)
        rest = data[rip - start :]
        return tuple(
            CodeLine(rip + at, rest[at : at + 8], ".byte " + rest[at : at + 8].hex(" "))
            for at in range(0, min(len(rest), 128), 8)
        )
