"""The process that reads a guest's symbols and DWARF lines, with pyelftools.

`python -m tdxdbg.backends.debug_reader CPU MEMORY OUTPUT`: limits in seconds and
bytes; the image is standard input, a seekable file. The answer on standard
output is one JSON list a line:

    ["symbol", address, size, rank, name]   by address; names of one place by rank
    ["end", "symbols", problem]
    ["file", path]                          numbered from 0
    ["row", address, end, file, line]       `end` is the first address behind
    ["end", "rows", problem]

The image may be anybody's, and pyelftools believes it: a count of 2^60 entries
of no bytes is a loop without an end. Hence a process of its own, whose limits
make such an image one without names (`debug_info`).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from elftools.dwarf.lineprogram import LineProgram
    from elftools.elf.elffile import ELFFile

#: What is behind them has no names and no lines: some 100 MB in the debugger.
_MOST_SYMBOLS: Final = 1 << 18
_MOST_ROWS: Final = 1 << 18
LONGEST_NAME: Final = 1024
_LONGEST_PROBLEM: Final = 200
#: Seconds between two looks whether the debugger is still there.
_WATCH: Final = 1.0
_U64: Final = 1 << 64
_U32: Final = 1 << 32
#: Section numbers from here on are no sections.
_FIRST_RESERVED: Final = 0xFF00

#: Functions before data before labels; STT_LOOS is STT_GNU_IFUNC.
_RANKS: Final = {"STT_FUNC": 0, "STT_LOOS": 0, "STT_OBJECT": 2, "STT_NOTYPE": 4}
#: The largest one: a local label.
LAST_RANK: Final = 5


def main() -> None:
    """Does not return: a traceback or a destructor would help nobody."""
    cpu, memory, output = (int(text) for text in sys.argv[1:4])
    # Nobody asked for a guest's memory in a file.
    _limit(resource.RLIMIT_CORE, 0)
    # SIGXCPU comes first, and says why.
    _limit(resource.RLIMIT_CPU, cpu, cpu + 1)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_FSIZE, output)
    _watch()
    status = 1
    try:
        with open(0, "rb", closefd=False) as image, open(1, "wb", closefd=False) as answer:
            _answer(image, answer)
        status = 0
    finally:
        os._exit(status)


def _limit(what: int, soft: int, hard: int = 0) -> None:
    known = resource.getrlimit(what)[1]
    wanted = max(soft, hard)
    hard = wanted if known == resource.RLIM_INFINITY else min(wanted, known)
    resource.setrlimit(what, (min(soft, hard), hard))


def _watch() -> None:
    """End with the debugger, not when the limits are reached."""
    parent = os.getppid()

    def look_up(signum: int, frame: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGALRM, look_up)
    signal.setitimer(signal.ITIMER_REAL, _WATCH, _WATCH)


def _answer(image: IO[bytes], answer: IO[bytes]) -> None:
    for part, read in (("symbols", _symbols), ("rows", _rows)):
        problem = ""
        try:
            for record in read(image):
                answer.write(_line(record))
        # Whatever pyelftools stumbles over.
        except Exception as error:
            problem = _problem(error)
        answer.write(_line(["end", part, problem]))
        # What comes next may not end well.
        answer.flush()


def _line(record: object) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


class _NoneError(Exception):
    """There is nothing to read; says why."""


def _problem(error: Exception) -> str:
    # What it holds may be all the memory there is.
    error.__traceback__ = error.__context__ = None
    if isinstance(error, _NoneError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the debug information of the image needs too much memory: strip it"
    if isinstance(error, ImportError):
        return "pyelftools cannot be imported: install tdxdbg with its dependencies"
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_PROBLEM]
    return f"the debug information of the image is damaged ({text}): build it again"


def _open(image: IO[bytes]) -> ELFFile:
    from elftools.elf.elffile import ELFFile

    return ELFFile(image)


# --- symbols --------------------------------------------------------------------------


def _symbols(image: IO[bytes]) -> Iterator[list[object]]:
    # An ELF has one symbol table at most.
    table: Any = next(_open(image).iter_sections("SHT_SYMTAB"), None)
    if table is None:
        raise _NoneError("the image has no symbol table: it was stripped")
    found: list[tuple[int, int, str, int]] = []
    try:
        _collect(table.iter_symbols(), found)
    finally:
        for address, rank, name, size in sorted(found):
            yield ["symbol", address, size, rank, name]
    if not found:
        raise _NoneError("the symbol table of the image is empty or damaged")


def _collect(symbols: Iterable[Any], found: list[tuple[int, int, str, int]]) -> None:
    for symbol in symbols:
        rank = _RANKS.get(symbol["st_info"]["type"])
        section = symbol["st_shndx"]
        # SHN_UNDEF, SHN_ABS and the like are words.
        if rank is None or not isinstance(section, int) or section >= _FIRST_RESERVED:
            continue
        name = symbol.name[:LONGEST_NAME]
        if not name or name.startswith((".L", "$")):
            continue
        if len(found) == _MOST_SYMBOLS:
            raise _NoneError(f"the image has more than {_MOST_SYMBOLS} symbols: strip some")
        rank += symbol["st_info"]["bind"] == "STB_LOCAL"
        found.append((symbol["st_value"], rank, name, symbol["st_size"]))


# --- lines ----------------------------------------------------------------------------


def _rows(image: IO[bytes]) -> Iterator[list[object]]:
    elf = _open(image)
    if not elf.has_dwarf_info(strict=True):
        raise _NoneError("the image has no DWARF lines; assemble or compile with -g")
    # A linked image has no relocations left, and no other file is opened.
    dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
    files: dict[str, int] = {}
    programs: set[int] = set()
    count = 0
    problem = ""
    for unit in dwarf.iter_CUs():
        try:
            program = dwarf.line_program_for_CU(unit)
            if program is None or program.program_start_offset in programs:
                continue
            programs.add(program.program_start_offset)
            for address, end, file, line in _run(program):
                if file not in files:
                    yield ["file", file]
                    files[file] = len(files)
                yield ["row", address, end, files[file], line]
                count += 1
                if count == _MOST_ROWS:
                    raise _NoneError(f"the image has more than {_MOST_ROWS} rows of lines")
        except _NoneError:
            raise
        # The next unit may be sound.
        except Exception as error:
            problem = _problem(error)
    if problem:
        raise _NoneError(problem)
    if not count:
        raise _NoneError("the DWARF lines of the image are empty: assemble or compile with -g")


def _run(program: LineProgram) -> Iterator[tuple[int, int, str, int]]:
    """Each row of the state machine ends where the next one of its sequence begins."""
    entries = program.get_entries()
    names = _files(program)
    last: Any = None
    for entry in entries:
        state = entry.state
        if state is None:
            continue
        if last is not None and 0 <= last.address < state.address < _U64:
            name = names.get(last.file)
            if name and 0 <= last.line < _U32:
                yield last.address, state.address, name, last.line
        last = None if state.end_sequence else state


def _files(program: LineProgram) -> dict[int, str]:
    """The files by their numbers. Folder 0 is where the compiler ran: paths are relative to it."""
    folders = [_text(folder) for folder in program["include_directory"] or ()]
    # It is in the table, and files are numbered from 0, since DWARF 5 (6.2.4).
    first = 0
    if program["version"] < 5:
        folders.insert(0, "")
        first = 1
    names = {}
    for number, entry in enumerate(program["file_entry"] or (), first):
        name, folder = _text(entry.name), entry.dir_index or 0
        known = 0 < folder < len(folders) and folders[folder] not in ("", ".")
        if known and not name.startswith("/"):
            name = f"{folders[folder]}/{name}"
        names[number] = name[:LONGEST_NAME]
    return names


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main()
