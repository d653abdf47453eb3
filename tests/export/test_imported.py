"""A recording of another tool, exported and read again, is the same recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.export import FORMATS, Job
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tests.export.outputs import written

DATA = Path(__file__).parents[1] / "data/traces"
FILES = sorted(path for path in DATA.iterdir() if path.is_file() and path.name != "README.md")


@pytest.mark.parametrize("form", ["tdxt", "tdxt.zst", "jsonl"])
@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_there_and_back(path: Path, form: str, tmp_path: Path) -> None:
    with open_trace(path) as trace:
        back = tmp_path / "back"
        back.write_bytes(written(FORMATS[form].write, Job(Timeline(trace))))
        with open_trace(back) as again:
            assert [*again.records()] == [*trace.records()]
            assert again.meta.td == trace.meta.td
            assert again.meta.source == trace.meta.source
            assert len(again) == len(trace)
            second = written(FORMATS[form].write, Job(Timeline(again)))
        assert second == back.read_bytes(), "and from then on byte for byte"
