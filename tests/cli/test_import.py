"""tdxdbg import, and --pid of the commands that open a recording."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tdxdbg.cli.options import FORMAT_NAMES
from tdxdbg.traces import FORMATS, open_trace
from tests.e2e.terminal import Terminal
from tests.traces.trace_dat_files import event, page, short, version_6

DATA = Path(__file__).parents[1] / "data" / "traces"
DEMO = DATA / "demo3.ftrace.txt"


def tdxdbg(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tdxdbg", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )


def test_the_formats_of_the_help_are_the_importers() -> None:
    assert [item.key for item in FORMATS] == list(FORMAT_NAMES)


def test_it_says_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(DEMO.read_bytes() + b"what is this\x1b\n")
    result = tdxdbg("import", path, "-o", tmp_path / "x.tdxt")
    assert (result.returncode, result.stdout) == (0, b"")
    said = result.stderr.decode().splitlines()
    assert (
        f"tdxdbg: {path}: tracefs: 453 lines read, 89 used, 1 could not be read: 43 exits" in said
    )
    assert f"tdxdbg: {path}: line 453: what is this\\x1b" in said
    with open_trace(tmp_path / "x.tdxt") as trace, open_trace(path) as source:
        assert list(trace.records()) == list(source.records())
    again = tdxdbg("import", path, "-o", tmp_path / "x.tdxt")
    assert again.returncode == 3
    assert b"already exists; give another name, or remove it first" in again.stderr


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("demo3.trace.dat", b"trace-cmd: 440 events read, 89 used, 0 could not be read: 43 exits"),
        ("demo3.perf.data", b"perf: 440 events read, 89 used, 0 could not be read: 43 exits"),
    ],
)
def test_a_binary_recording_has_events_and_no_lines(
    tmp_path: Path, name: str, counts: bytes
) -> None:
    result = tdxdbg("import", DATA / name, "-o", tmp_path / "x.tdxt")
    assert counts in result.stderr
    assert b" lines" not in result.stderr
    again = tdxdbg("import", tmp_path / "x.tdxt", "-o", "-")
    assert counts in again.stderr, "the file remembers"


def test_an_unread_event_is_named_by_its_offset(tmp_path: Path) -> None:
    bad = event("kvm_pio", 7, rw=1, port=0x80, size=3, count=1, val=1)
    io = event("kvm_userspace_exit", 7, reason=2)
    data = version_6([page(5_000_000_000_000, short(io), short(bad))])
    (tmp_path / "x.dat").write_bytes(data)
    result = tdxdbg("import", tmp_path / "x.dat", "-o", tmp_path / "x.tdxt")
    said = result.stderr.decode().splitlines()
    assert said[1].endswith("x.dat: trace-cmd: 2 events read, 1 used, 1 could not be read: 1 exits")
    assert said[2].endswith(f"x.dat: offset {data.index(bad):#x}: {len(bad)} bytes")


def test_from_standard_input_to_standard_output() -> None:
    result = tdxdbg("import", "-", "-o", "-", stdin=DEMO.read_bytes())
    assert result.returncode == 0
    assert b"452 lines read, 89 used, 0 could not be read: 43 exits" in result.stderr
    printed = tdxdbg("print", "-", "--format", "json", stdin=result.stdout)
    assert len(printed.stdout.splitlines()) == 43


def test_a_native_trace_is_no_import(tmp_path: Path) -> None:
    assert tdxdbg("import", DEMO, "-o", tmp_path / "a.tdxt").returncode == 0
    result = tdxdbg("import", tmp_path / "a.tdxt", "-o", tmp_path / "b.tdxt")
    assert result.returncode == 0
    assert (tmp_path / "b.tdxt").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((DEMO, "-o", "out.tdxt", "--format", "qemu"), 3, b"no exits in 0 events (452 lines"),
        ((DEMO, "-o", "out.tdxt", "--format", "nonsense"), 2, b"nonsense"),
        ((DEMO, "-o", "out.tdxt", "--pid", "1"), 3, b"of other processes were left out"),
        ((DEMO, "-o", "out.tdxt", "--pid", "0"), 2, b"--pid"),
        ((DEMO,), 2, b"--output"),
        (("nothing.txt", "-o", "out.tdxt"), 3, b"no such file"),
        ((DEMO, "-o", "nowhere/out.tdxt"), 3, b"cannot be created: No such file or directory"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    status: int,
    words: bytes,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(tmp_path)
    result = tdxdbg("import", *arguments)
    assert result.returncode == status
    assert words in result.stderr
    assert b"Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("pid", "exits"), [("14024", 43), ("14073", 13)])
def test_a_pid_picks_a_process(pid: str, exits: int) -> None:
    result = tdxdbg("print", DATA / "ftrace_raw_trace.txt", "--pid", pid, "--format", "json")
    assert len(result.stdout.splitlines()) == exits


def test_several_pids() -> None:
    pids = ("--pid", "14024", "--pid", "14073")
    result = tdxdbg("print", DATA / "ftrace_raw_trace.txt", *pids, "--format", "json")
    assert len(result.stdout.splitlines()) == 56


def test_progress_is_for_a_terminal(tmp_path: Path) -> None:
    big = tmp_path / "big.txt"
    big.write_bytes(DEMO.read_bytes() * 60)
    with Terminal("import", str(big), "-o", str(tmp_path / "x.tdxt")) as terminal:
        assert terminal.wait_for_end() == 0
        assert b"reading" in terminal.output
        assert b"100%" in terminal.output
    assert (tmp_path / "x.tdxt").exists()


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tdxdbg", "import", "-", "-o", str(tmp_path / "x.tdxt")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        # More than a pipe holds: when it is written, the program is reading.
        process.stdin.write(DEMO.read_bytes() * 5)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b"tdxdbg: interrupted\n"
    assert list(tmp_path.iterdir()) == []
