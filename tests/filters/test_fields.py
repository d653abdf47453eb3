"""The table of fields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tdxdbg.abi import ghci, kvm, vmx
from tdxdbg.decode.summary import FIELD_NAMES, RowSummary
from tdxdbg.filters import FIELDS, Field, FilterError, Type, compile_filter
from tdxdbg.filters.reference import fields_markdown, names_markdown

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "filters.md"


def test_the_fields_are_the_documented_ones() -> None:
    assert " ".join(FIELDS) == (
        "index time vcpu reason leaf r8 r9 r10 r11 r12 r13 r14 r15 rax rbx rcx rdx rsi rdi "
        "gpa size direction status outcome exit port kernel private shared retry error message "
        "finding"
    )
    assert all(row.doc for row in FIELDS.values())


@pytest.mark.parametrize("field", FIELDS.values(), ids=list(FIELDS))
def test_names_are_told_apart(field: Field) -> None:
    lower = [name.lower() for name in field.names]
    assert len(set(lower)) == len(lower)
    for alias, value in field.aliases.items():
        assert field.value_of(alias) == value
    for name, value in field.names.items():
        assert field.value_of(name) == value
    assert set(field.shown) == set(field.names.values())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("leaf", set(map(int, ghci.SubFunction))),
        ("status", set(map(int, ghci.Status))),
        ("exit", set(map(int, kvm.Exit))),
        ("reason", set(vmx.EXIT_REASON_NAMES)),
    ],
)
def test_every_number_of_the_abi_has_its_name(name: str, values: set[int]) -> None:
    assert set(FIELDS[name].names.values()) == values


def test_a_row_has_every_field() -> None:
    assert set(FIELDS) <= set(FIELD_NAMES)
    row = RowSummary(index=3, leaf=0x10001, status=1, exit=(3, 3), retry=True, outcome="guest")
    assert compile_filter("leaf == MapGPA and retry and exit == HYPERCALL").matches(row)
    assert not compile_filter("gpa == 0 or not (gpa == 0)").matches(row)


def test_types() -> None:
    kinds = {kind: [n for n, row in FIELDS.items() if row.type is kind] for kind in Type}
    assert kinds[Type.BOOLEAN] == ["kernel", "private", "shared", "retry", "error"]
    assert kinds[Type.TEXT] == ["outcome", "message", "finding"]
    assert kinds[Type.INTEGERS] == ["exit"]


def test_the_guide_has_the_tables() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert fields_markdown() in text
    assert names_markdown() in text


def _examples(kind: str) -> list[str]:
    text = GUIDE.read_text(encoding="utf-8")
    blocks = text.split(f"```{kind}\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines()]


@pytest.mark.parametrize("text", _examples("filter"))
def test_the_examples_of_the_guide(text: str) -> None:
    compile_filter(text)


def test_the_error_of_the_guide() -> None:
    shown = _examples("text")
    with pytest.raises(FilterError) as caught:
        compile_filter(shown[0])
    assert caught.value.pretty().splitlines() == shown


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import tdxdbg.filters", ("numpy", "lark")),
        ("import tdxdbg.filters as f; f.compile_filter('retry')", ("numpy",)),
    ],
)
def test_imports_wait_until_they_are_needed(code: str, absent: tuple[str, ...]) -> None:
    check = f"{code}; import sys; print([n for n in {absent!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
