"""Symbols and source lines of a guest image, read in a process of its own.

pyelftools reads them (`debug_reader`). The image may be anybody's, so that
process has limits, and what it says is checked as if the image had said it:
whatever goes wrong there, the debugger has an image without names.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from threading import Lock
from typing import IO, Any, Final, NamedTuple

from tdxdbg import child
from tdxdbg.backends.debug_reader import LAST_RANK, LONGEST_NAME
from tdxdbg.backends.elf import GuestFile

COMMAND: Final = tuple(child.command("tdxdbg.backends.debug_reader"))
#: A name of the longest kind, escaped, and some numbers.
_LONGEST_LINE: Final = 12 * LONGEST_NAME + 256
#: Images whose names are remembered.
_MOST_KNOWN: Final = 4
_U64: Final = 1 << 64
_U32: Final = 1 << 32


class Symbol(NamedTuple):
    """`size` in bytes, 0 where the file does not say; `rank` orders names of one address."""

    address: int
    rank: int
    name: str
    size: int = 0


class Row(NamedTuple):
    """The bytes from `address` up to `end` belong to a line of `file` (raw text)."""

    address: int
    end: int
    file: str
    line: int


class DebugInfo(NamedTuple):
    """Addresses are linear ones, names the file's text, raw.

    `no_symbols` and `no_rows` say in a line why there are none, or not all; else empty.
    """

    symbols: tuple[Symbol, ...] = ()
    rows: tuple[Row, ...] = ()
    no_symbols: str = ""
    no_rows: str = ""


class Limits(NamedTuple):
    """Of one reading: seconds by the clock and of CPU time, bytes of memory and of the answer."""

    seconds: float = 40.0
    cpu: int = 20
    memory: int = 1 << 30
    output: int = 32 << 20


class _GarbageError(ValueError):
    """The reader said what it never says."""


_LIMITS: Final = Limits()
_known: OrderedDict[bytes, DebugInfo] = OrderedDict()
_lock: Final = Lock()


def debug_info(file: GuestFile) -> DebugInfo:
    """What `read_debug_info` says, read once in this process; it may take as long as its limits."""
    digest = sha256(file.data).digest()
    with _lock:
        found = _known.get(digest)
        if found is None:
            found = _known[digest] = read_debug_info(file)
            if len(_known) > _MOST_KNOWN:
                _known.popitem(last=False)
        return found


def read_debug_info(
    file: GuestFile, limits: Limits = _LIMITS, command: Sequence[str] = COMMAND
) -> DebugInfo:
    """Symbols and rows of an image; never raises for what is in it, and keeps to `limits`.

    Symbols come all or not at all: with some of them missing, an address
    would get another one's name. Rows know where they end.
    """
    if not file.is_elf:
        why = "a flat image has no {}; give the ELF it was made from"
        return DebugInfo((), (), why.format("symbols"), why.format("source lines"))
    try:
        with _memory("image") as image, _memory("answer") as answer:
            image.write(file.data)
            image.seek(0)
            failure = _run(command, limits, image, answer)
            if os.fstat(answer.fileno()).st_size >= limits.output:
                failure = f"there is more than {limits.output} bytes of them"
            answer.seek(0)
            return understand(answer, failure)
    except OSError as error:
        return _failed(f"no process for it: {error.strerror}")


def _memory(name: str) -> IO[bytes]:
    """A file without a name: nobody has to feed a process that may not read."""
    return os.fdopen(os.memfd_create(f"tdxdbg-{name}"), "w+b")


def _run(command: Sequence[str], limits: Limits, image: IO[bytes], answer: IO[bytes]) -> str:
    """Why the reader did not end well, else empty."""
    numbers = [str(limits.cpu), str(limits.memory), str(limits.output)]
    process = subprocess.Popen(
        [*command, *numbers],
        env=child.environment(),
        stdin=image,
        stdout=answer,
        stderr=subprocess.DEVNULL,
    )
    try:
        status = process.wait(limits.seconds)
    except subprocess.TimeoutExpired:
        return f"it took more than {limits.seconds:g} s"
    finally:
        process.kill()
        process.wait()
    if status == -signal.SIGXCPU:
        return f"it took more than {limits.cpu} s of CPU time"
    if status < 0:
        return f"the reader was killed by signal {-status}"
    return f"the reader ended with status {status}" if status else ""


def _failed(why: str) -> DebugInfo:
    return DebugInfo((), (), _problem("symbols", why), _problem("source lines", why))


def _problem(what: str, why: str) -> str:
    return f"the {what} of the image were not read, {why}: strip it, or build it again"


# --- what the reader says -------------------------------------------------------------


class _Answer:
    """Takes the answer's lines; each raises _GarbageError for what is none of them."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []
        self.files: list[str] = []
        self.rows: list[Row] = []
        #: By the name of a part that is complete: why it has not everything.
        self.ended: dict[str, str] = {}

    def take(self, line: bytes) -> None:
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise _GarbageError from None
        match record:
            case ["symbol", int(address), int(size), int(rank), str(name)]:
                _check("symbols" not in self.ended and 0 <= address < _U64 and 0 <= size < _U64)
                _check(0 <= rank <= LAST_RANK and 0 < len(name) <= LONGEST_NAME)
                self.symbols.append(Symbol(address, rank, name, size))
            case ["file", str(name)]:
                _check(len(name) <= LONGEST_NAME)
                self.files.append(name)
            case ["row", int(address), int(end), int(file), int(number)]:
                _check(0 <= address < end < _U64 and 0 <= number < _U32)
                _check(0 <= file < len(self.files) and "rows" not in self.ended)
                self.rows.append(Row(address, end, self.files[file], number))
            case ["end", "symbols" | "rows" as part, str(problem)]:
                _check(part not in self.ended and len(problem) <= LONGEST_NAME)
                self.ended[part] = " ".join(problem.split())
            case _:
                raise _GarbageError


def _check(sound: bool) -> None:
    if not sound:
        raise _GarbageError


def understand(answer: IO[bytes], failure: str) -> DebugInfo:
    """What the reader said until it ended, or failed."""
    found = _Answer()
    try:
        while line := answer.readline(_LONGEST_LINE):
            if line.endswith(b"\n"):
                found.take(line)
            else:
                # Cut off in the middle.
                _check(bool(failure))
                break
        _check(bool(failure) or len(found.ended) == 2)
    except _GarbageError:
        return _failed("the reader said what is not understood")
    no_symbols, no_rows = (
        found.ended.get(part, _problem(what, failure))
        for part, what in (("symbols", "symbols"), ("rows", "source lines"))
    )
    symbols = tuple(found.symbols) if "symbols" in found.ended else ()
    return DebugInfo(symbols, tuple(found.rows), no_symbols, no_rows)
