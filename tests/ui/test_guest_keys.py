"""What a key sends to the guest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import XTermParser

from tdxdbg.ui.live.guest_keys import key_bytes, paste_bytes


def keys(sent: str) -> list[events.Key]:
    """What textual makes of what a terminal sends."""
    parser = XTermParser()
    found = [*parser.feed(sent), *parser.feed("")]
    assert all(isinstance(event, events.Key) for event in found)
    return [event for event in found if isinstance(event, events.Key)]


@pytest.mark.parametrize(
    "sent",
    [
        *("a", "Z", "0", "~", " ", "\\", "+", "[", "é", "€", "語"),
        *(chr(number) for number in range(0x20) if number != 0x08),
        "\x7f",
        *(f"\x1b[{letter}" for letter in "ABCDHF"),
        *(f"\x1b[{number}~" for number in (2, 3, 5, 6, 15, 17, 18, 19, 20, 21, 23, 24)),
        *(f"\x1bO{letter}" for letter in "PQRS"),
        *("\x1b[Z", "\x1b[1;5C", "\x1b[1;2A", "\x1b[3;5~", "\x1b[1;3A", "\x1bx", "\x1bB"),
    ],
    ids=repr,
)
def test_a_guest_gets_what_the_terminal_sent(sent: str) -> None:
    found = b"".join(key_bytes(key.key, key.character) for key in keys(sent))
    assert found == sent.encode()


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        # The same by Kitty's protocol.
        ("\x1b[97;5u", b"\x01"),
        ("\x1b[99;5u", b"\x03"),
        ("\x1b[93;5u", b"\x1d"),
        ("\x1b[32;5u", b"\x00"),
        ("\x1b[97;3u", b"\x1ba"),
        ("\x1b[13u", b"\r"),
        ("\x1b[13;2u", b"\r"),
        ("\x1b[127u", b"\x7f"),
        ("\x1b[127;3u", b"\x1b\x7f"),
        ("\x1b[9;2u", b"\x1b[Z"),
        ("\x1b[27u", b"\x1b"),
        ("\x1b[53;5u", b"\x1d"),
        ("\x1b[97;1;65u", b"A"),
        ("\x1b[57441u", b""),
        ("\x1b[97;9u", b""),
        # Old terminals: Backspace is Ctrl-H, Home and End have numbers.
        ("\x08", b"\x7f"),
        ("\x1b[1~", b"\x1b[H"),
        ("\x1bOA", b"\x1b[A"),
        # Textual has it so: iTerm sends this for Ctrl-Right.
        ("\x1bf", b"\x1b[1;5C"),
    ],
    ids=repr,
)
def test_a_guest_gets_what_a_key_means(sent: str, data: bytes) -> None:
    assert b"".join(key_bytes(key.key, key.character) for key in keys(sent)) == data


@pytest.mark.parametrize(
    ("key", "character", "data"),
    [
        ("a", None, b"a"),
        ("caps_lock", None, b""),
        ("x", "\ud800", b""),
        ("ctrl+f5", None, b"\x1b[15;5~"),
        ("ctrl+alt+x", None, b"\x1b\x18"),
        ("ctrl+1", None, b"1"),
        ("", None, b""),
        ("+", None, b""),
    ],
)
def test_other_keys(key: str, character: str | None, data: bytes) -> None:
    assert key_bytes(key, character) == data


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a\nb\r\nc\rd", b"a\rb\rc\rd"),
        ("é", b"\xc3\xa9"),
        ("\x1b[A\t", b"\x1b[A\t"),
        ("\ud800x", b"x"),
    ],
)
def test_a_paste(text: str, data: bytes) -> None:
    assert paste_bytes(text) == data


@given(st.text(max_size=20), st.none() | st.characters())
def test_any_key_is_some_bytes(key: str, character: str | None) -> None:
    assert len(key_bytes(key, character)) <= 8
