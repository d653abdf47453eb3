"""What is settled is read once, whoever ends before all of it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tdxdbg.engine import GENERATIONS
from tdxdbg.index import table, window
from tdxdbg.index.table import Table
from tdxdbg.index.window import Place, read_rows
from tdxdbg.traces import open_trace
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.native import Trace
from tests.index.files import write_trace

ROWS = 800


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trace(tmp_path_factory.mktemp("traces") / "some.tdxt", ROWS, GENERATIONS[-1])


@pytest.fixture
def trace(path: Path) -> Iterator[Trace]:
    with open_trace(path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a short recording: windows of 600 slots, pieces of 150 rows."""
    monkeypatch.setattr(window, "_REACH", 150)
    monkeypatch.setattr(table, "read_rows", partial(read_rows, window=600))
    monkeypatch.setattr(table, "_BLOCK", 150)


def built(made: Table) -> list[tuple[int, ...]]:
    """All rows of it."""
    while not made.complete:
        made.build()
    rows: list[tuple[int, ...]] = []
    while len(rows) < made.at.rows:
        rows += made.rows(len(rows)).tolist()
    return rows


def pieces(where: Path) -> list[Path]:
    return sorted(where.glob("*/*.tdxi"), key=lambda file: int(file.stem))


def expected(trace: Trace) -> list[tuple[int, ...]]:
    rows, at, found = read_rows(trace, Place())[0], Place(), []
    while len(rows):
        rows, at = read_rows(trace, at)
        found += rows.tolist()
    return found


def test_the_next_one_goes_on_where_one_was_ended(trace: Trace, tmp_path: Path) -> None:
    first = Table(trace, tmp_path)
    while len(pieces(tmp_path)) < 2:
        first.build()
    kept = [file.stat().st_ino for file in pieces(tmp_path)]
    second = Table(trace, tmp_path)
    assert 0 < second.at.rows == first.at.rows < ROWS
    assert built(second) == expected(trace)
    assert [file.stat().st_ino for file in pieces(tmp_path)][:2] == kept
    third = Table(trace, tmp_path)
    assert third.at == second.at
    assert built(third) == expected(trace)


def test_two_at_once_leave_one_whole(trace: Trace, tmp_path: Path) -> None:
    both = [Table(trace, tmp_path) for _ in range(2)]
    while not all(one.complete for one in both):
        for one in both:
            one.build()
    assert built(Table(trace, tmp_path)) == expected(trace)
    assert pieces(tmp_path)


@pytest.mark.parametrize("number", [0, 1, -1])
@pytest.mark.parametrize("used_first", [0, 200, ROWS - 1])
def test_a_damaged_piece_and_what_is_behind_it_are_read_anew(
    number: int, used_first: int, trace: Trace, tmp_path: Path
) -> None:
    built(Table(trace, tmp_path))
    assert len(pieces(tmp_path)) > 2
    file = pieces(tmp_path)[number]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    made = Table(trace, tmp_path)
    made.prove(used_first)
    assert built(made) == expected(trace)
    # What was written anew is whole.
    assert all(piece.sound for piece in Table(trace, tmp_path)._unproven)
    assert built(Table(trace, tmp_path)) == expected(trace)


def test_what_grew_is_not_kept_as_what_it_was(path: Path, tmp_path: Path) -> None:
    data, grows = path.read_bytes(), tmp_path / "grows.tdxt"
    grows.write_bytes(data[: len(data) // 2 // RECORD_SIZE * RECORD_SIZE])
    with open_trace(grows) as trace:
        made = Table(trace, tmp_path / "cache")
        built(made)
        before = pieces(tmp_path / "cache")
        assert before
        with grows.open("ab") as file:
            file.write(data[len(data) // 2 // RECORD_SIZE * RECORD_SIZE :])
        trace.refresh()
        made.grown()
        assert built(made) == expected(trace)
        assert pieces(tmp_path / "cache") == before


def test_without_a_cache_folder_all_is_read(trace: Trace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert built(Table(trace, tmp_path / "file" / "cache")) == expected(trace)
