from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.engine import GpaMap, Td
from tdxdbg.ui.gpa_map.cells import Ground
from tdxdbg.ui.gpa_map.place import judge_gpa, parse_gpa, registers_of
from tdxdbg.ui.gpa_map.ranges import Ranges
from tdxdbg.ui.gpa_map.words import describe
from tdxdbg.ui.live.targets import TargetError
from tests.ui import demo
from tests.ui.screens import app_on

SHARED = 1 << 51
REGISTERS = {"r11": 0x7560_0000 | SHARED, "r12": 0x7400_0000 | SHARED, "r13": 0x400_0000}


@pytest.mark.parametrize(
    ("text", "gpa"),
    [
        ("40000000", 0x4000_0000),
        ("0x40000000", 0x4000_0000),
        ("  0X4000F000 ", 0x4000_F000),
        ("0", 0),
        ("4G", 4 << 30),
        ("512 KiB", 512 << 10),
        ("1tb", 1 << 40),
        ("r12", 0x7400_0000),
        ("R12", 0x7400_0000),
        ("r12+4K", 0x7400_1000),
        ("r12 + r13 - 1000", 0x77FF_F000),
        ("4 GiB + 2M", (4 << 30) + (2 << 20)),
        ("8000074000000", 0x7400_0000),
        ("fffffffffffff", (1 << 51) - 1),
    ],
)
def test_places(text: str, gpa: int) -> None:
    assert parse_gpa(text, REGISTERS, SHARED) == gpa


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an address: 40000000, 4G, r12"),
        ("r14", "r14 was not recorded here"),
        ("r1x", "'r1x' is not an address: 40000000, 4G, r12, with + or - another of these; did"),
        ("main", "'main' is not an address"),
        ("-4G", "'-4g' is not an address"),
        ("4G 5", "'5' is not an address"),
        ("4G+", "'+' is not an address"),
        ("1000-2000", "-0x1000 is not an address of 52 bits"),
        ("10000000000000", "0x10000000000000 is not an address of 52 bits"),
        ("9999999999P", "is not an address of 52 bits"),
        ("9" * 5000, "an address: "),
        ("4.5G", "'4.5g' is not an address"),
        ("\x1b[31m", "is not an address"),
    ],
)
def test_what_is_no_place_says_why_in_a_line(text: str, message: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_gpa(text, REGISTERS, SHARED)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_place_or_an_error(text: str) -> None:
    try:
        gpa = parse_gpa(text, REGISTERS, SHARED)
    except TargetError:
        return
    assert 0 <= gpa < 1 << 52
    assert not gpa & SHARED


@pytest.mark.parametrize(
    ("text", "good", "says", "words"),
    [
        ("", False, "", ()),
        ("r12", True, "GPA 74000000: shared, 74000000 +64 MiB", ()),
        ("r12-r1", False, "", ("r11", "r12", "r13")),
        ("R", False, "", ("r11", "r12", "r13")),
        ("78000000", True, "GPA 78000000: private, 78000000 +~2.0 PiB", ()),
        ("zzz", False, "'zzz' is not an address", ()),
    ],
)
def test_what_is_typed_is_judged_at_each_key(
    text: str, good: bool, says: str, words: tuple[str, ...]
) -> None:
    gpa_map = GpaMap().convert(0x7400_0000, 64 << 20, private=False)
    ranges = Ranges(gpa_map, Ground.of(Td(gpaw=52)))
    verdict = judge_gpa(text, len(text), REGISTERS, SHARED, lambda gpa: describe(ranges, gpa))
    assert verdict.good is good
    assert says in verdict.says
    assert verdict.words == words
    if words:
        assert text[verdict.start :].lower() == ("r1" if "-" in text else "r")


def test_the_registers_of_a_moment_are_those_after_its_step() -> None:
    app = app_on(demo.mapgpa(), at=1)
    app.cursor.to_row(1, 2)
    moment = app.moment()
    assert moment is not None
    registers = registers_of(moment)
    assert registers["r12"] == 0x4000_0000 | SHARED
    assert registers["r11"] == 0x4040_0000 | SHARED
