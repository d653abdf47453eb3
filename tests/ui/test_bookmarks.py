"""Bookmarks, and what is remembered of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.bookmarks import LONGEST, Bookmark, Bookmarks

LETTERS = st.sampled_from("abcxyzABCXYZ")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda item: st.lists(item, max_size=3) | st.dictionaries(st.text(max_size=2), item),
    max_leaves=8,
)


@given(st.dictionaries(LETTERS, st.tuples(st.integers(0, 1 << 62), st.text(max_size=250))))
def test_what_is_remembered_comes_back(marks: dict[str, tuple[int, str]]) -> None:
    made, other = Bookmarks(), Bookmarks()
    for letter, (row, note) in marks.items():
        made.set(letter, row, note)
    assert other.restore(made.state()) == []
    assert other.items() == made.items()
    assert [mark.row for _, mark in made.items()] == sorted(row for row, _ in marks.values())
    assert all(len(mark.note) <= LONGEST for _, mark in made.items())


@given(JSON)
def test_anything_may_stand_in_a_file(state: object) -> None:
    marks = Bookmarks()
    marks.restore(state)
    assert all(mark.row >= 0 for _, mark in marks.items())


@pytest.mark.parametrize(
    "state",
    [{"a": [-1, ""]}, {"aa": [1, ""]}, {"1": [1, ""]}, {"a": [1]}, {"a": "x"}, {"é": [1, ""]}],
)
def test_what_is_wrong_is_said_and_left_out(state: object) -> None:
    marks = Bookmarks()
    assert len(marks.restore(state)) == 1
    assert marks.items() == []


@pytest.mark.parametrize("letter", ["", "ab", "1", "'", "é", "\x1b"])
def test_only_letters(letter: str) -> None:
    with pytest.raises(ValueError, match="a bookmark is a letter"):
        Bookmarks().set(letter, 3)


def test_a_letter_is_one_place() -> None:
    marks = Bookmarks()
    marks.set("a", 3, "first")
    marks.set("a", 5)
    assert marks.items() == [("a", Bookmark(5))]
    marks.remove("a")
    assert marks.rows == {}
