"""Where a kernel runs, by what a vCPU was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.kaslr import Read, slide
from tdxdbg.backends.symbols import Symbol, Symbols

ENTRY, FAULT, EARLY = 0xFFFF_FFFF_8180_0080, 0xFFFF_FFFF_8180_1280, 0xFFFF_FFFF_8330_0120
SYMBOLS: Final = Symbols(
    [
        Symbol(ENTRY, 0, "entry_SYSCALL_64"),
        Symbol(FAULT, 0, "asm_exc_page_fault"),
        Symbol(EARLY, 0, "early_idt_handler_array"),
    ]
)
IDT: Final = 0xFFFF_FE00_0000_0000
MOVED: Final = 0x2E60_0000


def nothing(address: int, size: int) -> bytes | None:
    return None


def gate(handler: int) -> Read:
    """An IDT whose page fault goes there."""
    low, middle, high = handler & 0xFFFF, handler >> 16 & 0xFFFF, handler >> 32
    data = b"".join(
        value.to_bytes(size, "little")
        for value, size in ((low, 2), (0x10, 2), (0x8E00, 2), (middle, 2), (high, 4), (0, 4))
    )

    def read(address: int, size: int) -> bytes | None:
        return data[:size] if address == IDT + 14 * 16 else None

    return read


@pytest.mark.parametrize("by", [0, 2 << 20, MOVED, (1 << 30) - (2 << 20)])
@pytest.mark.parametrize(
    "told",
    [
        lambda by: (ENTRY + by, nothing),
        lambda by: (ENTRY + by, gate(0)),
        lambda by: (0, gate(FAULT + by)),
        lambda by: (0, gate(EARLY + 14 * 9 + by)),
        lambda by: (0, gate(EARLY + 14 * 13 + by)),
        # A decompressor or a firmware has left something else there.
        lambda by: (0x1234, gate(FAULT + by)),
    ],
)
def test_a_vcpu_tells_by_its_entries(told: Callable[[int], tuple[int, Read]], by: int) -> None:
    lstar, read = told(by)
    assert slide(SYMBOLS, lstar, IDT, read) == by


@pytest.mark.parametrize(
    ("lstar", "read"),
    [
        (0, nothing),
        (ENTRY + 0x1000, nothing),
        (ENTRY - (2 << 20), nothing),
        (ENTRY + (1 << 30), nothing),
        (0, gate(FAULT + 8)),
        (0, gate(EARLY + 14 * 10)),
        (0, lambda address, size: b"short"),
    ],
)
def test_what_does_not_fit_says_nothing(lstar: int, read: Read) -> None:
    assert slide(SYMBOLS, lstar, IDT, read) is None


def test_without_symbols_nothing_is_known() -> None:
    assert slide(Symbols(), ENTRY, IDT, gate(FAULT)) is None


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.binary(max_size=16))
def test_any_numbers_of_a_guest(lstar: int, idt: int, data: bytes) -> None:
    found = slide(SYMBOLS, lstar, idt, lambda address, size: data)
    assert found is None or (not found % (2 << 20) and 0 <= found < 1 << 30)
