"""The header of a bzImage and what is packed in it: read, or refused with the remedy."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.bzimage import (
    HEADER_AT,
    LARGEST_PAYLOAD,
    is_bzimage,
    payload,
    setup_header,
)
from tdxdbg.errors import BackendError
from tests.backends.bzimages import USUAL, bzimage
from tests.backends.test_lz4 import pack as pack_lz4
from tests.kernels import fetched

PLAIN = b"\x7fELF" + bytes(range(256)) * 40
PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zstd": zstandard.compress,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lambda data: lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "lz4": pack_lz4,
}
PACKED: Final = {name: pack(PLAIN) for name, pack in PACKERS.items()}


def test_the_fields_are_where_the_boot_protocol_has_them() -> None:
    image = bzimage(PACKED["zstd"], len(PLAIN))
    header = setup_header(image)
    given_fields = {key: value for key, value in USUAL.items() if hasattr(header, key)}
    assert {key: getattr(header, key) for key in given_fields} == given_fields
    assert header.payload_length == len(PACKED["zstd"]) + 4
    assert header.kernel_at == 3 * 512
    # Up to 0x202 + the distance of the jump.
    assert header.raw == image[HEADER_AT : 0x202 + 0x6A]


def test_no_setup_sectors_are_four() -> None:
    header = setup_header(bzimage(bytes(512), setup_sects=0, payload_offset=0, payload_length=5))
    assert (header.setup_sects, header.kernel_at) == (4, 5 * 512)


def test_a_header_ends_before_what_follows_it_in_boot_params() -> None:
    assert len(setup_header(bzimage(b"1234", jump=0xFF)).raw) == 0x290 - HEADER_AT


@pytest.mark.parametrize("name", PACKED)
def test_a_payload_is_unpacked(name: str) -> None:
    assert payload(bzimage(PACKED[name], len(PLAIN))) == PLAIN


GOOD = PACKED["zstd"]
REFUSED = {
    "nothing": (b"", "is no bzImage"),
    "an ELF": (b"\x7fELF" + bytes(4096), "is no bzImage"),
    "no boot flag": (bzimage(GOOD, boot_flag=0), "is no bzImage"),
    "no magic": (bzimage(GOOD, magic=b"HdrX"), "is no bzImage"),
    "an old protocol": (bzimage(GOOD, version=0x0204), "boot protocol 2.04"),
    "a 32-bit kernel": (bzimage(GOOD, xloadflags=0), "no 64-bit entry point"),
    "no alignment": (bzimage(GOOD, kernel_alignment=0), "is no power of two"),
    "an odd alignment": (bzimage(GOOD, kernel_alignment=0x300000), "is no power of two"),
    "no payload": (bzimage(GOOD, payload_length=4), "ends before the end of its payload"),
    "a payload behind the file": (bzimage(GOOD, payload_offset=1 << 31), "of its payload"),
    "an endless payload": (bzimage(GOOD, payload_length=0xFFFF_FFFF), "of its payload"),
    "setup without a kernel": (bzimage(GOOD, setup_sects=255), "of its payload"),
    "an unknown compression": (bzimage(b"PK\3\4data"), "begins with 50 4b 03 04"),
    "lzo": (bzimage(b"\x89LZOdata"), "compressed with lzo, which is not read"),
    "a payload that says it is huge": (bzimage(GOOD, LARGEST_PAYLOAD + 1), "the most is"),
    "a payload of more": (bzimage(GOOD, len(PLAIN) - 1), "has not the 10243 bytes"),
    "a payload of less": (bzimage(GOOD, len(PLAIN) + 1), "has not the 10245 bytes"),
} | {
    f"damaged {name}": (bzimage(data[:9] + b"\xee" * len(data[9:]), len(PLAIN)), f"the {name} ")
    for name, data in PACKED.items()
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(name: str) -> None:
    image, reason = REFUSED[name]
    with pytest.raises(BackendError, match=r".") as caught:
        payload(image, "vmlinuz")
    assert reason in str(caught.value)
    assert "vmlinuz" in str(caught.value)


@pytest.mark.parametrize("name", PACKED)
def test_a_bomb_costs_no_more_than_it_declares(name: str) -> None:
    with pytest.raises(BackendError, match="has not the 10 bytes"):
        payload(bzimage(PACKERS[name](bytes(8 << 20)), 10))


@given(at=st.integers(0x1F1, 0x26C), value=st.binary(min_size=1, max_size=8))
def test_any_header_is_read_or_refused(at: int, value: bytes) -> None:
    image = bytearray(bzimage(GOOD, len(PLAIN)))
    image[at : at + len(value)] = value
    with suppress(BackendError):
        assert payload(bytes(image)) == PLAIN


@given(st.binary(max_size=64), st.integers(0, 1 << 20))
def test_any_payload_is_unpacked_or_refused(data: bytes, size: int) -> None:
    for packed in PACKED.values():
        with suppress(BackendError):
            assert len(payload(bzimage(packed[:6] + data, size))) == size


@pytest.mark.parametrize("pick", ["cloud", "generic", "newer"])
def test_debians_kernels(pick: str) -> None:
    image = fetched(f"{pick}/vmlinuz").read_bytes()
    assert is_bzimage(image)
    header = setup_header(image)
    assert header.relocatable_kernel
    assert header.pref_address == 16 << 20
    plain = payload(image)
    assert plain.startswith(b"\x7fELF\2\1\1")
    assert len(plain) < header.init_size
