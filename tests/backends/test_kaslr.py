"""Where a kernel runs, by what a vCPU was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.kaslr import handler_of, slide
from tdxdbg.backends.symbols import Symbol, Symbols

ENTRY, FAULT, EARLY = 0xFFFF_FFFF_8180_0080, 0xFFFF_FFFF_8180_1280, 0xFFFF_FFFF_8330_0120
SYMBOLS: Final = Symbols(
    [
        Symbol(ENTRY, 0, "entry_SYSCALL_64"),
        Symbol(FAULT, 0, "asm_exc_page_fault"),
        Symbol(EARLY, 0, "early_idt_handler_array"),
    ]
)
MOVED: Final = 0x2E60_0000


@given(st.integers(0, (1 << 64) - 1))
def test_the_handler_of_a_gate(handler: int) -> None:
    low, middle, high = handler & 0xFFFF, handler >> 16 & 0xFFFF, handler >> 32
    fields = ((low, 2), (0x10, 2), (0x8E00, 2), (middle, 2), (high, 4), (0, 4))
    assert handler_of(b"".join(value.to_bytes(size, "little") for value, size in fields)) == handler


@pytest.mark.parametrize("by", [0, 2 << 20, MOVED, (1 << 30) - (2 << 20)])
@pytest.mark.parametrize(
    "told",
    [
        lambda by: (ENTRY + by, 0),
        lambda by: (0, FAULT + by),
        lambda by: (0, EARLY + 14 * 9 + by),
        lambda by: (0, EARLY + 14 * 13 + by),
        # A decompressor or a firmware has left something else there.
        lambda by: (0x1234, FAULT + by),
    ],
)
def test_a_vcpu_tells_by_its_entries(told: Callable[[int], tuple[int, int]], by: int) -> None:
    assert slide(SYMBOLS, *told(by)) == by


@pytest.mark.parametrize(
    ("lstar", "page_fault"),
    [
        (0, 0),
        (ENTRY + 0x1000, 0),
        (ENTRY - (2 << 20), 0),
        (ENTRY + (1 << 30), 0),
        (0, FAULT + 8),
        (0, EARLY + 14 * 10),
    ],
)
def test_what_does_not_fit_says_nothing(lstar: int, page_fault: int) -> None:
    assert slide(SYMBOLS, lstar, page_fault) is None


def test_without_symbols_nothing_is_known() -> None:
    assert slide(Symbols(), ENTRY, FAULT) is None
