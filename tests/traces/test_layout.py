"""The documented offsets are the ones in use."""

from __future__ import annotations

import re
from pathlib import Path
from struct import Struct, calcsize

import pytest

from tdxdbg.traces import layout
from tdxdbg.traces.layout import BODY_FIELDS, HEAD_FIELDS, HEADER_FIELDS, Field
from tdxdbg.traces.records import Kind

PAGE = (Path(__file__).parents[2] / "docs" / "trace-format.md").read_text()

SECTIONS = {
    "## Header": HEADER_FIELDS,
    "## Record head": HEAD_FIELDS,
    "### 1 TD_EXIT": BODY_FIELDS[Kind.TD_EXIT],
    "### 2 USERSPACE_EXIT": BODY_FIELDS[Kind.USERSPACE_EXIT],
    "### 3 ANSWER": BODY_FIELDS[Kind.ANSWER],
    "### 5 MEMORY_ATTRIBUTES": BODY_FIELDS[Kind.MEMORY_ATTRIBUTES],
}
STRUCTS: list[tuple[tuple[Field, ...], Struct, int]] = [
    (HEADER_FIELDS, layout.HEADER, 0),
    (HEAD_FIELDS, layout.HEAD, 0),
    (layout.TD_EXIT_FIELDS, layout.TD_EXIT, 64),
    (layout.STEP_FIELDS, layout.STEP, 64),
    (layout.ANSWER_FIELDS, layout.ANSWER, 64),
    (layout.MEMORY_ATTRIBUTES_FIELDS, layout.MEMORY_ATTRIBUTES, 64),
]


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_gives_these_offsets_and_sizes(heading: str) -> None:
    section = re.split(r"^##", PAGE.split(heading, 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    table = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", section, flags=re.MULTILINE)
    fields = SECTIONS[heading]
    assert table == [
        (field.name, str(field.offset), str(calcsize("<" + field.code))) for field in fields
    ]


@pytest.mark.parametrize(("fields", "struct", "start"), STRUCTS)
def test_offsets_follow_from_the_codes(
    fields: tuple[Field, ...], struct: Struct, start: int
) -> None:
    at = start
    for field in fields:
        assert field.offset == at, field.name
        at += calcsize("<" + field.code)
    assert struct.size == at - start


@pytest.mark.parametrize("kind", Kind)
def test_the_page_names_each_kind(kind: Kind) -> None:
    assert f"{kind.value} {kind.name}" in PAGE


@pytest.mark.parametrize(
    ("kind", "length", "parts"),
    [
        (Kind.TD_EXIT, 0, 0),
        (Kind.USERSPACE_EXIT, 160, 0),
        (Kind.USERSPACE_EXIT, 161, 1),
        (Kind.USERSPACE_EXIT, 352, 1),
        (Kind.USERSPACE_EXIT, 353, 2),
        (Kind.ANSWER, 184, 0),
        (Kind.CHECKPOINT, 193, 1),
    ],
)
def test_how_many_continuations_a_payload_takes(kind: Kind, length: int, parts: int) -> None:
    assert layout.parts_of(kind, length) == parts


def test_the_example_of_the_page_is_a_trace() -> None:
    import io

    from tdxdbg.traces import jsonl

    lines = PAGE.split("```")[1].strip()
    text = '{"tdxt": 1, "meta": {}}\n' + lines
    trace = jsonl.read(io.BytesIO(text.encode()), "x")
    assert trace.problems == []
    assert [record.kind for _, record in trace.records()] == [
        Kind.TD_EXIT,
        Kind.USERSPACE_EXIT,
        Kind.MEMORY_ATTRIBUTES,
        Kind.ANSWER,
        Kind.TD_ENTRY,
        Kind.CHECKPOINT,
    ]
    assert lines.splitlines() == list(jsonl.lines(trace))[1:]
