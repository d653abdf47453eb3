"""A file appears whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdxdbg.errors import BackendError
from tdxdbg.traces.output import to_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_name_is_given_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with to_file(str(target)) as out:
        out.write(b"one")
        assert not target.exists()
        assert len(names(tmp_path)) == 1
        out.write(b"two")
        assert out.size == 6
    assert names(tmp_path) == ["a.csv"]
    assert target.read_bytes() == b"onetwo"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, BrokenPipeError])
def test_what_goes_wrong_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.csv"
    target.write_bytes(b"old")

    def go_wrong() -> None:
        with to_file(str(target), force=True) as out:
            out.write(b"new")
            raise error

    with pytest.raises(error):
        go_wrong()
    assert names(tmp_path) == ["a.csv"]
    assert target.read_bytes() == b"old"


def test_nothing_is_replaced_unless_it_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError), to_file(str(target)):
        raise AssertionError("it must not begin")
    with to_file(str(target), force=True) as out:
        out.write(b"new")
    assert target.read_bytes() == b"new"
    target.unlink()

    def too_late() -> None:
        with to_file(str(target)) as out:
            out.write(b"ours")
            target.write_bytes(b"another's")

    with pytest.raises(FileExistsError):
        too_late()
    assert target.read_bytes() == b"another's"
    assert names(tmp_path) == ["a.csv"]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with to_file(str(tmp_path / "a")) as out:
        out.write(b"x")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    with to_file(str(tmp_path / "link")) as out:
        out.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"x"


def test_a_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE)
    with to_file(str(tmp_path / "pipe")) as out:
        out.write(b"x")
    assert reader.communicate(timeout=30)[0] == b"x"
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize(
    ("path", "says"),
    [("gone/a.csv", "cannot be created: No such file"), (".", "cannot be written: Is a directory")],
)
def test_places_that_cannot_be_written(tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(BackendError, match=says), to_file(str(tmp_path / path), force=True) as out:
        out.write(b"x")


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may be larger than that, as on a full disk."""
    limit = 1 << 16
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, small_files: int) -> None:
    def fill() -> None:
        with to_file(str(tmp_path / "a.csv")) as out:
            for _ in range(2 * small_files // 4096):
                out.write(bytes(4096))

    with pytest.raises(BackendError, match=r"a\.csv: cannot be written: File too large; make room"):
        fill()
    assert names(tmp_path) == []


def test_a_process_that_is_killed_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tdxdbg.traces.output import to_file\n"
        "with to_file(sys.argv[1]) as out:\n"
        "    out.write(b'x' * 100_000)\n"
        "    print('half', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    target = tmp_path / "a.csv"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    assert not target.exists()
    with to_file(str(target)) as out:
        out.write(b"whole")
    assert target.read_bytes() == b"whole"
