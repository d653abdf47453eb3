"""What is offered at the cursor."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.filters import FIELDS, complete, completion_start
from tdxdbg.filters.language import Reader
from tests.filters.trees import trees

ORDERED = ["==", "!=", "<", "<=", ">", ">=", "in"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", [*FIELDS, "not", "("]),
        ("le", ["leaf"]),
        ("LE", ["leaf"]),
        ("r1", ["r10", "r11", "r12", "r13", "r14", "r15"]),
        ("n", ["not"]),
        ("zz", []),
        ("leaf ", [*ORDERED, "not"]),
        ("exit ", [*ORDERED, "not"]),
        ("message ", ["==", "!=", "in", "contains", "not"]),
        ("message c", ["contains"]),
        ("retry ", ["==", "!=", "and", "or"]),
        ("retry a", ["and"]),
        ("(retry ", ["==", "!=", "and", "or", ")"]),
        ("leaf not ", ["in"]),
        ("leaf <", ["<", "<="]),
        ("leaf =", ["=="]),
        ("status ==", [*FIELDS["status"].names]),
        ("status == ", [*FIELDS["status"].names]),
        ("status == r", ["RETRY"]),
        (
            "leaf == Instr",
            [
                f"Instruction.{name}"
                for name in ("CPUID", "HLT", "IO", "RDMSR", "WRMSR", "WBINVD", "PCONFIG")
            ],
        ),
        ("leaf == Instruction.I", ["Instruction.IO"]),
        ("leaf == #", ["#VE.RequestMMIO"]),
        ("exit == HYP", ["HYPERCALL", "HYPERV"]),
        ("exit == KVM_EXIT_HYPERC", ["KVM_EXIT_HYPERCALL"]),
        ("retry == ", ["true", "false"]),
        ("direction == ", ["in", "out", "read", "write"]),
        ("outcome == ", ["guest", "userspace", "error", "dead"]),
        ("outcome contains ", []),
        ("message == ", []),
        ("gpa == ", []),
        ("gpa == 5", []),
        ("direction in ", ["{", "in", "out", "read", "write"]),
        ("direction in {", ["in", "out", "read", "write"]),
        ("direction in {in ", [",", "..", "}"]),
        ("direction in {in, o", ["out"]),
        ("outcome in {guest ", [",", "}"]),
        ("direction in out..", ["out", "write"]),
        ("leaf in IO.", [".."]),
        ("leaf == IO ", ["and", "or"]),
        ("leaf == IO &", ["&&"]),
        ("leaf == IO |", ["||"]),
        ("leaf == IO && ret", ["retry"]),
        ("leaf == IO and (not ret", ["retry"]),
        ("foo == ", []),
        ("leaf == MapGPB and ", []),
        ("message == 'le", []),
        ("message == 'a' ", ["and", "or"]),
        ("x" * 5000, []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert complete(text, len(text)) == words


@pytest.mark.parametrize(
    ("text", "cursor", "start", "words"),
    [
        ("le == IO", 2, 0, ["leaf"]),
        ("status == RETRY and retry", 11, 10, ["RETRY"]),
        ("leaf == Instruction.I", 21, 8, ["Instruction.IO"]),
        ("leaf in HLT..R", 14, 13, ["RDMSR", "ReportFatalError"]),
        ("leaf <", 6, 5, ["<", "<="]),
        ("vcpu==1 or re", 13, 11, ["reason", "retry"]),
        ("re", -5, 0, [*FIELDS, "not", "("]),
        ("re", 99, 0, ["reason", "retry"]),
    ],
)
def test_the_place(text: str, cursor: int, start: int, words: list[str]) -> None:
    assert complete(text, cursor) == words
    assert completion_start(text, cursor) == start


@settings(max_examples=60, deadline=None)
@given(trees().map(str), st.data())
def test_what_is_offered_can_stand_there(text: str, data: st.DataObject) -> None:
    cursor = data.draw(st.integers(0, len(text)))
    start = completion_start(text, cursor)
    assert 0 <= start <= cursor
    for word in complete(text, cursor)[:12]:
        Reader(text[:start] + word).read()


@settings(deadline=None)
@given(st.text(max_size=30), st.integers(-3, 40))
def test_any_text_can_be_completed(text: str, cursor: int) -> None:
    assert isinstance(complete(text, cursor), list)
