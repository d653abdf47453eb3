"""Parquet: the columns of CSV, typed, for people with many recordings.

Names are dictionary-coded, what is unknown is null, and each column's field has
its documentation as metadata. Row groups are written as they fill, so memory is
that of one. pyarrow is an extra, and imported when it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tdxdbg import __version__
from tdxdbg.decode.text import safe
from tdxdbg.errors import BackendError
from tdxdbg.export.columns import COLUMNS, Exit, Type
from tdxdbg.export.exits import exits
from tdxdbg.export.job import Done, Job
from tdxdbg.traces.output import Output

if TYPE_CHECKING:
    import pyarrow as pa

#: Exits in a row group: some MiB of memory.
ROWS: Final = 1 << 16
_REMEDY: Final = "parquet needs pyarrow; install it with: pip install 'tdxdbg[parquet]'"


def write(job: Job, out: Output) -> Done:
    """Write the file; raises BackendError, also where pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise BackendError(_REMEDY) from None
    schema = _schema(pa, job)
    count = 0
    names = [column.name for column in COLUMNS if column.type in (Type.NAME, Type.NAMES)]
    sink = pa.PythonFile(_Sink(out), mode="w")
    with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=names) as writer:
        group = _Group()
        for exit_ in exits(job):
            group.add(exit_)
            count += 1
            if len(group) == ROWS:
                writer.write_batch(group.batch(pa, schema))
                group = _Group()
        if len(group):
            writer.write_batch(group.batch(pa, schema))
    return Done(count)


class _Group:
    """The exits of a row group, column by column."""

    def __init__(self) -> None:
        self._values: list[list[Any]] = [[] for _ in COLUMNS]
        self._adders = [
            (values.append, column.get)
            for values, column in zip(self._values, COLUMNS, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._values[0])

    def add(self, exit_: Exit) -> None:
        for append, get in self._adders:
            append(get(exit_))

    def batch(self, arrow: Any, schema: pa.Schema) -> pa.RecordBatch:
        arrays = [
            arrow.array(values, schema_field.type)
            for values, schema_field in zip(self._values, schema, strict=True)
        ]
        return arrow.record_batch(arrays, schema=schema)


def _schema(arrow: Any, job: Job) -> pa.Schema:
    meta = job.timeline.trace.meta
    types = {
        Type.U8: arrow.uint8(),
        Type.U16: arrow.uint16(),
        Type.U32: arrow.uint32(),
        Type.U64: arrow.uint64(),
        Type.HEX: arrow.uint64(),
        Type.BOOLEAN: arrow.bool_(),
        Type.NAME: arrow.string(),
        Type.NAMES: arrow.list_(arrow.string()),
        Type.TEXT: arrow.string(),
    }
    fields = [
        arrow.field(column.name, types[column.type], metadata={"doc": column.doc})
        for column in COLUMNS
    ]
    about = {
        "tdxdbg": __version__,
        "source": safe(meta.source),
        "kernel": safe(meta.kernel),
        "generation": job.timeline.generation.name,
        "origin": meta.origin,
        "title": safe(meta.title),
        "redacted": "" if job.level is None else job.level.name.lower(),
    }
    return arrow.schema(fields, metadata=about)


class _Sink:
    """What pyarrow takes for a file: it only ever appends."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.closed = False

    def write(self, data: bytes) -> int:
        return self._out.write(data)

    def tell(self) -> int:
        return self._out.size

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
