"""LZ4 as the kernel packs itself: every kind of sequence, and what is damaged."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.lz4 import LARGEST, MAGIC, unpack


def _length(value: int) -> tuple[int, bytes]:
    """What goes into the token, and the bytes that go on."""
    if value < 15:
        return value, b""
    value -= 15
    return 15, b"\xff" * (value // 255) + bytes([value % 255])


def sequence(literals: bytes, distance: int = 0, match: int = 0) -> bytes:
    """Literals and, unless `distance` is 0, a match of `match` bytes."""
    first, more = _length(len(literals))
    if not distance:
        return bytes([first << 4]) + more + literals
    second, rest = _length(match - 4)
    token = bytes([first << 4 | second])
    return token + more + literals + distance.to_bytes(2, "little") + rest


def block(*sequences: bytes) -> bytes:
    data = b"".join(sequences)
    return len(data).to_bytes(4, "little") + data


def pack(data: bytes) -> bytes:
    """The simplest packer: what one byte is, is repeated."""
    out = []
    at = 0
    while at < len(data):
        run = len(data) - at - len(data[at:].lstrip(data[at : at + 1]))
        out.append(
            sequence(data[at : at + 1], 1, run - 1) if run > 4 else sequence(data[at:][:run])
        )
        if run <= 4:
            # Literals without a match are the last of a block.
            out[-1] = block(out[-1])
        else:
            out[-1] = block(out[-1], sequence(b""))
        at += run
    return MAGIC + b"".join(out)


UNPACKED: Final = {
    "nothing": (MAGIC, b""),
    "literals": (MAGIC + block(sequence(b"abc")), b"abc"),
    "long literals": (MAGIC + block(sequence(b"x" * 600)), b"x" * 600),
    "a match": (MAGIC + block(sequence(b"abcdef", 6, 5), sequence(b"z")), b"abcdefabcdez"),
    "a match over itself": (MAGIC + block(sequence(b"ab", 2, 7), sequence(b"z")), b"ababababaz"),
    "a long match": (MAGIC + block(sequence(b"a", 1, 700), sequence(b"z")), b"a" * 701 + b"z"),
    "two blocks": (MAGIC + block(sequence(b"ab")) + block(sequence(b"cd")), b"abcd"),
}


@pytest.mark.parametrize("name", UNPACKED)
def test_every_kind_of_sequence(name: str) -> None:
    data, plain = UNPACKED[name]
    assert unpack(data, 1 << 20) == plain


DAMAGED: Final = {
    "a match before the beginning": (MAGIC + block(sequence(b"ab", 3, 4)), "3 bytes back"),
    "a match of no distance": (MAGIC + block(b"\x10a\0\0"), "0 bytes back"),
    "half a distance": (MAGIC + block(b"\x10a\1"), "ends too early"),
    "a length that does not end": (MAGIC + block(b"\xf0\xff"), "ends too early"),
    "too much of it": (MAGIC + bytes(LARGEST), "the most is"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_a_value_error(name: str) -> None:
    data, reason = DAMAGED[name]
    with pytest.raises(ValueError, match=reason):
        unpack(data, 1 << 20)


def test_no_more_than_was_asked_for() -> None:
    bomb = MAGIC + block(sequence(b"a", 1, 1 << 24))
    assert unpack(bomb, 1000) == b"a" * 1000


@given(st.binary(max_size=200))
def test_any_data_are_packed_and_unpacked(data: bytes) -> None:
    assert unpack(pack(data), 1 << 20) == data


@given(st.binary(max_size=64))
def test_any_block_is_unpacked_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert len(unpack(MAGIC + block(data), 1000)) <= 1000


@pytest.mark.skipif(not shutil.which("lz4"), reason="lz4 is not installed")
def test_what_lz4_packs() -> None:
    plain = bytes(range(256)) * 2 + b"the kernel, " * 1000
    done = subprocess.run(["lz4", "-l", "-9", "-c"], input=plain, capture_output=True, check=True)
    assert unpack(done.stdout, 1 << 20) == plain
