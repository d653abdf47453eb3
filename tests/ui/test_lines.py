from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.decode.text import safe
from tdxdbg.ui.lines import crop, cut, joined, line, own, unpadded, width_of, word, wrap

texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80).map(safe)


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abcd", 1, "…"), ("abcd", 0, "")],
)
def test_cut(text: str, width: int, expected: str) -> None:
    assert cut(safe(text), width) == expected


@given(st.lists(texts, max_size=5), st.integers(0, 60), st.integers(0, 60))
def test_crop_is_the_slice_of_the_text(pieces: list[str], left: int, width: int) -> None:
    spans = [(safe(piece), "text") for piece in pieces]
    whole = "".join(text for text, _ in spans)
    cropped = crop(spans, left, width)
    assert "".join(text for text, _ in cropped) == whole[left : left + width]


@given(texts, st.integers(8, 60))
def test_wrapped_pieces_fit_and_lose_only_blanks(text: str, width: int) -> None:
    pieces = wrap(safe(text), width)
    assert all(len(piece) <= width for piece in pieces)
    assert "".join(pieces).replace(" ", "") == safe(text).replace(" ", "")


def test_a_word_of_untrusted_text_is_made_safe() -> None:
    assert word("\x1b[31m") == ("\\x1b[31m", "text")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("read 00000000fec10004 4B", "read fec10004 4B"),
        ("P→S 0000000000000000 +4K", "P→S 0 +4K"),
        ("leaf 0x40000000", "leaf 0x40000000"),
        ("port 0x3f8", "port 0x3f8"),
    ],
)
def test_unpadded(text: str, expected: str) -> None:
    arrow = own("→")
    assert unpadded(safe(text.replace("→", ">"))).replace(">", arrow) == expected


def test_empty_spans_leave_no_trace_in_a_line() -> None:
    assert line((safe(""), "text"), word("a")).spans == (("a", "text"),)


def test_joined_puts_the_separator_between() -> None:
    spans = joined([[word("a")], [word("b"), word("c")]], own("|"))
    assert "".join(text for text, _ in spans) == "a|bc"
    assert width_of(spans) == 4
