from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tdxdbg.engine import GENERATIONS
from tdxdbg.index.columns import ROW, Rows
from tdxdbg.index.store import identity, load, save
from tdxdbg.index.window import Place, read_rows
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tests.index.files import write_trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_trace(tmp_path / "some.tdxt", 400, GENERATIONS[-1])


def kept(trace: Trace, where: Path) -> tuple[bytes, Rows, Place]:
    """In two pieces."""
    which = identity(trace, trace.fileno())
    rows, at = read_rows(trace, Place())
    assert save(which, [rows[:60], rows[60:100]], Place(300, 100), where)
    assert save(which, [rows[100:]], at, where)
    return which, rows, at


def test_what_is_kept_comes_back(path: Path, tmp_path: Path) -> None:
    with open_trace(path) as trace:
        which, rows, at = kept(trace, tmp_path / "cache")
        found = load(which, trace, tmp_path / "cache")
    assert [row for piece in found for row in piece.rows.tolist()] == rows.tolist()
    assert [piece.start for piece in found] == [Place(), Place(300, 100)]
    assert [piece.after for piece in found] == [Place(300, 100), at]
    assert all(piece.sound for piece in found)
    (folder,) = (tmp_path / "cache").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == ["0.tdxi", "100.tdxi"]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"X" + data[1:],
        lambda data: data[:8] + b"\xff" + data[9:],
        lambda data: data[:12] + b"X" + data[13:],
        lambda data: data[:44] + b"\xff" * 8 + data[52:],
        lambda data: data[:52] + b"\xff" * 8 + data[60:],
        lambda data: data[:60] + b"\xff" * 8 + data[68:],
        lambda data: data[:60] + (100).to_bytes(8, "little") + data[68:72],
    ],
    ids=["empty", "header", "cut", "longer", "magic", "version", "which", "first", "slot", "rows",
         "none"],
)  # fmt: skip
def test_a_piece_that_is_not_whole_ends_them(
    change: Callable[[bytes], bytes], path: Path, tmp_path: Path
) -> None:
    with open_trace(path) as trace:
        which, _, _ = kept(trace, tmp_path)
        (file,) = tmp_path.rglob("100.tdxi")
        file.write_bytes(change(file.read_bytes()))
        assert [piece.after for piece in load(which, trace, tmp_path)] == [Place(300, 100)]
        (file,) = tmp_path.rglob("0.tdxi")
        file.write_bytes(b"")
        assert load(which, trace, tmp_path) == []


@pytest.mark.parametrize("at", [52, 68, 71, 72, -1], ids=["slot", "sum", "sum's end", "row", "end"])
def test_a_damaged_piece_is_not_sound(at: int, path: Path, tmp_path: Path) -> None:
    with open_trace(path) as trace:
        which, _, _ = kept(trace, tmp_path)
        (file,) = tmp_path.rglob("0.tdxi")
        data = bytearray(file.read_bytes())
        data[at] ^= 1
        file.write_bytes(data)
        assert [piece.sound for piece in load(which, trace, tmp_path)] == [False, True]


def test_a_recording_that_changed_is_another_one(path: Path) -> None:
    with open_trace(path) as trace:
        before = identity(trace, trace.fileno())
        os.utime(path, ns=(1, 1))
        assert identity(trace, trace.fileno()) != before
        touched = identity(trace, trace.fileno())
        with path.open("ab") as file:
            file.write(bytes(256))
        os.utime(path, ns=(1, 1))
        assert identity(trace, trace.fileno()) != touched


def test_a_folder_that_cannot_be_written_is_no_error(path: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with open_trace(path) as trace:
        which = identity(trace, trace.fileno())
        assert not save(which, [np.zeros(3, ROW)], Place(9, 3), blocked / "cache")
        assert load(which, trace, blocked / "cache") == []


def test_only_the_newest_are_kept(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(12):
        assert save(bytes([number]) * 32, [np.zeros(1, ROW)], Place(1, 1), cache)
        (newest,) = cache.glob(f"{number:02x}*")
        os.utime(newest, ns=(number, number))
    assert sorted(file.name[:2] for file in cache.iterdir()) == [f"{n:02x}" for n in range(4, 12)]


def test_what_was_never_finished_goes(tmp_path: Path) -> None:
    assert save(bytes(32), [np.zeros(1, ROW)], Place(1, 1), tmp_path)
    (folder,) = tmp_path.iterdir()
    for name, changed in ((".part-old", 1), (".part-new", None)):
        (folder / name).write_bytes(b"")
        if changed is not None:
            os.utime(folder / name, (changed, changed))
    assert save(bytes(32), [np.zeros(1, ROW)], Place(2, 2), tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == [".part-new", "0.tdxi", "1.tdxi"]
