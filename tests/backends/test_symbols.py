"""Names of addresses."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

import pytest

from tdxdbg.backends.elf import read_guest
from tdxdbg.backends.symbols import Symbol, Symbols, symbols_of
from tests.backends.bzimages import bzimage
from tests.backends.elves import GUESTS, Load, Name, elf
from tests.backends.kernel_images import GPA, LAYOUTS, TEXT, kernel, names

CODE = Load(0x100000, bytes(0x1000))
FUNCTION, LOCAL_FUNCTION, OBJECT, LABEL = 0x12, 0x02, 0x11, 0x10
SECTION, FILE, TLS, LOCAL_LABEL = 0x03, 0x04, 0x06, 0x00

NAMES = (
    Name("first", 0x100010, 0x20, FUNCTION),
    Name("inner", 0x100018, 0x8, LOCAL_LABEL),
    Name("no_size", 0x100100, 0, LABEL),
    Name("alias", 0x100200, 0x10, OBJECT),
    Name("main", 0x100200, 0x10, FUNCTION),
    Name("twice", 0x100300, 1, LOCAL_FUNCTION),
    Name("twice", 0x100340, 1, FUNCTION),
    Name("\x1b[31m\udcff", 0x100400, 4, FUNCTION),
    Name("last", 0x100FF0, 0, LABEL),
    Name("elsewhere", 0x500000, 0, LABEL),
    Name("text", 0x100000, 0, SECTION),
    Name("main.c", 0x100000, 0, FILE),
    Name("per_thread", 0x100000, 0, TLS),
    Name(".L1", 0x100000, 0, LOCAL_LABEL),
    Name("$x", 0x100000, 0, LOCAL_LABEL),
    Name("constant", 0x100020, 0, LOCAL_LABEL, 0xFFF1),
    Name("undefined", 0x100020, 0, LABEL, 0),
)


def shown(name: str) -> str:
    """What is no UTF-8 is replaced."""
    return name.replace("\udcff", "\ufffd")


@pytest.fixture(scope="module")
def symbols() -> Symbols:
    return symbols_of(read_guest(elf(CODE, names=NAMES)))


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (0x100000, ""),
        (0x10000F, ""),
        (0x100010, "first"),
        (0x100017, "first+0x7"),
        (0x100018, "inner"),
        (0x10001F, "inner+0x7"),
        (0x100020, "first+0x10"),
        (0x10002F, "first+0x1f"),
        (0x100030, ""),
        (0x100100, "no_size"),
        (0x1001FF, "no_size+0xff"),
        (0x100200, "main"),
        (0x10020F, "main+0xf"),
        (0x100210, ""),
        (0x100402, "\x1b[31m\ufffd+0x2"),
        (0x100FFF, "last+0xf"),
        (0x101000, ""),
        (0x500000, ""),
        ((1 << 64) - 1, ""),
    ],
)
def test_describe(symbols: Symbols, address: int, text: str) -> None:
    assert symbols.describe(address) == text


def test_find(symbols: Symbols) -> None:
    assert symbols.find("main") == 0x100200
    assert symbols.find("alias") == 0x100200
    assert symbols.find("twice") == 0x100340
    hidden = ("text", "main.c", "per_thread", ".L1", "$x", "constant", "undefined", "")
    assert {symbols.find(name) for name in hidden} == {None}
    shown = {name.name.replace("\udcff", "\ufffd") for name in NAMES}
    assert set(symbols.names()) == shown - set(hidden)


def test_label_is_for_what_begins_here(symbols: Symbols) -> None:
    assert symbols.label(0x100200) == "main"
    assert symbols.label(0x100201) == ""
    assert symbols.label(1 << 63) == ""


def test_in_order(symbols: Symbols) -> None:
    addresses = [symbol.address for symbol in symbols]
    assert addresses == sorted(addresses)
    assert len(symbols) == len(addresses) == 10
    assert symbols.problem == ""


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xf4", "a flat image has no symbols"),
        (elf(CODE), "no symbol table"),
        (elf(CODE, names=(Name("", 0x100000),)), "empty or damaged"),
    ],
    ids=["a flat file", "stripped", "without a name"],
)
def test_why_there_are_none(data: bytes, problem: str) -> None:
    none = symbols_of(read_guest(data))
    assert problem in none.problem
    assert (len(none), none.at(0x100000), none.describe(0x100000), none.find("x")) == (
        0,
        None,
        "",
        None,
    )


def test_without_ranges_a_symbol_reaches_the_next_one() -> None:
    bare = Symbols([Symbol(0x10, 0, "a"), Symbol(0x20, 0, "b")])
    assert [bare.describe(at) for at in (0xF, 0x10, 0x1F, 0x20, 0x1000)] == [
        "",
        "a",
        "a+0xf",
        "b",
        "b+0xfe0",
    ]


def test_a_sample_guest() -> None:
    guest = symbols_of(read_guest(GUESTS / "mapgpa_retry.elf"))
    start = guest.find("map_gpa")
    assert start is not None
    assert guest.describe(start + 1) == "map_gpa+0x1"
    assert guest.find("_start") == 0x100000


@pytest.mark.parametrize("by", [0, 0x200000, 0x3FE00000])
def test_an_image_that_was_moved_has_its_names_elsewhere(symbols: Symbols, by: int) -> None:
    moved = symbols.moved(by)
    assert moved.find("main") == 0x100200 + by
    assert moved.label(0x100200 + by) == "main"
    assert moved.describe(0x1001FF + by) == "no_size+0xff"
    assert moved.describe(0xFFF + by) == ""
    assert [each.address - by for each in moved] == [each.address for each in symbols]
    assert [each.name for each in moved] == [each.name for each in symbols]
    found = moved.at(0x10001F + by)
    assert found is not None
    assert (found.name, found.address) == ("inner", 0x100018 + by)
    # It is not moved twice, and the first one stays where it is.
    assert moved.moved(0).find("main") == symbols.find("main") == 0x100200


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_kernel_has_those_of_its_kallsyms(layout: str) -> None:
    plain = kernel(names(), layout)
    for image in (plain, bzimage(gzip.compress(plain), len(plain))):
        known = symbols_of(read_guest(image))
        assert (len(known), known.problem) == (700, "")
        assert known.find("entry_SYSCALL_64") == names()[-3].address
        assert known.describe(TEXT + 17) == "tdx_module_2+0x1"


WITHOUT: Final = elf(Load(GPA, bytes(4096), address=TEXT), entry=GPA)


def test_a_kernel_with_a_symbol_table_alone() -> None:
    image = elf(
        Load(GPA, bytes(4096), address=TEXT), entry=GPA, names=(Name("_text", TEXT, 0, FUNCTION),)
    )
    assert symbols_of(read_guest(image)).describe(TEXT + 1) == "_text+0x1"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (bzimage(gzip.compress(WITHOUT), len(WITHOUT)), "no kallsyms in the image: put its"),
        (bzimage(b"PK\3\4"), "no symbols: the payload of the image begins with 50 4b"),
        (bzimage(gzip.compress(b"\x7fELF"), 4), "no symbols: the image ends before the end"),
        (bzimage(gzip.compress(b"flat"), 4), "no kallsyms in the image"),
    ],
    ids=("without kallsyms", "not compressed", "cut short", "no ELF"),
)
def test_a_kernel_without_names_says_why(image: bytes, reason: str) -> None:
    known = symbols_of(read_guest(image))
    assert len(known) == 0
    assert known.problem.startswith(reason)


@pytest.mark.parametrize(
    ("name", "beside"), [("vmlinuz-6.1", "System.map-6.1"), ("vmlinuz", "System.map")]
)
def test_a_kernel_without_kallsyms_has_those_of_the_system_map_beside_it(
    tmp_path: Path, name: str, beside: str
) -> None:
    path = tmp_path / name
    path.write_bytes(bzimage(gzip.compress(WITHOUT), len(WITHOUT)))
    assert "put its System.map beside it" in symbols_of(read_guest(path)).problem
    system_map = tmp_path / beside
    system_map.write_text(f"{TEXT:x} T _text\n{TEXT + 0x40:x} T start_kernel\n")
    assert symbols_of(read_guest(path)).describe(TEXT + 0x41) == "start_kernel+0x1"
    system_map.write_text("nonsense\n")
    assert symbols_of(read_guest(path)).problem.startswith("no symbols: line 1 of System.map")
