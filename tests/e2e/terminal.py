"""A terminal for the real program: a pty, and pyte that draws what arrives."""

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
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

ROOT = Path(__file__).resolve().parents[2]
#: What pyte takes for something else: the Kitty keyboard protocol, and private modes with `$`.
UNKNOWN = re.compile(rb"\x1b\[[<>=?][0-9;]*[u]|\x1b\[\?[0-9;]*\$[py]|\x1b\[>[0-9;]*[cq]")
#: Settings of the one who runs the tests that would change what is drawn.
UNWANTED = {"COLUMNS", "LINES", "NO_COLOR", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_DRIVER"}
START = 20.0


class Terminal:
    """The program at a pty. `output` is every byte that it wrote."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        env: dict[str, str] | None = None,
        stdin: Path | None = None,
    ) -> None:
        """`stdin`: a file that comes by standard input, where the terminal is otherwise."""
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.output = bytearray()
        self._rest = b""
        self.status: int | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            command = [sys.executable, "-m", "tdxdbg", *arguments]
            _become(command, columns, rows, env or {}, stdin)
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as a window manager does."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self.fd, keys.encode())

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(self.screen.display)

    def wait_for(self, *texts: str, gone: str = "", timeout: float = START) -> str:
        """Read until all texts stand on the screen (and `gone` does not)."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if all(text in self.text for text in texts) and (not gone or gone not in self.text):
                return self.text
            if not self._read(0.1) and self.status is not None:
                break
        raise AssertionError(f"not on the screen: {texts}; it is:\n{self.text}")

    def settle(self, quiet: float = 0.4) -> str:
        """Read until nothing arrives for so many seconds."""
        while self._read(quiet):
            pass
        return self.text

    def wait_for_end(self, timeout: float = START) -> int:
        """The exit status of the program."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.status is None:
            self._read(0.1)
        assert self.status is not None, f"the program did not end; the screen:\n{self.text}"
        return self.status

    def _read(self, timeout: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], timeout)
        data = b""
        if ready:
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:
                data = b""
            if not data:
                self._reap()
        self.output += data
        self._draw(data)
        return bool(data)

    def _draw(self, data: bytes) -> None:
        data = self._rest + data
        # A sequence may be cut in two by the read.
        cut = data.rfind(b"\x1b")
        whole = cut < 0 or re.match(rb"\x1b(\[[0-9;<>=?$]*[@-~]|[^\[])", data[cut:]) is not None
        self._rest = b"" if whole else data[cut:]
        self.stream.feed(UNKNOWN.sub(b"", data if whole else data[:cut]))

    def _reap(self) -> None:
        if self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()
        os.close(self.fd)


def _become(
    command: list[str], columns: int, rows: int, env: dict[str, str], stdin: Path | None
) -> None:
    """In the child: the size first, so that the first frame is right; then the program."""
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    settings = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
    # A dict of its own: readline, where pytest loads it, puts COLUMNS and LINES into the
    # environment behind the back of os.environ.
    own = {name: text for name, text in os.environ.items() if name not in UNWANTED}
    try:
        if stdin is not None:
            os.dup2(os.open(stdin, os.O_RDONLY), 0)
        os.execve(command[0], command, {**own, **settings, **env})
    finally:
        os._exit(127)
