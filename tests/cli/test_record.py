"""tdxdbg record: a guest to its end, without a screen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tdxdbg.traces import open_trace
from tests.session.support import ENDLESS, PATIENCE, WRITES

#: Runs the rest of its arguments where no file can be larger than the first one says.
FULL = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def start(*arguments: str, room: int = 0) -> subprocess.Popen[bytes]:
    """`room`: bytes that a file can have, as on a disk that gets full."""
    full = ["-c", FULL, str(room)] if room else []
    return subprocess.Popen(
        [sys.executable, *full, "-m", "tdxdbg", "record", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )


def record(*arguments: str, room: int = 0) -> tuple[int, bytes, str]:
    """Exit status, standard output and standard error."""
    with start(*arguments, room=room) as process:
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors.decode()


def test_a_guest_runs_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "td.tdxt"
    status, output, errors = record("mapgpa_retry", "-o", str(path), "--kernel", "6.16")
    assert (status, output) == (0, b"")
    assert errors.endswith("guest exited with status 0 through the debug port\n")
    with open_trace(path) as trace:
        assert f"{len(trace)} exits, " in errors
        assert trace.meta.generation == "6.16"
        assert trace.problems == []


def test_options_of_the_guest(tmp_path: Path) -> None:
    path = tmp_path / "td.tdxt"
    options = ["--gpaw", "52", "--memory", "16", "--policy", "eagain:1", "--vcpus", "2"]
    assert record("mapgpa_retry", "-o", str(path), *options)[0] == 0
    with open_trace(path) as trace:
        assert trace.meta.td.gpaw == 52
        assert trace.meta.extra["policies"] == ["eagain:1"]


def test_a_limit_ends_it_well(tmp_path: Path) -> None:
    image, path = tmp_path / "image", tmp_path / "td.tdxt"
    image.write_bytes(WRITES)
    status, _, errors = record(str(image), "-o", str(path), "--limit", "100")
    assert (status, errors.startswith("tdxdbg: 100 exits, ")) == (0, True)
    with open_trace(path) as trace:
        assert len(trace) == 100


def test_to_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "td.tdxt"
    record("fatal", "-o", str(path))
    status, output, _ = record("fatal", "-o", "-")
    assert status == 0
    assert output == path.read_bytes()


def test_what_a_guest_says_cannot_deceive(tmp_path: Path) -> None:
    status, _, errors = record("fatal_hostile", "-o", str(tmp_path / "td.tdxt"))
    assert status == 0
    assert len(errors.splitlines()) == 1
    assert errors.rstrip("\n").isprintable()


WRONG = [
    (["nonsense", "-o", "x"], 2, "no guest 'nonsense'"),
    (["./nonsense", "-o", "x"], 2, "no such file"),
    (["fatal"], 2, "--output"),
    (["fatal", "-o", "x", "--policy", "nonsense"], 2, "nonsense"),
    (["fatal", "-o", "x", "--limit", "0"], 2, "0"),
    (["fatal", "-o", "x", "--memory", "4", "--vcpus", "99"], 2, "99"),
    (["fatal", "-o", "/nowhere/td.tdxt"], 3, "cannot be created"),
    (["fatal", "-o", "/dev/null"], 3, "already exists"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), WRONG, ids=lambda item: str(item)[:40])
def test_what_is_wrong_is_one_line(arguments: list[str], status: int, words: str) -> None:
    found, output, errors = record(*arguments)
    assert (found, output) == (status, b"")
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert not Path("x").exists()


@pytest.mark.parametrize("image", [ENDLESS, WRITES], ids=["no exits", "many exits"])
def test_ctrl_c_keeps_what_is_recorded(tmp_path: Path, image: bytes) -> None:
    guest, path = tmp_path / "image", tmp_path / "td.tdxt"
    guest.write_bytes(image)
    with start(str(guest), "-o", str(path)) as process:
        end = time.monotonic() + PATIENCE
        while not path.exists() or (image is WRITES and path.stat().st_size < 100_000):
            assert time.monotonic() < end
            time.sleep(0.02)
        # After its file is there it has but to come to where it waits.
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    with open_trace(path) as trace:
        assert trace.problems == []
        assert len(trace) > 100 if image is WRITES else len(trace) == 0


def test_a_full_disk_is_status_3_and_keeps_the_rest(tmp_path: Path) -> None:
    guest, path = tmp_path / "image", tmp_path / "td.tdxt"
    guest.write_bytes(WRITES)
    status, _, errors = record(str(guest), "-o", str(path), room=300_000)
    assert status == 3
    assert "make room" in errors
    assert len(errors.splitlines()) == 1
    with open_trace(path) as trace:
        assert len(trace) > 100
        assert trace.problems == []
