"""What a guest wrote, as lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.live.serial import LONGEST, LONGEST_EDITED, MOST_BYTES, MOST_LINES, SerialText


def lines(text: SerialText, limit: int | None = None) -> list[bytes]:
    return [line.data for line in text.lines(limit)]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a", b""]),
        (b"a\r\nb\n\nc", [b"a", b"b", b"", b"c"]),
        (b"a\rb\x0bc\x85d", [b"a\rb\x0bc\x85d"]),
        (b"x" * (LONGEST + 3), [b"x" * LONGEST, b"xxx"]),
    ],
)
def test_only_line_feeds_end_lines(data: bytes, shown: list[bytes]) -> None:
    text = SerialText()
    text.feed(data)
    assert lines(text) == shown
    assert text.total == len(data)


#: Longer than a line may be, with and without what edits one.
LONG = st.sampled_from((b"x" * 500, b"\b" * 500, b"\x1b[m" * 200, b"\r", b"\r\n", b"y\rz" * 1500))


@given(st.lists(st.binary(max_size=40) | LONG), st.integers(0, 9000))
def test_in_pieces_or_at_once_is_the_same(pieces: list[bytes], limit: int) -> None:
    whole, parts = SerialText(), SerialText()
    whole.feed(b"".join(pieces))
    for piece in pieces:
        parts.feed(piece)
    assert whole.lines() == parts.lines()
    starts = [line.start for line in whole.lines()]
    assert starts == sorted(starts)
    assert all(len(line.data) <= LONGEST_EDITED for line in whole.lines())
    cut = SerialText()
    cut.feed(b"".join(pieces)[:limit])
    assert b"\n".join(lines(whole, limit)).rstrip(b"\r\n") == b"\n".join(lines(cut)).rstrip(b"\r\n")


def test_a_line_that_is_edited_may_take_more_than_it_shows() -> None:
    text = SerialText()
    text.feed(b" 10%\r" * 700 + b"done\r\n" + b"\b" * (LONGEST_EDITED + 1))
    assert [len(line) for line in lines(text)] == [700 * 5 + 4, LONGEST_EDITED, 1]
    assert [line.start for line in text.lines()] == [0, 3506, 3506 + LONGEST_EDITED]


def test_what_was_not_kept_is_said() -> None:
    text = SerialText()
    text.feed(b"a\nb")
    text.skip(100)
    text.feed(b"c\n")
    assert lines(text) == [b"a", b"b", b"(100 bytes left out)", b"c", b""]
    assert text.total == 105


def test_it_does_not_grow_without_bound() -> None:
    text = SerialText()
    text.feed(b"a\n" * (MOST_LINES + 10))
    assert len(text.lines()) == MOST_LINES + 1
    assert text.dropped == 10
    text.feed((b"\b" * LONGEST_EDITED + b"\n") * (MOST_BYTES // LONGEST_EDITED + 1))
    assert sum(map(len, lines(text))) == MOST_BYTES
