"""A program at a pty, timed: when each key was written, and when each byte of the answer came.

The terminal says that it knows synchronized output (mode 2026), so textual puts
each frame between two marks and the end of a frame is seen, not guessed. What
arrives is drawn by pyte afterwards, so drawing is no part of the times.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, NamedTuple, Self

import pyte

ROOT: Final = Path(__file__).resolve().parents[1]
#: Seconds without a byte after which nothing more belongs to a key.
QUIET: Final = 0.04
_PATIENCE: Final = 30.0
_END: Final = b"\x1b[?2026l"
_QUERY: Final = b"\x1b[?2026$p"
_REPLY: Final = b"\x1b[?2026;2$y"
#: What pyte takes for something else: the Kitty keyboard protocol, private modes with `$`.
_UNKNOWN: Final = re.compile(rb"\x1b\[[<>=?][0-9;]*u|\x1b\[\?[0-9;]*\$[py]|\x1b\[>[0-9;]*[cq]")
_UNWANTED: Final = {"COLUMNS", "LINES", "NO_COLOR", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_DRIVER"}


class Key(NamedTuple):
    """A key, when it was written (seconds), and how many bytes had come until then."""

    text: str
    at: float
    seen: int


class Frame(NamedTuple):
    """A frame: when its last byte was read (seconds), and how many bytes had come with it."""

    at: float
    end: int


class Program:
    """A Python program at a pty of `columns` x `rows`; `more`: what its environment has besides."""

    def __init__(
        self,
        arguments: Sequence[str],
        columns: int,
        rows: int,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.columns, self.rows = columns, rows
        self.output = bytearray()
        self.keys: list[Key] = []
        self.frames: list[Frame] = []
        self.started = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            _become([sys.executable, *arguments], columns, rows, more)

    def send(self, text: str) -> None:
        """Write keys, one write for all of them."""
        self.keys.append(Key(text, time.perf_counter(), len(self.output)))
        os.write(self._fd, text.encode())

    def read(self, timeout: float) -> bool:
        """Take what comes within so many seconds; False when nothing did."""
        ready, _, _ = select.select([self._fd], [], [], timeout)
        if not ready:
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            data = b""
        now = time.perf_counter()
        if not data:
            raise RuntimeError(f"the program ended: {bytes(self.output[-400:])!r}")
        before = max(len(self.output) - len(_END) + 1, 0)
        self.output += data
        if _QUERY in self.output[before:]:
            os.write(self._fd, _REPLY)
        at = self.output.find(_END, before)
        while at >= 0:
            self.frames.append(Frame(now, at + len(_END)))
            at = self.output.find(_END, at + 1)
        return True

    def settle(self, quiet: float = QUIET) -> None:
        """Read until a frame has come since the last key, and then nothing more."""
        end = time.perf_counter() + _PATIENCE
        since = self.keys[-1].seen if self.keys else 0
        while not (self.frames and self.frames[-1].end > since):
            self.read(0.1)
            if time.perf_counter() > end:
                raise RuntimeError("no frame came")
        while self.read(quiet):
            pass

    def wait_until(self, moment: float) -> None:
        """Read until this time."""
        while (left := moment - time.perf_counter()) > 0:
            self.read(left)

    def anonymous(self) -> int:
        """RssAnon in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return int(status.partition("RssAnon:")[2].split()[0])

    def pictures(self) -> Iterator[tuple[Frame, list[str]]]:
        """Each frame and the lines of the screen after it."""
        screen = pyte.Screen(self.columns, self.rows)
        stream = pyte.ByteStream(screen)
        at = 0
        for frame in self.frames:
            stream.feed(_UNKNOWN.sub(b"", bytes(self.output[at : frame.end])))
            at = frame.end
            yield frame, screen.display

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Its processes too: they would take time from what is measured next.
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split()
        for pid in (self.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def _become(command: list[str], columns: int, rows: int, more: Mapping[str, str]) -> None:
    """In the child: the size before anything else, then the program."""
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    settings = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
    own = {name: text for name, text in os.environ.items() if name not in _UNWANTED}
    try:
        os.chdir(ROOT)
        os.execve(command[0], command, {**own, **settings, **more})
    finally:
        os._exit(127)
