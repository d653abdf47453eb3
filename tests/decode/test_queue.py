"""The cells of the queue that stand beside those of every line."""

from __future__ import annotations

import pytest

from tdxdbg.decode.queue import delta_text, exits_text, gpa_text, size_cell
from tdxdbg.decode.summary import RowSummary


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (0, 47_000, "+0.000047"),
        (5, 5, "+0.000000"),
        (2_000_000_000, 0, "-2.000000"),
        (None, 5, "?"),
        (5, None, "?"),
    ],
)
def test_delta(before: int | None, now: int | None, text: str) -> None:
    assert delta_text(before, now) == text


@pytest.mark.parametrize(
    ("exits", "text"),
    [
        (None, "?"),
        ((), ""),
        ((2,), "IO"),
        ((3, 3, 3), "HYPERCALL x3"),
        ((3, 39), "MEMORY_FAULT +1"),
        ((0xFFFF_FFFF,), "KVM_EXIT 0xffffffff"),
    ],
)
def test_exits(exits: tuple[int, ...] | None, text: str) -> None:
    assert exits_text(RowSummary(0, exit=exits)) == text


@pytest.mark.parametrize(
    ("gpa", "size", "texts"),
    [
        (None, None, ("", "")),
        (0x4000_0000, 8 << 20, ("0000000040000000", "8M")),
        ((1 << 64) - 1, (1 << 64) - 1, ("f" * 16, "18446744073709551615B")),
        (0, 0, ("0" * 16, "0B")),
    ],
)
def test_gpa_and_size(gpa: int | None, size: int | None, texts: tuple[str, str]) -> None:
    row = RowSummary(0, gpa=gpa, size=size)
    assert (gpa_text(row), size_cell(row)) == texts
