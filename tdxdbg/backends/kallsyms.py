"""The kernel's own table of symbols, found in its image: kallsyms.

A distribution's kernel has no ELF symbol table, but it has this one for its
own messages. Nothing points to it, so it is looked for by its shape. The parts
follow each other in this order (Linux scripts/kallsyms.c, `write_src`):

    num_syms      u32
    names         each a length (ULEB128 of one or two bytes) and so many tokens
    markers       u32: where each 256th name begins
    token_table   256 strings that end with 0
    token_index   u16: where each of them begins
    offsets       i32 for each symbol, and relative_base (u64):
                  6.4 to 6.14   below 0: base - 1 - offset, else absolute (per CPU)
                  6.15 on       base + offset
                  7.2           offset from where the offset itself is; no base
                  to 6.3        both before num_syms

6.2, 6.3 and late 6.1 have seqs_of_names, three bytes for each name, before the
token_table; later kernels have them at the end. Each part begins at a multiple
of 8 bytes, or of 4 in newer kernels. The token of a character that is in some
name is that character, so the digits are in a row.

The image may be anybody's: what is found has to fit together in every number,
and the work is bounded by the image's size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from operator import le
from struct import Struct, unpack_from
from typing import Final, NamedTuple

from tdxdbg.backends.debug_info import Symbol
from tdxdbg.backends.elf import Segment

_DIGITS: Final = b"".join(b"%d\0" % digit for digit in range(10))
_FIRST_DIGIT: Final = ord("0")
_TOKENS: Final = 256
_INDEX: Final = Struct(f"<{_TOKENS}H")
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
_CHUNK: Final = 256

#: Kernels have up to 200,000 symbols.
_MOST_SYMBOLS: Final = 1 << 19
#: KSYM_NAME_LEN is 512; a name has as many tokens at most, and its type.
LONGEST_NAME: Final = 513
_LONGEST_TEXT: Final = 64 << 20
#: Places that look like the digits, like all the tokens, and like where the names begin.
_MOST_DIGITS: Final = 1024
_MOST_TABLES: Final = 16
_MOST_STARTS: Final = 4096

#: Where the kernel's half of the address space begins.
KERNEL: Final = 1 << 63
#: _text is in the 2 GiB at the top (__START_KERNEL_map), and begins a page.
_LOWEST_BASE: Final = 0xFFFF_FFFF_8000_0000
_PAGE: Final = 4096
#: By the letter of the type, as in nm: global functions first.
_RANKS: Final = {"T": 0, "W": 1, "t": 2, "D": 3, "R": 3, "B": 3}
_LAST_RANK: Final = 5
_TYPES: Final = frozenset("ABDRTVWabdrtvwnNuUiGgCcSs?")


class _Table(NamedTuple):
    """The tokens as text; offsets of where their table begins, and of where their index ends."""

    tokens: list[str]
    start: int
    end: int


#: Where they begin in the data, and the numbers.
_Markers = tuple[int, Sequence[int]]


class _Names(NamedTuple):
    """The names with their types before them; `start` is the offset of num_syms."""

    names: list[str]
    start: int


def kallsyms(segments: Iterable[Segment]) -> list[Symbol]:
    """The symbols of an unpacked kernel by its linked addresses, ascending; empty if none is found.

    Names per CPU, which are no addresses in older kernels, are left out.
    """
    for segment in segments:
        data = bytes(segment.data)
        for table in islice(_tables(data), _MOST_TABLES):
            named = _names(data, table)
            if named is None:
                continue
            for addresses in _addresses(data, segment.address, table, named):
                if all(map(le, addresses, addresses[1:])) and addresses[-1] >= KERNEL:
                    return _symbols(addresses, named.names)
    return []


def rank(kind: str) -> int:
    """What a symbol's letter of nm makes of it among others of its name or address."""
    return _RANKS.get(kind, _LAST_RANK)


def _symbols(addresses: Sequence[int], names: Sequence[str]) -> list[Symbol]:
    found = [
        Symbol(address, rank(name[0]), name[1:])
        for address, name in zip(addresses, names, strict=True)
        if KERNEL <= address < 1 << 64
    ]
    found.sort()
    return found


def _tables(data: bytes) -> Iterator[_Table]:
    """Every token table whose index says the same."""
    for match in islice(re.finditer(_DIGITS, data), _MOST_DIGITS):
        at = match.start()
        # Its end is found by counting strings, its begin is in the index behind it.
        end = at
        for _ in range(_TOKENS - _FIRST_DIGIT):
            end = data.find(b"\0", end, end + LONGEST_NAME) + 1
            if not end:
                break
        for index in {-(-end // 4) * 4, -(-end // 8) * 8} if end else ():
            if index + _INDEX.size > len(data):
                continue
            begins = _INDEX.unpack_from(data, index)
            start = at - begins[_FIRST_DIGIT]
            if start < 0:
                continue
            tokens = data[start : end - 1].split(b"\0")
            if tuple(accumulate((len(token) + 1 for token in tokens), initial=0))[:-1] == begins:
                text = [token.decode("latin-1") for token in tokens]
                yield _Table(text, start, index + _INDEX.size)


def _names(data: bytes, table: _Table) -> _Names | None:
    """What is before the tokens: markers, before them the names, before them their number."""
    at, markers = _markers(data, table.start & -4) or _markers_before_seqs(data, table) or (0, ())
    if not at:
        return None
    most = len(markers) * _CHUNK
    top = (at - markers[-1]) & -4
    tries = 0
    for start in range(top, max(top - _CHUNK * 2 * LONGEST_NAME, 0), -4):
        # A zero between the number and the names fills up to a multiple of 8.
        number = start - 4 if start < 8 or _u32(data, start - 4) else start - 8
        count = _u32(data, number)
        if not most - _CHUNK < count <= most:
            continue
        packed = memoryview(data)[start:at]
        if _length_of_chunk(packed) == markers[1]:
            names = _expanded(packed, count, table.tokens, markers)
            return None if names is None else _Names(names, number)
        tries += 1
        if tries == _MOST_STARTS:
            break
    return None


def _markers(data: bytes, end: int) -> _Markers | None:
    """The numbers up to `end` that ascend from 0, two of them at least."""
    if end >= 8 and not _u32(data, end - 4):
        end -= 4
    at = end - 4
    least = max(end - 4 * (_MOST_SYMBOLS // _CHUNK), 4)
    while at >= least and 0 < _u32(data, at) > _u32(data, at - 4):
        at -= 4
    if at < 4 or at > end - 8 or _u32(data, at):
        return None
    return at, unpack_from(f"<{(end - at) // 4}I", data, at)


def _markers_before_seqs(data: bytes, table: _Table) -> _Markers | None:
    """As many of them as there are names in the seqs between them and the tokens."""
    each = 3 * _CHUNK
    start = table.start & -8
    for number in range(2, _MOST_SYMBOLS // _CHUNK):
        first = (start - each * number) & -8
        for end in range(first, first + each + 8, 8):
            # The first one is 0, whether or not one more fills up to a multiple of 8.
            if end - 4 * number >= 8 and not _u32(data, (end - 4 * number) & -8):
                found = _markers(data, end)
                if found is not None and len(found[1]) == number:
                    return found
    return None


def _length_of_chunk(packed: memoryview) -> int:
    """Bytes of the names up to the second marker; -1 where they do not end."""
    at = 0
    try:
        for _ in range(_CHUNK):
            length = packed[at]
            at += 1
            if length & 0x80:
                length = length & 0x7F | packed[at] << 7
                at += 1
            at += length
    except IndexError:
        return -1
    return at


def _expanded(
    packed: memoryview, count: int, tokens: list[str], markers: Sequence[int]
) -> list[str] | None:
    """`count` names that fill all of `packed`, as the markers say; else None."""
    names: list[str] = []
    token, join = tokens.__getitem__, "".join
    at = text = 0
    try:
        for number in range(count):
            if not number % _CHUNK and at != markers[number // _CHUNK]:
                return None
            length = packed[at]
            at += 1
            if length & 0x80:
                length = length & 0x7F | packed[at] << 7
                at += 1
            if length > LONGEST_NAME:
                return None
            name = join(map(token, packed[at : at + length]))
            at += length
            text += len(name)
            if len(name) > LONGEST_NAME or text > _LONGEST_TEXT or name[0] not in _TYPES:
                return None
            names.append(name)
    except IndexError:
        return None
    # What is left fills up to where the markers begin.
    return names if 0 <= len(packed) - at < 8 else None


def _addresses(data: bytes, address: int, table: _Table, named: _Names) -> Iterator[Sequence[int]]:
    """Those of each layout that is possible here; the right ones ascend."""
    count = len(named.names)
    behind = table.end + 4 * count
    before = named.start - 8
    for at, base_at in (
        (table.end, -(-behind // 8) * 8),
        (before - -(-count // 2) * 8, before),
    ):
        if at < 0 or base_at + 8 > len(data):
            continue
        (base,) = _U64.unpack_from(data, base_at)
        if base < _LOWEST_BASE or base % _PAGE:
            continue
        offsets = unpack_from(f"<{count}i", data, at)
        if min(offsets) < 0:
            yield [base - 1 - offset if offset < 0 else offset for offset in offsets]
        else:
            yield [base + offset for offset in offsets]
    if behind <= len(data):
        first = address + table.end
        offsets = unpack_from(f"<{count}i", data, table.end)
        yield [first + 4 * number + offset for number, offset in enumerate(offsets)]


def _u32(data: bytes, at: int) -> int:
    value: int = _U32.unpack_from(data, at)[0]
    return value
