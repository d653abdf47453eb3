"""Names of addresses, from the symbol table of a guest's ELF.

Names are the file's text: raw, and for `decode.text.safe` before anybody sees
them. Addresses are linear ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.backends.elf import GuestFile
from tdxdbg.backends.sections import SYMTAB, sections, text_at

#: Name, info, other, section, value, size.
_SYMBOL: Final = Struct("<IBBHQQ")
_MOST: Final = 1 << 20
_LONGEST_NAME: Final = 1024
#: Characters of names: many symbols may share one long name.
_MOST_TEXT: Final = 64 << 20
#: How far back a symbol that encloses an address is looked for.
_NESTING: Final = 16

_NOTYPE, _OBJECT, _FUNCTION, _INDIRECT = 0, 1, 2, 10
_KINDS: Final = frozenset({_NOTYPE, _OBJECT, _FUNCTION, _INDIRECT})
#: SHN_UNDEF and the reserved numbers: no address.
_NO_SECTION, _FIRST_RESERVED = 0, 0xFF00


class Symbol(NamedTuple):
    """`size` in bytes, 0 where the file does not say; `rank` orders names of one address."""

    address: int
    rank: int
    name: str
    size: int = 0


class Symbols:
    """Symbols by address and by name.

    `ranges` are the linear addresses (first, end) of the image: a symbol
    without a size ends with the next one, or with its range. `problem` says in
    a line why there are none, else it is empty.
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
        self._by_name: dict[str, Symbol] = {}
        for symbol in self._symbols:
            known = self._by_name.get(symbol.name)
            if known is None or symbol.rank < known.rank:
                self._by_name[symbol.name] = symbol
        self.problem = problem

    def __len__(self) -> int:
        return len(self._symbols)

    def __iter__(self) -> Iterator[Symbol]:
        """By address."""
        return iter(self._symbols)

    def names(self) -> Iterable[str]:
        """Each name once."""
        return self._by_name.keys()

    def find(self, name: str) -> int | None:
        """The address of a symbol; of several with one name a global function comes first."""
        symbol = self._by_name.get(name)
        return None if symbol is None else symbol.address

    def label(self, address: int) -> str:
        """The name of what begins exactly here, else empty."""
        index = bisect_left(self._addresses, address)
        if index < len(self._symbols) and self._addresses[index] == address:
            return self._symbols[index].name
        return ""

    def at(self, address: int) -> Symbol | None:
        """The symbol that `address` is in."""
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
    """The symbols of an image; never raises for what is in the file."""
    if not file.is_elf:
        return Symbols(problem="a flat image has no symbols; give the ELF it was made from")
    every = sections(file.data)
    # An ELF has one at most.
    table = next((section for section in every if section.kind == SYMTAB), None)
    if table is None:
        return Symbols(problem="the image has no symbol table: it was stripped")
    ranges = [(each.address, each.address + each.size) for each in file.segments]
    names = every[table.link].data if table.link < len(every) else memoryview(b"")
    found = list(_read(table.data, names))
    problem = "" if found else "the symbol table of the image is empty or damaged"
    return Symbols(found, ranges, problem)


def _read(table: memoryview, names: memoryview) -> Iterator[Symbol]:
    whole = min(len(table) // _SYMBOL.size, _MOST) * _SYMBOL.size
    room = _MOST_TEXT
    for name_at, info, _, section, value, size in _SYMBOL.iter_unpack(table[:whole]):
        kind = info & 0xF
        if kind not in _KINDS or section == _NO_SECTION or section >= _FIRST_RESERVED:
            continue
        name = text_at(names, name_at, _LONGEST_NAME)
        room -= len(name)
        if room < 0:
            return
        if name and not name.startswith((".L", "$")):
            yield Symbol(value, _rank(kind, info >> 4), name, size)


def _rank(kind: int, binding: int) -> int:
    """Functions before data before labels, and of each the global ones first."""
    order = {_FUNCTION: 0, _INDIRECT: 0, _OBJECT: 2}.get(kind, 4)
    return order + (binding == 0)
