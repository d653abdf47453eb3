"""The line table of DWARF 2 to 5: .debug_line (DWARF 5, 6.2; x86-64, little endian).

Our own reader and not a library's, because the file may be hostile: here
every step takes at least a byte of the section, lengths are checked before
they are used, and there is an upper bound on rows, while a general reader
follows a count of 2^60 entries of no bytes for ever. What is damaged ends
its unit; the next one is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

#: Bytes of the section that are read, and rows: a few seconds of work and some
#: 100 MB at worst. What is behind them has no lines.
_MOST_BYTES: Final = 4 << 20
MOST_ROWS: Final = 1 << 19
_LONGEST_NAME: Final = 1024
_MOST_FILES: Final = 1 << 16
_LONGEST_LEB: Final = 10
_U64: Final = (1 << 64) - 1
_U32: Final = (1 << 32) - 1

_FORM_STRP, _FORM_STRING, _FORM_LINE_STRP, _FORM_UDATA, _FORM_BLOCK = 0x0E, 0x08, 0x1F, 0x0F, 0x09
_FIXED_FORMS: Final = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}
_CONTENT_PATH, _CONTENT_DIRECTORY = 1, 2

_EXTENDED, _COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE = 0, 1, 2, 3, 4
_CONST_ADD_PC, _FIXED_ADVANCE_PC = 8, 9
_END_SEQUENCE, _SET_ADDRESS = 1, 2


class Row(NamedTuple):
    """The bytes from `address` up to `end` belong to a line of `file` (raw text)."""

    address: int
    end: int
    file: str
    line: int


class _DamagedError(ValueError):
    """The section does not hold what it should."""


class _Bytes:
    """A place in a section, read forwards."""

    def __init__(self, data: memoryview, at: int, end: int) -> None:
        if not at <= end <= len(data):
            raise _DamagedError
        self.data, self.at, self.end = data, at, end

    def take(self, size: int) -> memoryview:
        start = self.at
        if size > self.end - start:
            raise _DamagedError
        self.at = start + size
        return self.data[start : start + size]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def byte(self) -> int:
        at = self.at
        if at >= self.end:
            raise _DamagedError
        self.at = at + 1
        return self.data[at]

    def uleb(self) -> int:
        value = 0
        for index in range(_LONGEST_LEB):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value & _U64
        raise _DamagedError

    def sleb(self) -> int:
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if bits < 64 and value >> (bits - 1) & 1 else _signed(value)

    def text(self) -> str:
        head = bytes(self.data[self.at : min(self.at + _LONGEST_NAME, self.end)])
        end = head.find(b"\0")
        if end < 0:
            raise _DamagedError
        self.at += end + 1
        return head[:end].decode("utf-8", "surrogateescape")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


class _Header(NamedTuple):
    """What a line program needs of its header; `files` by their number."""

    step: int
    line_base: int
    line_range: int
    lengths: bytes
    files: dict[int, str]


def read_rows(lines: memoryview, line_strings: memoryview, strings: memoryview) -> Iterator[Row]:
    """The rows of every unit in .debug_line; the others are .debug_line_str and .debug_str."""
    at = 0
    end = min(len(lines), _MOST_BYTES)
    while at + 4 <= end:
        size, wide, at = int.from_bytes(lines[at : at + 4], "little"), 4, at + 4
        if size == _U32:
            size, wide, at = int.from_bytes(lines[at : at + 8], "little"), 8, at + 8
        unit_end = at + size
        if unit_end > end:
            return
        try:
            unit = _Bytes(lines, at, unit_end)
            yield from _run(unit, _header(unit, wide, line_strings, strings))
        except _DamagedError:
            pass
        at = unit_end


# --- header ---------------------------------------------------------------------------


def _header(unit: _Bytes, wide: int, line_strings: memoryview, strings: memoryview) -> _Header:
    version = unit.number(2)
    if not 2 <= version <= 5:
        raise _DamagedError
    if version == 5 and (unit.byte(), unit.byte()) != (8, 0):
        raise _DamagedError
    size = unit.number(wide)
    program = unit.at + size
    if program > unit.end:
        raise _DamagedError
    step = unit.byte()
    if version >= 4 and unit.byte() != 1:
        # More than one operation per instruction: not x86.
        raise _DamagedError
    unit.byte()
    line_base = unit.byte()
    line_range, opcode_base = unit.byte(), unit.byte()
    if not line_range or not opcode_base:
        raise _DamagedError
    lengths = bytes(unit.take(opcode_base - 1))
    entries = _Bytes(unit.data, unit.at, program)
    if version == 5:
        files = _files_5(entries, _Strings(wide, line_strings, strings))
    else:
        files = _files_2(entries)
    unit.at = program
    return _Header(step, line_base - 256 * (line_base > 127), line_range, lengths, files)


def _files_2(entries: _Bytes) -> dict[int, str]:
    folders = [""]
    while name := entries.text():
        folders.append(name)
    files: dict[int, str] = {}
    while name := entries.text():
        folder = entries.uleb()
        entries.uleb()
        entries.uleb()
        files[len(files) + 1] = _joined(folders, folder, name)
    return files


class _Strings(NamedTuple):
    """Where forms that are offsets (of `wide` bytes) point to."""

    wide: int
    line_strings: memoryview
    strings: memoryview

    def at(self, section: memoryview, offset: int) -> str:
        return _Bytes(section, offset, len(section)).text()


def _files_5(entries: _Bytes, strings: _Strings) -> dict[int, str]:
    folders = [path for path, _ in _entries_5(entries, strings)]
    files = _entries_5(entries, strings)
    return {number: _joined(folders, folder, path) for number, (path, folder) in enumerate(files)}


def _entries_5(entries: _Bytes, strings: _Strings) -> list[tuple[str, int]]:
    """(path, directory) of each entry of one of the two tables."""
    formats = [(entries.uleb(), entries.uleb()) for _ in range(entries.byte())]
    count = entries.uleb()
    if count > _MOST_FILES or (count and not formats):
        raise _DamagedError
    found = []
    for _ in range(count):
        path, folder = "", 0
        for content, form in formats:
            value = _form(entries, form, strings)
            if content == _CONTENT_PATH and isinstance(value, str):
                path = value
            elif content == _CONTENT_DIRECTORY and isinstance(value, int):
                folder = value
        found.append((path, folder))
    return found


def _form(entries: _Bytes, form: int, strings: _Strings) -> str | int:
    """A value, of at least one byte; what is no form of these tables is damage."""
    if form == _FORM_STRING:
        return entries.text()
    if form == _FORM_LINE_STRP:
        return strings.at(strings.line_strings, entries.number(strings.wide))
    if form == _FORM_STRP:
        return strings.at(strings.strings, entries.number(strings.wide))
    if form == _FORM_UDATA:
        return entries.uleb()
    if form == _FORM_BLOCK:
        entries.take(entries.uleb())
        return 0
    if form in _FIXED_FORMS:
        return entries.number(_FIXED_FORMS[form])
    raise _DamagedError


def _joined(folders: list[str], folder: int, name: str) -> str:
    """Folder 0 is where the compiler ran; paths are relative to it where they can be."""
    if name.startswith("/") or not 0 < folder < len(folders) or folders[folder] in ("", "."):
        return name
    return f"{folders[folder]}/{name}"[:_LONGEST_NAME]


# --- program --------------------------------------------------------------------------


class _Machine:
    """The registers of the state machine; `emit` says that the last step made a row."""

    def __init__(self, header: _Header) -> None:
        self._header = header
        self._opcode_base = len(header.lengths) + 1
        self.reset()

    def reset(self) -> None:
        """As at the start of a sequence."""
        self.address, self.file, self.line = 0, 1, 1
        self.emit = self.ended = False

    def step(self, unit: _Bytes) -> None:
        opcode = unit.byte()
        self.emit = opcode >= self._opcode_base or opcode == _COPY
        if opcode >= self._opcode_base:
            advance, up = divmod(opcode - self._opcode_base, self._header.line_range)
            self._advance(advance * self._header.step)
            self.line += self._header.line_base + up
        elif opcode == _EXTENDED:
            self._extended(unit)
        elif opcode == _ADVANCE_PC:
            self._advance(unit.uleb() * self._header.step)
        elif opcode == _ADVANCE_LINE:
            self.line += unit.sleb()
        elif opcode == _SET_FILE:
            self.file = unit.uleb()
        elif opcode == _CONST_ADD_PC:
            adjusted = (255 - self._opcode_base) // self._header.line_range
            self._advance(adjusted * self._header.step)
        elif opcode == _FIXED_ADVANCE_PC:
            self._advance(unit.number(2))
        elif opcode != _COPY:
            for _ in range(self._header.lengths[opcode - 1]):
                unit.uleb()

    def _advance(self, size: int) -> None:
        self.address = self.address + size & _U64

    def _extended(self, unit: _Bytes) -> None:
        size = unit.uleb()
        start = unit.at
        unit.take(size)
        body = _Bytes(unit.data, start, unit.at)
        kind = body.byte() if size else -1
        if kind == _END_SEQUENCE:
            self.emit = self.ended = True
        elif kind == _SET_ADDRESS:
            self.address = body.number(min(size - 1, 8))


def _run(unit: _Bytes, header: _Header) -> Iterator[Row]:
    """Each row of the state machine ends where the next one of its sequence begins."""
    machine = _Machine(header)
    files = header.files
    start, file, line = _U64, 0, 0
    while unit.at < unit.end:
        machine.step(unit)
        if not machine.emit:
            continue
        if start < machine.address and file in files:
            yield Row(start, machine.address, files[file], line)
        start, file, line = machine.address, machine.file, machine.line & _U32
        if machine.ended:
            machine.reset()
            start = _U64
