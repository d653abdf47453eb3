"""Which format a file has is told by what is in it, and one line says what is wrong."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tdxdbg import traces
from tdxdbg.errors import BackendError, TraceError
from tdxdbg.traces import FORMATS, ftrace, jsonl, native, open_trace
from tdxdbg.traces.native import Trace
from tests.traces import simple_trace_files
from tests.traces.journals import META, journal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DATA = Path(__file__).parents[1] / "data" / "traces"
NATIVE = Trace.from_records(META, journal(3)).data()
JSONL = "\n".join(jsonl.lines(Trace(NATIVE))).encode()
NAMES = {item.key: item.name for item in FORMATS}
FOREIGN = {
    "demo3.tracecmd-report.txt": "trace-cmd",
    "demo3.perf-script-header.txt": "perf",
    "demo1.strace-raw.txt": "strace",
    "qemu_kvm_log_nots.txt": "qemu",
    "bpftrace_demo.txt": "bpftrace",
    "demo3.trace.dat": "trace-dat",
    "demo3.perf.data": "perf-data",
}
FTRACE = (DATA / "ftrace_raw_tgid.txt").read_bytes()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (NATIVE, NAMES["tdxt"]),
        (JSONL, NAMES["jsonl"]),
        (b"\n\n  " + JSONL, NAMES["jsonl"]),
        (FTRACE, NAMES["tracefs"]),
        (FTRACE.split(b"\n", 12)[-1], NAMES["tracefs"]),
        ((DATA / "ftrace_trace_pipe.txt").read_bytes(), NAMES["tracefs"]),
        (b"# tracer: nop\n", NAMES["tracefs"]),
        *(((DATA / file).read_bytes(), NAMES[key]) for file, key in FOREIGN.items()),
        (simple_trace_files.MAGIC, NAMES["simple"]),
    ],
)
def test_one_format_recognises_it(data: bytes, name: str) -> None:
    assert [item.name for item in FORMATS if item.sniff(data[: traces.HEAD_SIZE])] == [name]


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\0" * 10_000,
        b'{"a": 1}',
        b"\x7fELF" + bytes(100),
        b"PK\3\4",
        b"python3-1 [000] not a line",
        bytes(range(256)) * 20,
    ],
)
def test_anything_else_is_refused_with_the_list(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: not a recording that tdxdbg knows; it reads: ")
    assert all(item.name in said for item in FORMATS)


def test_an_empty_file_a_directory_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for name, message in (
        ("empty", "the file is empty"),
        ("missing", "no such file"),
        (".", "is a directory; give a file in it"),
        ("a\0b", "cannot be opened: embedded null byte"),
        ("x" * 300, "cannot be read: File name too long"),
    ):
        with pytest.raises(TraceError, match=message):
            open_trace(tmp_path / name)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(BackendError, match="x: no permission to read it; see its owner and mode"):
        open_trace(tmp_path / "x")


@pytest.mark.parametrize("data", [NATIVE, JSONL, FTRACE], ids=["native", "jsonl", "ftrace"])
def test_a_pipe_and_standard_input(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(data,))
    thread.start()
    with open_trace(path) as trace:
        from_pipe = trace.data()
    thread.join()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with open_trace("-") as trace:
        assert trace.data() == from_pipe
        assert trace.name == "standard input"


class Endless(io.RawIOBase):
    """A pipe that sends these bytes and then zeros for ever; counts what was taken."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self.head[self.taken : self.taken + len(view)].ljust(len(view), b"\0")
        view[:] = data
        self.taken += len(data)
        return len(data)


def test_a_pipe_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdxdbg.traces.copies.MAX_PIPE", 3 << 20)
    endless = Endless(NATIVE)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(endless)))
    with pytest.raises(TraceError, match="standard input: more than 0 GiB; save it to a file"):
        open_trace("-")
    assert endless.taken > 3 << 20


def test_a_pipe_of_something_else_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TraceError, match="/dev/zero: not a recording that tdxdbg knows"):
        open_trace("/dev/zero")
    endless = Endless(b"")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(endless)))
    with pytest.raises(TraceError, match="standard input: not a recording"):
        open_trace("-")
    assert endless.taken <= 2 * traces.HEAD_SIZE


def test_standard_input_that_is_closed_or_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(TraceError, match="standard input: the file is empty"):
        open_trace("-")
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(TraceError, match="standard input: is closed; give a file"):
        open_trace("-")


@pytest.mark.parametrize("place", ["missing", "file"])
def test_no_place_for_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / place))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(NATIVE)))
    with pytest.raises(TraceError, match=r"standard input: no room for a copy of it: .*set TMPDIR"):
        open_trace("-")


def test_a_copy_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda buffering: io.FileIO("/dev/full", "r+"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(NATIVE)))
    with pytest.raises(TraceError, match="no room for a copy of it: No space left on device"):
        open_trace("-")


def test_a_trace_that_nobody_closes_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.tdxt"
    path.write_bytes(NATIVE)
    trace = open_trace(path)
    assert trace.refresh() == 0
    del trace


def test_reading_needs_neither_numpy_nor_textual() -> None:
    code = "import sys, tdxdbg.traces; print([n for n in ('numpy', 'textual') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "[]\n"


def test_an_older_version_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.tdxt"
    path.write_bytes(NATIVE[:8] + b"\0\0" + NATIVE[10:])
    with pytest.raises(TraceError, match="format version 0 does not exist"):
        open_trace(path)
    new = tmp_path / "new.tdxt"
    new.write_bytes(NATIVE)
    with new.open("rb") as file:
        monkeypatch.setitem(native.MIGRATIONS, 0, lambda _: file)
        with open_trace(path) as trace:
            assert trace.data() == NATIVE


def test_binary_files_are_no_text_of_the_kernel() -> None:
    assert not ftrace.sniff(NATIVE)
