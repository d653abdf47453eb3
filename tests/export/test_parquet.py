"""Parquet: the columns of CSV, typed, in row groups, as pyarrow reads them."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from tdxdbg.engine import BY_NAME, Td
from tdxdbg.errors import BackendError
from tdxdbg.export import FORMATS, Job, Level, Selection, parquet, to_file
from tdxdbg.export.columns import COLUMNS, Type
from tdxdbg.export.exits import exits
from tdxdbg.filters import compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tests.index.journals import calls
from tests.timeline.journals import make_trace

WRITE = FORMATS["parquet"].write
SAMPLES = sorted(samples_dir().glob("*.tdxt"))


@pytest.fixture
def pq() -> Any:
    return pytest.importorskip("pyarrow.parquet", reason="the extra tdxdbg[parquet] is missing")


def saved(folder: Path, job: Job) -> Path:
    path = folder / "a.parquet"
    with to_file(str(path), force=True) as out:
        done = WRITE(job, out)
    assert done.exits == len(list(exits(job)))
    return path


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_value_is_that_of_the_column(path: Path, tmp_path: Path, pq: Any) -> None:
    with open_trace(path) as trace:
        job = Job(Timeline(trace))
        table = pq.read_table(saved(tmp_path, job)).to_pylist()
        for row, exit_ in zip(table, exits(job), strict=True):
            for column in COLUMNS:
                value = column.get(exit_)
                if isinstance(value, tuple):
                    assert row[column.name] == list(value)
                else:
                    assert row[column.name] == value


def test_types_documentation_and_what_it_is_of(tmp_path: Path, pq: Any) -> None:
    with open_trace(samples_dir() / "serial_hello.tdxt") as trace:
        path = saved(tmp_path, Job(Timeline(trace), level=Level.TEXT))
        schema = pq.read_schema(path)
        assert schema.names == [column.name for column in COLUMNS]
        by_type = {Type.U64: "uint64", Type.HEX: "uint64", Type.U16: "uint16", Type.U32: "uint32",
                   Type.U8: "uint8", Type.BOOLEAN: "bool", Type.NAME: "string",
                   Type.TEXT: "string"}  # fmt: skip
        for column in COLUMNS:
            field = schema.field(column.name)
            assert field.metadata[b"doc"].decode() == column.doc
            expected = by_type.get(column.type)
            assert expected is None or str(field.type) == expected
        assert schema.metadata[b"redacted"] == b"text"
        assert schema.metadata[b"title"].decode() == trace.meta.title
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(schema.names.index("leaf_name"))
    assert chunk.has_dictionary_page


def test_row_groups_are_written_as_they_fill(
    tmp_path: Path, pq: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS", 64)
    trace = make_trace(calls(300, 3, BY_NAME["6.16"]), Td(), BY_NAME["6.16"])
    path = saved(tmp_path, Job(Timeline(trace)))
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    assert sizes == [64, 64, 64, 64, 44]
    assert file.read(["index"])["index"].to_pylist() == list(range(300))


def test_nothing_selected_is_an_empty_table(tmp_path: Path, pq: Any) -> None:
    with open_trace(SAMPLES[0]) as trace:
        nothing = Selection(wanted=compile_filter("index > 1000000"))
        table = pq.read_table(saved(tmp_path, Job(Timeline(trace), nothing)))
    assert table.num_rows == 0
    assert table.column_names == [column.name for column in COLUMNS]


def test_the_redacted_bytes_are_gone(tmp_path: Path, pq: Any) -> None:
    with open_trace(samples_dir() / "mapgpa_64mib_interrupted.tdxt") as trace:
        job = Job(Timeline(trace), level=Level.REGISTERS)
        table = pq.read_table(saved(tmp_path, job))
    assert table["gpa"].null_count == table.num_rows
    assert table["r14"].null_count == table.num_rows


def test_without_pyarrow_the_remedy_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)

    def export() -> None:
        with open_trace(SAMPLES[0]) as trace, to_file(str(tmp_path / "a.parquet")) as out:
            WRITE(Job(Timeline(trace)), out)

    with pytest.raises(BackendError, match=r"install it with: pip install 'tdxdbg\[parquet\]'"):
        export()
    assert list(tmp_path.iterdir()) == []
