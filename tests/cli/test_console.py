"""A guest's serial output as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.cli.console import ConsoleText


def text_of(*pieces: bytes) -> str:
    text = ConsoleText()
    return "".join(text.feed(piece) for piece in pieces) + text.end()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([b"one\r\ntwo\n"], "one\ntwo\n", id="lines"),
        pytest.param([b"# "], "# \n", id="no end of the line"),
        pytest.param([b"a\r"], "a\\x0d\n", id="a carriage return alone"),
        pytest.param([b"a\r", b"\nb\n"], "a\nb\n", id="an end of a line that is cut"),
        pytest.param([b"ab\tc\n"], "ab      c\n", id="a tab"),
        pytest.param([b"ab", b"\tc\n\td\n"], "ab      c\n        d\n", id="a tab behind a cut"),
        pytest.param([b"x" * 17, b"\ty\n"], "x" * 17 + " " * 7 + "y\n", id="a tab far behind"),
        pytest.param([b"x" * 16], "x" * 16 + "\n", id="two tabs wide"),
        pytest.param([b"\x1b[2J\0\xff"], "\\x1b[2J\\x00\\xff\n", id="what a terminal would obey"),
    ],
)
def test_text(pieces: list[bytes], text: str) -> None:
    assert text_of(*pieces) == text


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\t", b"a", b"\x1b"]), max_size=12), st.data())
def test_it_does_not_matter_where_the_bytes_are_cut(
    letters: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(letters)
    at = data.draw(st.integers(0, len(whole)))
    assert text_of(whole[:at], whole[at:]) == text_of(whole)
