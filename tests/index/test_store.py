from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tdxdbg.engine import GENERATIONS
from tdxdbg.index.columns import ROW, Place, Rows, read_rows
from tdxdbg.index.store import identity, load, save
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tests.index.files import write_trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_trace(tmp_path / "some.tdxt", 400, GENERATIONS[-1])


def kept(trace: Trace, where: Path) -> tuple[bytes, Rows, Place]:
    which = identity(trace, trace.fileno())
    rows, at = read_rows(trace, Place())
    assert save(which, [rows[:100], rows[100:]], at, where)
    return which, rows, at


def test_what_is_kept_comes_back(path: Path, tmp_path: Path) -> None:
    with open_trace(path) as trace:
        which, rows, at = kept(trace, tmp_path / "cache")
        found = load(which, trace, tmp_path / "cache")
    assert found is not None
    assert found[0].tolist() == rows.tolist()
    assert found[1] == at
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".tdxi"]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"X" + data[1:],
        lambda data: data[:8] + b"\xff" + data[9:],
        lambda data: data[:24] + b"\xff" * 8 + data[32:],
        lambda data: data[:16] + b"\xff" * 8 + data[24:],
    ],
    ids=["empty", "header", "cut", "longer", "byte", "magic", "version", "rows", "slot"],
)
def test_a_file_that_is_not_whole_is_not_used(
    change: Callable[[bytes], bytes], path: Path, tmp_path: Path
) -> None:
    with open_trace(path) as trace:
        which, _, _ = kept(trace, tmp_path)
        (file,) = tmp_path.glob("*.tdxi")
        file.write_bytes(change(file.read_bytes()))
        assert load(which, trace, tmp_path) is None


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
        assert load(which, trace, blocked / "cache") is None


def test_only_the_newest_are_kept(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(12):
        assert save(bytes([number]) * 32, [np.zeros(1, ROW)], Place(1, 1), cache)
        (newest,) = cache.glob(f"{number:02x}*")
        os.utime(newest, ns=(number, number))
    assert sorted(file.name[:2] for file in cache.iterdir()) == [f"{n:02x}" for n in range(4, 12)]
