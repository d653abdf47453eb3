"""Names of addresses, from the symbol table of a guest's ELF or a kernel's kallsyms.

Names are the file's text: raw, and for `decode.text.safe` before anybody sees
them. Addresses are linear ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Final

from tdxdbg.backends.bzimage import is_bzimage, payload
from tdxdbg.backends.debug_info import Symbol, debug_info
from tdxdbg.backends.elf import GuestFile, read_guest
from tdxdbg.backends.kallsyms import KERNEL, kallsyms
from tdxdbg.backends.system_map import read_system_map
from tdxdbg.errors import BackendError

__all__ = ["Symbol", "Symbols", "symbols_of"]

#: How far back a symbol that encloses an address is looked for.
_NESTING: Final = 16


class Symbols:
    """Symbols by address and by name.

    `ranges` are the linear addresses (first, end) of the image: a symbol
    without a size ends with the next one, or with its range. `problem` says in
    a line why there are none, or not all; else it is empty.
    """

    def __init__(
        self,
        symbols: Iterable[Symbol] = (),
        ranges: Iterable[tuple[int, int]] = (),
        problem: str = "",
    ) -> None:
        self._symbols = sorted(symbols)
        self._addresses = [symbol.address for symbol in self._symbols]
        self._ranges = tuple(ranges)
        self._moved = 0
        self._by_name: dict[str, Symbol] = {}
        for symbol in self._symbols:
            known = self._by_name.get(symbol.name)
            if known is None or symbol.rank < known.rank:
                self._by_name[symbol.name] = symbol
        self.problem = problem

    def moved(self, by: int) -> Symbols:
        """The same names for an image that runs `by` bytes above where it is linked."""
        other = copy(self)
        other._moved = by
        return other

    def __len__(self) -> int:
        return len(self._symbols)

    def __iter__(self) -> Iterator[Symbol]:
        """By address."""
        return map(self._placed, self._symbols)

    def names(self) -> Iterable[str]:
        """Each name once."""
        return self._by_name.keys()

    def find(self, name: str) -> int | None:
        """The address of a symbol; of several with one name a global function comes first."""
        symbol = self._by_name.get(name)
        return None if symbol is None else symbol.address + self._moved

    def label(self, address: int) -> str:
        """The name of what begins exactly here, else empty."""
        address -= self._moved
        index = bisect_left(self._addresses, address)
        if index < len(self._symbols) and self._addresses[index] == address:
            return self._symbols[index].name
        return ""

    def at(self, address: int) -> Symbol | None:
        """The symbol that `address` is in."""
        found = self._linked(address - self._moved)
        return None if found is None else self._placed(found)

    def _placed(self, symbol: Symbol) -> Symbol:
        if not self._moved:
            return symbol
        return symbol._replace(address=symbol.address + self._moved)

    def _linked(self, address: int) -> Symbol | None:
        end = bisect_right(self._addresses, address)
        if not end or not self._is_loaded(address):
            return None
        start = self._addresses[end - 1]
        nearest = self._symbols[bisect_left(self._addresses, start)]
        if not nearest.size:
            return nearest if self._same_range(start, address) else None
        for symbol in reversed(self._symbols[max(end - _NESTING, 0) : end]):
            if address < symbol.address + symbol.size:
                return symbol if symbol.address != start else nearest
        return None

    def describe(self, address: int) -> str:
        """`main+0x12`, raw; empty where no symbol is."""
        symbol = self.at(address)
        if symbol is None:
            return ""
        inside = address - symbol.address
        return f"{symbol.name}+{inside:#x}" if inside else symbol.name

    def _is_loaded(self, address: int) -> bool:
        return not self._ranges or any(low <= address < high for low, high in self._ranges)

    def _same_range(self, one: int, other: int) -> bool:
        return not self._ranges or any(
            low <= one < high and low <= other < high for low, high in self._ranges
        )


def symbols_of(file: GuestFile) -> Symbols:
    """The symbols of an image; never raises for what is in it.

    The first time in a process they are read, which takes a while and, of a
    hostile image, many seconds (`debug_info`). A kernel has them where it is
    linked: `kaslr.slide` says how far it is from there.
    """
    if is_bzimage(file.data):
        return _packed_kernel(file)
    is_kernel = any(segment.address >= KERNEL for segment in file.segments)
    found = kallsyms(file.segments) if is_kernel else []
    if found:
        return Symbols(found, _ranges(file))
    info = debug_info(file)
    if is_kernel and not info.symbols:
        return _from_system_map(file, file)
    return Symbols(info.symbols, _ranges(file), info.no_symbols)


def _packed_kernel(file: GuestFile) -> Symbols:
    try:
        kernel = read_guest(payload(file.data, file.name))
    except BackendError as problem:
        return Symbols(problem=f"no symbols: {problem}")
    found = kallsyms(kernel.segments)
    return Symbols(found, _ranges(kernel)) if found else _from_system_map(file, kernel)


def _from_system_map(file: GuestFile, kernel: GuestFile) -> Symbols:
    """Of a kernel without kallsyms: from System.map beside it, as distributions name it."""
    named = file.name.replace("vmlinuz", "System.map").replace("vmlinux", "System.map")
    names = (named, "System.map")
    beside = [file.path.with_name(name) for name in names if name != file.name] if file.path else []
    for path in beside:
        if path.is_file():
            try:
                return Symbols(read_system_map(path), _ranges(kernel))
            except BackendError as problem:
                return Symbols(problem=f"no symbols: {problem}")
    lacking = f"no kallsyms in {file.name}: put its System.map beside it"
    return Symbols((), _ranges(kernel), lacking)


def _ranges(file: GuestFile) -> list[tuple[int, int]]:
    return [(each.address, each.address + each.size) for each in file.segments]
