"""The guest's image on the screen: instructions in words, with symbols and source lines.

Only the code is read through a session; names come from the file, which may
be another one than what runs: they are said beside the bytes, not instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Final

from tdxdbg.abi.regs import Regs
from tdxdbg.backends.elf import GuestFile, read_guest
from tdxdbg.backends.kaslr import slide
from tdxdbg.backends.lines import Lines, lines_of
from tdxdbg.backends.symbols import Symbols, symbols_of
from tdxdbg.decode.disassembly import LONGEST, Instruction, around, asks_for
from tdxdbg.ui.live.sight import CodeLine

#: Instructions before and after the one at RIP; those before need bytes to fall into step.
_BEFORE: Final = 30
_AFTER: Final = 60
_STEP_BYTES: Final = 2 * LONGEST


class Image:
    """`symbols` and lines of one file: none, until they have been read."""

    def __init__(self) -> None:
        self.symbols = self._linked = Symbols()
        self._lines = Lines()
        self._reading: Thread | None = None
        self._told = False

    @classmethod
    def read(cls, path: Path) -> Image:
        """The image in a file, with its names soon; raises BackendError."""
        image = cls()
        # Its names may take their time, and nobody has to wait for them.
        image._reading = Thread(
            target=image._read, args=(read_guest(path),), name="image", daemon=True
        )
        image._reading.start()
        return image

    def _read(self, file: GuestFile) -> None:
        symbols, self._lines = symbols_of(file), lines_of(file)
        self.symbols = self._linked = symbols

    def place(self, registers: Mapping[str, int]) -> None:
        """Where a kernel is that moved itself, once a vCPU tells."""
        linked = self._linked
        moved = slide(linked, registers.get("lstar", 0), registers.get("page_fault", 0))
        if moved is not None:
            self.symbols = linked.moved(moved)

    def wait(self, seconds: float | None = None) -> Image:
        """Until the names are there, or for so many seconds."""
        if self._reading is not None:
            self._reading.join(seconds)
        return self

    def arrived(self) -> str | None:
        """Once, when the names are there: why they are not all, else empty."""
        if self._told or self._reading is None or self._reading.is_alive():
            return None
        self._told = True
        return self.symbols.problem or self._lines.problem

    def name(self, address: int) -> str:
        """`main+0x12`, raw; empty where no symbol is."""
        return self.symbols.describe(address)

    def lines(
        self, start: int, data: bytes, registers: Mapping[str, int], *, exited: bool = False
    ) -> tuple[CodeLine, ...]:
        """Instructions around RIP, out of `data` at `start`."""
        rip = registers.get("rip", start)
        symbol = self.symbols.at(rip)

        def read(address: int, size: int) -> bytes:
            at = address - start
            return data[at : at + size] if at >= 0 else b""

        found = around(
            read,
            rip,
            before=max(min((rip - start - _STEP_BYTES) // LONGEST, _BEFORE), 0),
            after=_AFTER,
            start=symbol.address if symbol is not None else None,
            bits=64 if registers.get("is_64bit", 1) else 32,
            name_of=self.name,
        )
        regs = Regs(**{name: registers.get(name, 0) for name in Regs._fields})
        return tuple(
            self._line(one, asks_for(one, regs) if _is_now(one, rip, exited) else "")
            for one in found
        )

    def _line(self, one: Instruction, asks: str) -> CodeLine:
        place = self._lines.at(one.address)
        source = ""
        if place is not None:
            text = (self._lines.text(place) or "").strip()
            source = f"{place.file}:{place.line}  {text}"
        comment = asks or one.comment
        label = self.symbols.label(one.address)
        return CodeLine(one.address, one.data, one.text, comment, label, source)


def _is_now(one: Instruction, rip: int, exited: bool) -> bool:
    """Whether the registers are those before this instruction."""
    return one.address == rip or (exited and one.end == rip and one.mnemonic == "tdcall")
