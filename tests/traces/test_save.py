"""A trace is written whole or not at all, and keeps what is known of its import."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace, save
from tdxdbg.traces.unread import Imported, recall_import

DATA = Path(__file__).parents[1] / "data" / "traces"
GARBLED = (DATA / "demo3.ftrace.txt").read_bytes() + b"what is this\n"


def imported(folder: Path) -> Path:
    source = folder / "x.txt"
    source.write_bytes(GARBLED)
    with open_trace(source) as trace:
        save.save(trace, str(folder / "x.tdxt"))
    return folder / "x.tdxt"


def test_the_same_records_and_what_was_unread(tmp_path: Path) -> None:
    path = imported(tmp_path)
    with open_trace(path) as trace, open_trace(tmp_path / "x.txt") as source:
        assert list(trace.records()) == list(source.records())
        assert trace.imported == source.imported == Imported("tracefs", 453, 89, 1)
        assert trace.unread == source.unread == [(453, "what is this")]
        assert trace.problems == source.problems
        assert trace.remarks == source.remarks
        assert trace.meta.extra["imported"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.txt", "x.tdxt"}


def test_a_native_trace_is_copied_as_it_is(tmp_path: Path) -> None:
    path = imported(tmp_path)
    with open_trace(path) as trace:
        save.save(trace, str(tmp_path / "again.tdxt"))
        again = (tmp_path / "again.tdxt").read_bytes()
    assert open_trace(tmp_path / "again.tdxt").data() == again
    with open_trace(path) as one, open_trace(tmp_path / "again.tdxt") as other:
        assert one.data() == other.data()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = imported(tmp_path)
    before = path.read_bytes()
    with open_trace(tmp_path / "x.txt") as trace, pytest.raises(TraceError, match="already exists"):
        save.save(trace, str(path))
    assert path.read_bytes() == before


def test_what_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "x.txt"
    source.write_bytes(GARBLED)
    other = tmp_path / "x.tdxt"
    with open_trace(source) as trace, pytest.raises(TraceError, match="already exists"):
        save.save(trace, str(other), lambda *_: (other.write_text("mine"), None)[1])
    assert other.read_text() == "mine"
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.txt", "x.tdxt"}


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "x.txt"
    source.write_bytes(GARBLED)

    def interrupt(*_: int) -> NoReturn:
        raise KeyboardInterrupt

    with open_trace(source) as trace, pytest.raises(KeyboardInterrupt):
        save.save(trace, str(tmp_path / "x.tdxt"), interrupt)
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.txt"}


@pytest.mark.parametrize("broken", ["link", "fsync"])
def test_a_file_system_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EPERM, "no")

    source = tmp_path / "x.txt"
    source.write_bytes(GARBLED)
    monkeypatch.setattr(os, broken, refuse)
    with open_trace(source) as trace:
        if broken == "fsync":
            with pytest.raises(TraceError, match="cannot be written: no"):
                save.save(trace, str(tmp_path / "x.tdxt"))
        else:
            save.save(trace, str(tmp_path / "x.tdxt"))
    names = {"x.txt"} if broken == "fsync" else {"x.txt", "x.tdxt"}
    assert {entry.name for entry in tmp_path.iterdir()} == names


@pytest.mark.parametrize("path", ["nowhere/x.tdxt", "x.txt/x.tdxt"])
def test_a_place_where_nothing_can_be_written(tmp_path: Path, path: str) -> None:
    source = tmp_path / "x.txt"
    source.write_bytes(GARBLED)
    with open_trace(source) as trace, pytest.raises(TraceError, match="cannot be created"):
        save.save(trace, str(tmp_path / path))


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"source": 5, "lines": 1, "used": 1, "unread": 0},
        {"source": "x", "lines": "1", "used": 1, "unread": 0},
    ],
)
def test_metadata_of_something_else_is_no_import(data: object) -> None:
    with open_trace(DATA / "demo3.ftrace.txt") as trace:
        before = trace.imported, list(trace.remarks), list(trace.unread)
        recall_import(data, trace)
        assert (trace.imported, trace.remarks, trace.unread) == before


def test_what_is_wrong_in_the_metadata_of_an_import_is_left_out() -> None:
    with open_trace(DATA / "demo3.ftrace.txt") as trace:
        trace.remarks.clear()
        counts = {"source": "x", "lines": 1, "used": 1, "unread": 0, "unit": ["events"]}
        texts = {"problems": [1, "p"], "remarks": {"r": 1}}
        recall_import({**counts, **texts, "unread_lines": [1, [2], [3, "c"], ["4", "d"]]}, trace)
        assert trace.imported == Imported("x", 1, 1, 0)
        assert trace.problems == ["p"]
        assert trace.remarks == []
        assert trace.unread == [(3, "c")]
