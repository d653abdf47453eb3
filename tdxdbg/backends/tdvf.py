"""A TDVF image: the firmware of a TD, and where it says that its parts go.

At the end of the image is a table of entries with GUIDs, read downwards from
its footer; one of them gives the place of the TDX metadata, which lists
sections of the TD's memory (Intel TDX Virtual Firmware Design Guide, chapter
11; facts: tdvf). What is refused is what QEMU refuses (hw/i386/tdvf.c).
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from uuid import UUID

from tdxdbg.backends.elf import read_file
from tdxdbg.errors import BackendError

PAGE: Final = 4096
#: As large as QEMU maps a firmware image below 4 GiB.
LARGEST_IMAGE: Final = 16 << 20
#: The address behind the image.
END: Final = 1 << 32

_FOOTER: Final = UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
_METADATA_OFFSET: Final = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le
#: Bytes between the table and the end of the image: the reset vector.
_BEHIND_TABLE: Final = 0x20
_GUID: Final = 16
_LENGTH: Final = Struct("<H")
_OFFSET: Final = Struct("<I")
_HEADER: Final = Struct("<4sIII")  # signature, length, version, sections
_SECTION: Final = Struct("<IIQQII")
_SIGNATURE: Final = b"TDVF"
_VERSION: Final = 1
_FVH_AT: Final = 40
_VOLUME: Final = Struct("<48xH6x")  # header length
#: gEfiAuthenticatedVariableGuid.
_VARIABLES: Final = UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
_STORE: Final = Struct("<16xI8x")  # size
#: Far more than any firmware has.
MOST_SECTIONS: Final = 64

_MEASURED: Final = 1 << 0


class Kind(IntEnum):
    """What a section is; those that QEMU loads."""

    #: Boot firmware volume: code.
    BFV = 0
    #: Configuration firmware volume: variables.
    CFV = 1
    TD_HOB = 2
    TEMP_MEM = 3


class Section(NamedTuple):
    """Memory of the TD at `gpa`, `size` bytes of whole pages: `data`, then zeroes.

    `measured`: its contents go into MRTD.
    """

    kind: Kind
    gpa: int
    size: int
    data: bytes
    measured: bool


class Tdvf(NamedTuple):
    """A firmware image; `sections` in the order of the metadata, which is that of MRTD."""

    name: str
    size: int
    sections: tuple[Section, ...]

    @property
    def hob(self) -> Section:
        """Where the hand-off blocks go."""
        return next(section for section in self.sections if section.kind is Kind.TD_HOB)


def read_tdvf(path: Path) -> Tdvf:
    """A firmware file; raises BackendError, one line."""
    return parse(read_file(path, "a TDVF image"), path.name)


def parse(image: bytes, name: str) -> Tdvf:
    """The sections of an image; raises BackendError for what is no TDVF image."""
    if not 0 < len(image) <= LARGEST_IMAGE or len(image) % PAGE:
        raise _broken(name, f"{len(image)} bytes are not whole pages up to 16 MiB")
    at = len(image) - _metadata_offset(image, name)
    if not 0 <= at <= len(image) - _HEADER.size:
        raise _broken(name, "its metadata is outside the image")
    signature, length, version, count = _HEADER.unpack_from(image, at)
    if signature != _SIGNATURE or version != _VERSION:
        raise _broken(name, f"its metadata is not that of TDVF version {_VERSION}")
    if count > MOST_SECTIONS or length != _HEADER.size + count * _SECTION.size:
        raise _broken(name, f"metadata of {length} bytes with {count} sections")
    if at + length > len(image):
        raise _broken(name, "its metadata ends outside the image")
    entries = _SECTION.iter_unpack(image[at + _HEADER.size : at + length])
    sections = tuple(_section(image, name, *entry) for entry in entries)
    if sum(section.kind is Kind.TD_HOB for section in sections) != 1:
        raise _broken(name, "its metadata does not name one place for the TD HOB")
    return Tdvf(name, len(image), sections)


def without_variables(image: Tdvf) -> Tdvf:
    """The same firmware before anybody set a variable, so without Secure Boot's keys.

    What is no store of variables stays.
    """
    sections = tuple(
        section._replace(data=_emptied(section.data)) if section.kind is Kind.CFV else section
        for section in image.sections
    )
    return image._replace(sections=sections)


def _emptied(volume: bytes) -> bytes:
    """A firmware volume whose first thing is a variable store, erased to ones.

    Layout: PI specification 1.8, volume 3, 3.2.1; EDK2 VariableFormat.h.
    """
    if len(volume) < _VOLUME.size or volume[_FVH_AT : _FVH_AT + 4] != b"_FVH":
        return volume
    header = int(_VOLUME.unpack_from(volume)[0])
    first = header + _STORE.size
    if volume[header : header + _GUID] != _VARIABLES or first > len(volume):
        return volume
    end = max(first, min(header + int(_STORE.unpack_from(volume, header)[0]), len(volume)))
    return volume[:first] + b"\xff" * (end - first) + volume[end:]


def _broken(name: str, why: str) -> BackendError:
    return BackendError(
        f"{name} is no TDVF firmware: {why}; give an OVMF image built from OvmfPkg/IntelTdx"
    )


def _metadata_offset(image: bytes, name: str) -> int:
    """How many bytes before the end of the image the metadata is."""
    end = len(image) - _BEHIND_TABLE
    if image[end - _GUID : end] != _FOOTER:
        raise _broken(name, "there is no table of GUIDs at its end")
    end -= _GUID + _LENGTH.size
    (length,) = _LENGTH.unpack_from(image, end)
    first = max(end + _GUID + _LENGTH.size - length, 0)
    while end - _GUID - _LENGTH.size >= first:
        (size,) = _LENGTH.unpack_from(image, end - _GUID - _LENGTH.size)
        if not _GUID + _LENGTH.size <= size <= end - first:
            break
        if image[end - _GUID : end] == _METADATA_OFFSET and size == 22:
            (offset,) = _OFFSET.unpack_from(image, end - size)
            return int(offset)
        end -= size
    raise _broken(name, "its table has no TDX metadata, so it cannot start a TD")


def _section(
    image: bytes, name: str, at: int, raw: int, gpa: int, size: int, kind: int, attributes: int
) -> Section:
    what = f"section of type {kind} at GPA {gpa:#x}"
    if kind not in Kind.__members__.values():
        raise _broken(name, f"a {what}, which QEMU does not load")
    if (gpa | size) % PAGE or not size or raw > size:
        raise _broken(name, f"a {what} has {size:#x} bytes, {raw:#x} of them in the image")
    if bool(raw) != (kind in (Kind.BFV, Kind.CFV)) or at + raw > len(image):
        raise _broken(name, f"a {what} has {raw:#x} bytes at {at:#x} of the image")
    data = image[at : at + raw] if raw else b""
    return Section(Kind(kind), gpa, size, data, bool(attributes & _MEASURED))
