"""CSV: what the summaries say, readable by a reader that knows nothing of us."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.decode.text import safe
from tdxdbg.engine import BY_NAME
from tdxdbg.export import Job, Level, Selection
from tdxdbg.export.columns import COLUMNS, Type
from tdxdbg.export.csv_lines import text_cell, write
from tdxdbg.filters import FIELDS, compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tests.export.outputs import written

SAMPLES = sorted(samples_dir().glob("*.tdxt"))
RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"


def table(job: Job) -> list[dict[str, str]]:
    text = written(write, job).decode("ascii")
    assert "\r" not in text
    return list(csv.DictReader(io.StringIO(text), strict=True))


def number(cell: str) -> int | None:
    return int(cell, 0) if cell else None


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_cell_is_what_the_summary_says(path: Path) -> None:
    with open_trace(path) as trace:
        timeline = Timeline(trace)
        rows = table(Job(timeline))
        assert len(rows) == len(trace)
        for index, cells in enumerate(rows):
            assert [*cells] == [column.name for column in COLUMNS]
            summary = timeline.summary(index)
            for column in COLUMNS:
                cell = cells[column.name]
                said = getattr(summary, column.name, None)
                if column.name not in FIELDS or column.type is Type.NAMES:
                    continue
                if column.type is Type.BOOLEAN:
                    assert cell == {None: "", True: "true", False: "false"}[said]
                elif column.type is Type.NAME:
                    assert cell == (said or "")
                elif column.type is not Type.TEXT:
                    assert number(cell) == said, column.name


def test_the_columns_are_those_that_scripts_rely_on() -> None:
    """New columns go to the end: change nothing here but to add."""
    assert [column.name for column in COLUMNS] == [
        "index", "vcpu", "time", "duration", "reason", "reason_name", "leaf", "leaf_name",
        "vendor", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rax", "rbx", "rcx", "rdx",
        "rsi", "rdi", "gpa", "size", "direction", "port", "value", "private", "shared", "exit",
        "hypercall", "outcome", "kernel", "status", "status_name", "reply", "retry", "error",
        "errno", "message", "known", "derived", "source", "computed", "assumed", "diverged",
    ]  # fmt: skip
    missing = {*FIELDS} - {column.name for column in COLUMNS}
    assert missing == {"finding"}


def test_a_line_by_hand() -> None:
    with open_trace(RETRY) as trace:
        wanted = compile_filter("leaf == MapGPA and retry")
        cells = table(Job(Timeline(trace), Selection(0, 1, wanted)))[0]
    said = {name: cell for name, cell in cells.items() if cell}
    assert said["leaf_name"] == "MapGPA"
    assert said["exit"].split()[0] == "KVM_EXIT_HYPERCALL"
    assert (said["status"], said["status_name"]) == ("0x1", "RETRY")
    assert (said["retry"], said["error"], said["kernel"]) == ("true", "false", "false")
    assert int(said["duration"]) > 0
    assert said["known"] == "0x1ffff"
    assert "message" not in said


def test_what_is_unknown_is_empty() -> None:
    with open_trace(samples_dir() / "vp_enter_statuses.tdxt") as trace:
        rows = table(Job(Timeline(trace)))
    assert any(not cells["reason"] and cells["rax"] for cells in rows)


def test_another_kernel_says_that_it_is_computed() -> None:
    with open_trace(RETRY) as trace:
        own = table(Job(Timeline(trace)))
        other = table(Job(Timeline(trace, BY_NAME["v19"])))
    assert {cells["computed"] for cells in own} == {"false"}
    assert {cells["diverged"] for cells in own} == {""}
    assert {cells["computed"] for cells in other} == {"true"}
    assert "true" in {cells["diverged"] for cells in other}


# --- text ---------------------------------------------------------------------------------


@given(st.text())
def test_a_cell_of_text_is_no_formula_and_can_be_read_back(text: str) -> None:
    cell = text_cell(safe(text))
    (row,) = csv.reader([f"1,{cell};=1+1,2"], strict=False)
    assert len(row) == 3
    (content,) = next(csv.reader([cell], strict=True)) or [""]
    assert not content.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert all(" " <= letter <= "~" for letter in content)
    if content != safe(text):
        assert f"\\x{ord(text[0]):02x}{safe(text)[1:]}" == content


def test_messages_are_escaped() -> None:
    with open_trace(samples_dir() / "fatal_error_hostile_text.tdxt") as trace:
        timeline = Timeline(trace)
        rows = table(Job(timeline))
        for index, cells in enumerate(rows):
            assert cells["message"] == safe(timeline.summary(index).message or "")
    assert any(cells["message"].startswith("\\x1b[2J") for cells in rows)


def test_redacted_rows_are_still_rows() -> None:
    with open_trace(RETRY) as trace:
        rows = table(Job(Timeline(trace), level=Level.REGISTERS))
        assert len(rows) == len(trace)
    calls = [cells for cells in rows if cells["leaf_name"] == "MapGPA"]
    assert {cells["gpa"] + cells["port"] + cells["reply"] for cells in rows} == {""}
    assert {cells["r12"] for cells in calls} == {""}
    assert all(cells["size"] and cells["status_name"] for cells in calls)
