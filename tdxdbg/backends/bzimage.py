"""A kernel's bzImage: its setup header, and the vmlinux that is packed in it.

Source: Linux Documentation/arch/x86/boot.rst ("the boot protocol"). The file
may be anybody's: every offset is checked against it, and what unpacks to more
than its declared size, or to more than LARGEST_PAYLOAD, is refused.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.backends import lz4
from tdxdbg.errors import BackendError

#: Where the setup header begins in the file, and in boot_params.
HEADER_AT: Final = 0x1F1
#: What follows the setup header in boot_params begins here (edd_mbr_sig_buffer).
HEADER_LIMIT: Final = 0x290
#: Unpacked bytes at most; Debian's kernels have about 60 MiB.
LARGEST_PAYLOAD: Final = 512 << 20
#: The 64-bit entry point, in bytes from the start of the protected-mode part (startup_64).
ENTRY_64: Final = 0x200

#: From 0x1f1: setup_sects; 0x1fe: boot_flag, jump, header, version; 0x211: loadflags.
_SIGNATURE: Final = Struct("<HHIH")
#: The first protocol with the 64-bit entry point (xloadflags).
_OLDEST: Final = 0x020C
_SECTOR: Final = 512
_BOOT_FLAG: Final = 0xAA55
_MAGIC: Final = 0x53726448
_XLF_KERNEL_64: Final = 1 << 0
#: The dictionary of a zstd -22 or xz of today's kernels is 128 MiB.
_WINDOW: Final = 128 << 20
_MEMORY: Final = _WINDOW + (32 << 20)
_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class SetupHeader:
    """The fields that a loader asks for, named as in the boot protocol.

    Addresses are physical, sizes in bytes. `raw` is the whole header, which
    boot_params has at 0x1f1 too. `setup_sects` is never 0 (which means 4).
    """

    setup_sects: int
    version: int
    loadflags: int
    code32_start: int
    initrd_addr_max: int
    kernel_alignment: int
    relocatable_kernel: bool
    min_alignment: int
    xloadflags: int
    cmdline_size: int
    payload_offset: int
    payload_length: int
    pref_address: int
    init_size: int
    kernel_info_offset: int
    raw: bytes

    @property
    def kernel_at(self) -> int:
        """Where the protected-mode part begins in the file."""
        return (self.setup_sects + 1) * _SECTOR


class _Field(NamedTuple):
    at: int
    form: Struct


_FIELDS: Final = {
    "loadflags": _Field(0x211, Struct("<B")),
    "code32_start": _Field(0x214, Struct("<I")),
    "initrd_addr_max": _Field(0x22C, Struct("<I")),
    "kernel_alignment": _Field(0x230, Struct("<I")),
    "relocatable_kernel": _Field(0x234, Struct("<?")),
    "min_alignment": _Field(0x235, Struct("<B")),
    "xloadflags": _Field(0x236, Struct("<H")),
    "cmdline_size": _Field(0x238, Struct("<I")),
    "payload_offset": _Field(0x248, Struct("<I")),
    "payload_length": _Field(0x24C, Struct("<I")),
    "pref_address": _Field(0x258, Struct("<Q")),
    "init_size": _Field(0x260, Struct("<I")),
    "kernel_info_offset": _Field(0x268, Struct("<I")),
}


def is_bzimage(image: bytes) -> bool:
    """Whether it begins as a bzImage does; `setup_header` says what is wrong with it."""
    if len(image) < HEADER_LIMIT:
        return False
    boot_flag, _, magic, _ = _SIGNATURE.unpack_from(image, 0x1FE)
    return bool(boot_flag == _BOOT_FLAG and magic == _MAGIC)


def setup_header(image: bytes, name: str = "the kernel") -> SetupHeader:
    """The header of a bzImage for x86-64; `name` is for messages. Raises BackendError.

    The payload is inside the file, kernel_alignment is a power of two.
    """
    if not is_bzimage(image):
        raise BackendError(f"{name} is no bzImage: give the distribution's vmlinuz or a vmlinux")
    *_, version = _SIGNATURE.unpack_from(image, 0x1FE)
    if version < _OLDEST:
        raise BackendError(
            f"{name} has boot protocol {version >> 8}.{version & 0xFF:02}, which is older than "
            "2.12: give a kernel with TDX guest support (Linux 5.19 or later)"
        )
    # Its length is that of the jump over it, at 0x200 (boot.rst, "Loading the rest of the kernel").
    end = min(0x202 + image[0x201], HEADER_LIMIT)
    values = {key: field.form.unpack_from(image, field.at)[0] for key, field in _FIELDS.items()}
    header = SetupHeader(
        setup_sects=image[HEADER_AT] or 4, version=version, raw=image[HEADER_AT:end], **values
    )
    _check(header, len(image), name)
    return header


def payload(image: bytes, name: str = "the kernel") -> bytes:
    """What the decompressor of a bzImage unpacks: the ELF of the kernel, then its relocations.

    Raises BackendError.
    """
    header = setup_header(image, name)
    start = header.kernel_at + header.payload_offset
    data = image[start : start + header.payload_length]
    size = int.from_bytes(data[-_SIZE:], "little")
    packing = next((each for each in _PACKINGS if data.startswith(each.magic)), None)
    if packing is None:
        raise BackendError(
            f"the payload of {name} begins with {data[:4].hex(' ')}, which is no known compression"
        )
    if packing.unpack is None:
        raise BackendError(
            f"{name} is compressed with {packing.name}, which is not read: unpack it with "
            "the kernel's scripts/extract-vmlinux and give the vmlinux"
        )
    # mkpiggy.c: the size of the unpacked kernel is in the last four bytes.
    if size > LARGEST_PAYLOAD:
        raise BackendError(
            f"{name} says it unpacks to {size} bytes, the most is {LARGEST_PAYLOAD}: "
            "copy or build it again"
        )
    try:
        plain = packing.unpack(data, size + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError) as problem:
        raise BackendError(
            f"the {packing.name} payload of {name} is damaged: {problem}: copy or build it again"
        ) from None
    if len(plain) != size:
        raise BackendError(
            f"the {packing.name} payload of {name} has not the {size} bytes that it should have: "
            "copy or build it again"
        )
    return plain


def _check(header: SetupHeader, size: int, name: str) -> None:
    if not header.xloadflags & _XLF_KERNEL_64:
        raise BackendError(f"{name} has no 64-bit entry point: give a kernel for x86-64")
    alignment = header.kernel_alignment
    if not alignment or alignment & (alignment - 1):
        raise BackendError(
            f"the kernel_alignment of {name}, {alignment:#x}, is no power of two: build it again"
        )
    end = header.kernel_at + header.payload_offset + header.payload_length
    if header.payload_length <= _SIZE or end > size:
        raise BackendError(
            f"{name} ends before the end of its payload ({size} of {end} bytes): copy it again"
        )


# Each gives at most `most` bytes of what is in `data`, which may go on behind the stream.


def _zstd(data: bytes, most: int) -> bytes:
    # Not at the top: it takes a while, and a vmlinux needs none.
    import zstandard

    try:
        unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        with unpacker.stream_reader(data) as reader:
            return reader.read(most)
    except zstandard.ZstdError as problem:
        raise ValueError(str(problem)) from None


def _gzip(data: bytes, most: int) -> bytes:
    return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data, most)


def _bzip2(data: bytes, most: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, most)


def _xz(data: bytes, most: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY).decompress(data, most)


def _lzma(data: bytes, most: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MEMORY).decompress(data, most)


class _Packing(NamedTuple):
    name: str
    magic: bytes
    unpack: Callable[[bytes, int], bytes] | None


#: By the first bytes, as Linux lib/decompress.c tells them.
_PACKINGS: Final = (
    _Packing("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    _Packing("gzip", b"\x1f\x8b", _gzip),
    _Packing("xz", b"\xfd7zXZ\0", _xz),
    _Packing("bzip2", b"BZh", _bzip2),
    _Packing("lzma", b"\x5d\0\0", _lzma),
    _Packing("lz4", lz4.MAGIC, lz4.unpack),
    _Packing("lzo", b"\x89LZO", None),
)
