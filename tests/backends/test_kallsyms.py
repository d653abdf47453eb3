"""kallsyms: found in each layout that kernels have, and never believed without reason."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.backends.bzimage import payload
from tdxdbg.backends.elf import Segment, read_guest
from tdxdbg.backends.kallsyms import kallsyms, rank
from tests.backends.kernel_images import GPA, LAYOUTS, TEXT, Name, names, tables
from tests.kernels import fetched

EVERY: Final = names()


def segment(data: bytes, address: int = TEXT) -> Segment:
    return Segment(GPA, address, memoryview(data), len(data))


def found(data: bytes, address: int = TEXT) -> list[tuple[int, str]]:
    return [(each.address, each.name) for each in kallsyms([segment(data, address)])]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [300, 512, 513, 700, 1500])
@pytest.mark.parametrize(
    "before", [b"", b"\xff" * 9000, b"\xcc" * 9000, b"\xff" * 8, b"0\x001\x002\x003\0" * 9]
)
def test_each_layout(layout: str, count: int, before: bytes) -> None:
    every = names(count)
    # The tables begin at a multiple of 8.
    before += b"\xff" * (-len(before) % 8)
    data = tables(every, layout, TEXT, before=before)
    assert found(data) == [(each.address, each.name) for each in every]


@pytest.mark.parametrize("layout", ["6.1", "late 6.1", "6.12"])
def test_what_is_per_cpu_is_left_out(layout: str) -> None:
    every = [Name(0, "D", "fixed_percpu_data"), Name(0x1000, "D", "irq_stack"), *EVERY]
    data = tables(every, layout, TEXT)
    assert found(data) == [(each.address, each.name) for each in EVERY]


def test_of_one_address_global_functions_come_first() -> None:
    every = [Name(TEXT, "t", "local"), Name(TEXT, "T", "global"), *EVERY[2:]]
    assert found(tables(every, "6.12", TEXT))[:2] == [(TEXT, "global"), (TEXT, "local")]
    assert sorted("TWtDx", key=rank) == list("TWtDx")


def test_tables_are_found_behind_what_only_looks_like_them() -> None:
    row = b"".join(bytes([value, 0]) for value in range(1, 256))
    data = row * 3 + bytes(-len(row * 3) % 8) + tables(EVERY, "6.15", TEXT)
    assert len(found(data)) == len(EVERY)


SOUND: Final = tables(EVERY, "6.12", TEXT)
#: The offset of the end of each: offsets, their base and three bytes for each name are behind it.
_INDEX_END: Final = len(SOUND) - 3 * len(EVERY) - 8 - 4 * len(EVERY)
DAMAGED: Final = {
    "the number of names": 1,
    "the length of a name": 8,
    "the length of one after the first markers": 8 + SOUND[8:].index(b"\xff_600") - 2,
    "the index of a token": _INDEX_END - 100,
    "an offset": _INDEX_END + 400,
}


def test_the_tables_that_are_damaged_below_are_sound() -> None:
    assert len(found(SOUND)) == len(EVERY)


@pytest.mark.parametrize("part", DAMAGED)
def test_what_does_not_fit_is_nothing(part: str) -> None:
    data = bytearray(SOUND)
    data[DAMAGED[part]] ^= 0x40
    assert found(bytes(data)) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_prefix_is_taken_for_the_whole(layout: str) -> None:
    data = tables(names(300), layout, TEXT)
    end = data.index(b"0\x001\x002\0")
    assert all(found(data[:length]) == [] for length in range(0, end, 97))


def test_a_kernel_without_any() -> None:
    assert kallsyms([]) == []
    assert found(b"") == []
    assert found(bytes(1 << 16)) == []


def test_names_longer_than_the_kernel_has_are_refused() -> None:
    every = [*EVERY, Name(EVERY[-1].address + 1, "t", "x" * 600)]
    assert found(tables(every, "6.12", TEXT)) == []


@settings(max_examples=200)
@given(
    st.sampled_from(LAYOUTS), st.lists(st.tuples(st.integers(0, 1 << 14), st.binary(min_size=1)))
)
def test_any_damage_is_survived(layout: str, damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(tables(names(300), layout, TEXT))
    for at, value in damage:
        data[at : at + len(value)] = value
    for address, _ in found(bytes(data)):
        assert 1 << 63 <= address < 1 << 64


@pytest.mark.parametrize("pick", ["cloud", "generic", "newer"])
def test_debians_kernels(pick: str) -> None:
    kernel = read_guest(payload(fetched(f"{pick}/vmlinuz").read_bytes()))
    known = kallsyms(kernel.segments)
    assert len(known) > 100_000
    by_name = {each.name: each.address for each in known}
    assert by_name["_text"] == TEXT
    assert {"tdx_early_init", "entry_SYSCALL_64", "asm_exc_page_fault"} <= by_name.keys()
    # What the ELF itself says of the place where it ends.
    assert by_name["_end"] <= max(each.address + each.size for each in kernel.segments)
