import itertools
import re
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.decode.text import LIMIT, safe, safe_spans

PRINTABLE = re.compile(r"[ -~]*")
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain [bold]text[/bold] #1 ~", "plain [bold]text[/bold] #1 ~"),
        ("\\", "\\\\"),
        ("\\x1b", "\\\\x1b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\0\t\n\r\x07", "\\x00\\x09\\x0a\\x0d\\x07"),
        ("\x7f\x80\x9b\x9d", "\\x7f\\x80\\x9b\\x9d"),
        ("é", "\\xe9"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2066\u200b\ufeff", "\\u2066\\u200b\\ufeff"),
        ("e\u0301", "e\\u0301"),
        ("\ue000", "\\ue000"),
        ("\ud800", "\\ud800"),
        ("\U0001f600\U0010ffff", "\\U0001f600\\U0010ffff"),
        ("\u2028", "\\u2028"),
        (b"abc", "abc"),
        (b"\x1b]0;t\x07", "\\x1b]0;t\\x07"),
        (b"\xc3\xa9\\", "\\xc3\\xa9\\\\"),
    ],
)
def test_escapes(text: str | bytes, expected: str) -> None:
    assert safe(text) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 3, "abc...+3"),
        ("abc\x1b", 6, "abc...+1"),
        ("abc\x1b", 7, "abc\\x1b"),
        ("\x1b\x1b", 7, "\\x1b...+1"),
        ("\x1ba", 3, "...+2"),
        ("a", 0, "...+1"),
        (b"\x00\x01\x02", 8, "\\x00\\x01...+1"),
    ],
)
def test_cuts_between_escapes_and_counts_the_rest(
    text: str | bytes, limit: int, expected: str
) -> None:
    assert safe(text, limit) == expected


@given(ANY_TEXT | st.binary(), st.integers(0, 40))
def test_output_is_printable_ascii_and_bounded(text: str | bytes, limit: int) -> None:
    result = safe(text, limit)
    assert PRINTABLE.fullmatch(result)
    assert len(result) <= limit + len(f"...+{len(text)}")


@given(ANY_TEXT)
def test_what_was_written_can_be_read_back(text: str) -> None:
    """Injective: the original is a function of the output."""

    def back(match: re.Match[str]) -> str:
        return "\\" if match[0] == "\\\\" else chr(int(match[0][2:], 16))

    shown = safe(text, 10 * len(text) + 1)
    pattern = r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
    assert re.sub(pattern, back, shown) == text


@given(st.binary())
def test_bytes_read_as_latin_1(data: bytes) -> None:
    assert safe(data) == safe(data.decode("latin-1"))


@given(ANY_TEXT | st.binary(), st.integers(0, 40))
def test_spans_join_to_the_same_and_alternate(text: str | bytes, limit: int) -> None:
    spans = safe_spans(text, limit)
    assert "".join(piece for piece, _ in spans) == safe(text, limit)
    flags = [escaped for _, escaped in spans]
    assert all(one != other for one, other in itertools.pairwise(flags))
    assert all(piece for piece, _ in spans)


def test_spans_tell_an_escape_from_its_spelling() -> None:
    assert safe_spans("a\x1bb\\x1b") == [
        ("a", False),
        ("\\x1b", True),
        ("b", False),
        ("\\\\", True),
        ("x1b", False),
    ]


@pytest.mark.parametrize("text", ["a" * 1_000_000, "\x1b" * 1_000_000, b"\xff" * 1_000_000])
def test_a_megabyte_takes_no_time(text: str | bytes) -> None:
    start = monotonic()
    result = safe(text)
    assert monotonic() - start < 0.5
    assert len(result) <= LIMIT + 20
    assert result.endswith(str(len(text) - (LIMIT if text[:1] == "a" else LIMIT // 4)))
