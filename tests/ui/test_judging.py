"""What a text in a prompt means: a table for each prompt."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.filters import FilterError
from tdxdbg.ui.judging import (
    Here,
    PlaceError,
    Watch,
    judge_condition,
    judge_target,
    judge_watch,
    parse_target,
    parse_watch,
)

HERE = Here(9, 22, {"a": 3, "Z": 15, "e": 9})
MIB = 1 << 20
HOSTILE = ["\x1b]0;x\x07", "'\x1b", "'" * 9, "[/x]", "gpa in ..", "\ud800", "9" * 400, "'a 'b", "("]


@pytest.mark.parametrize(
    ("text", "good", "says", "at"),
    [
        ("", False, "", None),
        ("leaf == MapGPA", True, "matches", None),
        ("leaf == MpaGPA", False, "did you mean MapGPA", 8),
        ("leef == MapGPA", False, "did you mean leaf", 0),
        ("leaf ==", False, "column 8", 7),
        ("leaf = 3", False, "did you mean ==", 5),
    ],
)
def test_a_condition(text: str, good: bool, says: str, at: int | None) -> None:
    verdict = judge_condition(text, len(text), "matches")
    assert (verdict.good, verdict.at) == (good, at)
    assert says in verdict.says


def test_a_condition_is_completed() -> None:
    verdict = judge_condition("leaf == Map", 11)
    assert verdict.words[:1] == ("MapGPA",)
    assert verdict.start == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpa in 2G..3G", Watch(2 << 30, (1 << 30) + 1)),
        ("gpa == 0x74000000", Watch(0x7400_0000, 1)),
        ("gpa in {0x1000..0x1fff}", Watch(0x1000, 0x1000)),
        ("74000000", Watch(0x7400_0000, 4096)),
        ("0x74000000 +2M", Watch(0x7400_0000, 2 * MIB)),
        ("gpa 74000000+0x10", Watch(0x7400_0000, 16)),
        ("FEC00000 + 4k", Watch(0xFEC0_0000, 4096)),
        ("r11 == 0x10001", Watch(condition="r11 == 0x10001")),
        (" r12 != 0 and vcpu == 1 ", Watch(condition="r12 != 0 and vcpu == 1")),
    ],
)
def test_a_watch(text: str, expected: Watch) -> None:
    assert parse_watch(text) == expected
    verdict = judge_watch(text, len(text))
    assert verdict.good
    assert verdict.says.startswith("stops where")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("74000000 +0", "no bytes"),
        ("ffffffffffffffff", "52 bits"),
        ("gpa in 0xffffffffff000..0xfffffffffffff0", "52 bits"),
        ("leaf == MapGPA", "b stops at exits"),
        ("gpa != 5", "watch gpa in A..B"),
        ("gpa in {1M, 2M}", "watch gpa in A..B"),
        ("not (gpa in 1M..2M)", "watch gpa in A..B"),
        ("rax == 0", "watch gpa in A..B"),
        ("r16 == 1", "did you mean"),
        ("", ""),
    ],
)
def test_what_is_no_watch(text: str, says: str) -> None:
    verdict = judge_watch(text, len(text))
    assert not verdict.good
    assert says in verdict.says


@pytest.mark.parametrize(
    ("text", "direction", "good", "says"),
    [
        ("15", 1, True, "on to exit 15, 6 exits on"),
        ("8", -1, True, "back to exit 8, 1 exit back"),
        ("0_0", -1, True, "back to exit 0"),
        ("8", 1, False, "exit 8 is before this one: T goes back"),
        ("15", -1, False, "exit 15 is after this one: t goes forward"),
        ("9", 1, False, "this is exit 9"),
        ("22", 1, False, "there is no exit 22: the last is 21"),
        ("1,000", 1, False, "there is no exit 1000"),
        ("'Z", 1, True, "on to exit 15"),
        ("'Z", -1, False, "t goes forward"),
        ("'a", -1, True, "back to exit 3"),
        ("'e", 1, False, "this is exit 9"),
        ("'q", 1, False, "no bookmark 'q; there are 'Z 'a 'e"),
        ("retry", 1, True, "on to the next exit that matches"),
        ("retry", -1, True, "back to the previous exit that matches"),
        ("retri", 1, False, "did you mean retry"),
        ("", 1, False, ""),
    ],
)
def test_a_place_to_run_to(text: str, direction: int, good: bool, says: str) -> None:
    verdict = judge_target(text, len(text), HERE, direction)
    assert (verdict.good, says in verdict.says) == (good, True), verdict


def test_without_bookmarks_it_is_said_how_one_is_set() -> None:
    verdict = judge_target("'a", 2, HERE._replace(bookmarks={}), 1)
    assert verdict.says == "no bookmark 'a: m and a letter set one"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_judged_in_a_line(text: str) -> None:
    for verdict in (
        judge_condition(text, len(text)),
        judge_watch(text, len(text)),
        judge_target(text, len(text), HERE, 1),
    ):
        assert not verdict.good
        assert "\n" not in verdict.says


@given(st.text(max_size=40), st.sampled_from([1, -1]))
def test_any_text_is_understood_or_refused(text: str, direction: int) -> None:
    for parse in (lambda: parse_watch(text), lambda: parse_target(text, HERE, direction)):
        with suppress(PlaceError, FilterError):
            parse()
    judge_target(text, len(text), HERE, direction)
    judge_watch(text, len(text))
