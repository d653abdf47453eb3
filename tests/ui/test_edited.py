"""One line of serial output, as a terminal shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.decode.text import safe
from tdxdbg.ui.live.edited import Edited, edited
from tdxdbg.ui.panes.console import ConsolePane

#: Bytes of which editing is made, and any others.
EDITS = st.one_of(
    st.sampled_from(
        [b"\b", b"\r", b"\t", b"\a", b"\x1b[K", b"\x1b[1K", b"\x1b[2K", b"\x1b[J", b"\x1b[C",
         b"\x1b[9999C", b"\x1b[D", b"\x1b[12D", b"\x1b[5G", b"\x1b[P", b"\x1b[9999@", b"\x1b[6n",
         b"\x1b[0;1;31m", b"\x1b[", b"\x1b", b"\x1b]0;x\a", "é".encode(), b"td# "]
    ),
    st.binary(max_size=8),
)  # fmt: skip
LINES = st.lists(EDITS, max_size=60).map(lambda found: b"".join(found).replace(b"\n", b""))


@pytest.mark.parametrize(
    ("line", "before", "under", "after"),
    [
        (b"", b"", b"", b""),
        (b"td# ls", b"td# ls", b"", b""),
        # What busybox sends for: ls, Backspace at the end; a letter in the middle; Ctrl-U.
        (b"ls\b\x1b[J", b"l", b"", b""),
        (b"ls\b \b", b"l", b" ", b""),
        (b"heo\bllo\b\b", b"hel", b"l", b"o"),
        (b"td# abc\x1b[3D\x1b[J", b"td# ", b"", b""),
        (b"td# abcdefgh\x1b[8D", b"td# ", b"a", b"bcdefgh"),
        (b"\x1b[6ntd# ", b"td# ", b"", b""),
        (b"td# x\rtd# old one\x1b[J", b"td# old one", b"", b""),
        # Ctrl-L.
        (b"td# ls\x1b[H\x1b[Jtd# ls", b"td# ls", b"", b""),
        # Others.
        (b" 10%\r 20%", b" 20%", b"", b""),
        (b"abc\r", b"", b"a", b"bc"),
        (b"ab\b\b\b\bx", b"x", b"b", b""),
        (b"abc\x1b[2Dx\x1b[Cy", b"axcy", b"", b""),
        (b"abc\x1b[1K", b"   ", b"", b""),
        (b"abc\b\x1b[1K", b"  ", b" ", b""),
        (b"abc\x1b[2Kd", b"   d", b"", b""),
        (b"abc\b\b\x1b[P", b"a", b"c", b""),
        (b"abc\b\b\x1b[2@", b"a", b" ", b" bc"),
        (b"abc\x1b[2Gx", b"ax", b"c", b""),
        (b"abc\x1b[0D", b"ab", b"c", b""),
        (b"a\x1b[3Cb", b"a   b", b"", b""),
        (b"a\tb\tc", b"a       b       c", b"", b""),
        (b"abcdefghij\r\tx", b"abcdefghx", b"j", b""),
        (b"\x1b[1;32mok\x1b[0m \x1b[38:5:1mred\x1b[m", b"ok red", b"", b""),
        (b"\x1b[?2004h$ \a", b"$ ", b"", b""),
        # A character of several bytes takes one cell; half of one, a cell for each byte.
        ("aé€\b\b".encode(), b"a", "é".encode(), "€".encode()),
        (b"a\xc3\x82\xb0\b\bx", b"ax", b"\xb0", b""),
        # Everything else is text.
        (b"\x1b[2Ax", b"\x1b[2Ax", b"", b""),
        (b"\x1b[2;3H\x1b[", b"\x1b[2;3H\x1b[", b"", b""),
        (b"\x1b]0;t\x1b\\\x0b\x7f\x00", b"\x1b]0;t\x1b\\\x0b\x7f\x00", b"", b""),
        (b"\x1b[12345Cx\x1b[?25h", b"\x1b[12345Cx\x1b[?25h", b"", b""),
    ],
)
def test_a_line_after_it_was_edited(line: bytes, before: bytes, under: bytes, after: bytes) -> None:
    assert edited(line) == Edited(before, under, after)


@given(LINES)
def test_whatever_is_written_the_line_is_bounded_and_harmless(line: bytes) -> None:
    found = edited(line)
    assert len(found.text) <= 4 * (4096 + 512)
    for part in found:
        assert all(" " <= character <= "~" for character in safe(part))
    assert len(found.under.decode(errors="surrogateescape")) <= 1


@given(st.lists(EDITS | st.just(b"\n"), max_size=60), st.sampled_from(["", "typing"]))
def test_nothing_but_printable_text_leaves_the_pane(pieces: list[bytes], typing: str) -> None:
    pane = ConsolePane("console")
    for piece in pieces:
        pane.text.feed(piece)
    pane.type(safe(typing))
    shown = [pane.line_at(index) for index in range(pane.count())]
    assert all(" " <= character <= "~" for line in shown for character in line.text)
    cursors = [text for line in shown for text, role in line.spans if role == "badge"]
    assert len(cursors) == bool(typing)


@given(st.binary(max_size=60))
def test_what_edits_nothing_stays_as_it_was(line: bytes) -> None:
    for byte in b"\a\b\t\n\r\x1b":
        line = line.replace(bytes((byte,)), b"")
    assert edited(line) == Edited(line)


@pytest.mark.parametrize(
    "piece",
    [b"\b", b"\x1b[9999C", b"\x1b[9999@", b"\x1b[", b"\x1b[" + b"1" * 64, b"\t", b"\x1b[2K"],
)
def test_the_worst_lines_are_still_lines(piece: bytes) -> None:
    found = edited(piece * (4096 // len(piece)) + b"x")
    assert len(found.text) <= 4096 + 512
    assert found.before.endswith(b"x") or len(found.before) == 4096
