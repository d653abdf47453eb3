"""What is loaded of a guest image: the program headers of a static ELF64, or a flat file.

The file may be anybody's, so nothing is believed: every offset and count is
checked against the file before it is used, and all work is bounded by the
file's size. Format: System V ABI, "Object Files" and "Program Loading", and
its AMD64 supplement.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from stat import S_ISREG
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.errors import BackendError

MAGIC: Final = b"\x7fELF"
#: Where a flat file goes, and where guests are linked.
FLAT_GPA: Final = 1 << 20
#: No guest is as large; a kernel with all of its DWARF is about half of it.
LARGEST_FILE: Final = 1 << 30
_MOST_SEGMENTS: Final = 256

#: Ident, then type, machine, version, entry, phoff, shoff, flags, ehsize,
#: phentsize, phnum, shentsize, shnum, shstrndx.
HEADER: Final = Struct("<16sHHIQQQIHHHHHH")
#: Type, flags, offset, vaddr, paddr, filesz, memsz, align.
_PROGRAM: Final = Struct("<IIQQQQQQ")

_CLASS_64, _LITTLE_ENDIAN, _MACHINE_X86_64 = 2, 1, 62
_TYPE_EXEC: Final = 2
_PT_LOAD, _PT_INTERP = 1, 3

_OTHER_TYPES: Final = {
    1: "a relocatable object: link it with ld -static",
    3: "position-independent, which would need relocations: link it with -static -no-pie",
    4: "a core dump: give the guest's own image",
}


class Segment(NamedTuple):
    """Bytes that go to `gpa`, followed by zeroes up to `size`; `address` is the linear one."""

    gpa: int
    address: int
    data: memoryview
    size: int

    @property
    def end(self) -> int:
        """The first GPA behind it."""
        return self.gpa + self.size


class GuestFile(NamedTuple):
    """A guest image as it lies on disk, checked.

    `name` is for messages; `path` None for bytes from elsewhere. `segments`
    ascend and do not overlap; `entry` is an address inside one of them.
    """

    name: str
    path: Path | None
    data: bytes
    is_elf: bool
    entry: int
    segments: tuple[Segment, ...]


def read_guest(source: Path | bytes, what: str = "an ELF64 or a flat image") -> GuestFile:
    """The image in a file or in bytes; what is no ELF is a flat file for FLAT_GPA.

    `what` it should be, for messages. Raises BackendError.
    """
    path = None if isinstance(source, bytes) else source
    name = "the image" if path is None else path.name
    data = source if isinstance(source, bytes) else read_file(source, what)
    if not data:
        raise BackendError(f"{name} is empty: give {what}")
    if not data.startswith(MAGIC):
        segment = Segment(FLAT_GPA, FLAT_GPA, memoryview(data), len(data))
        return GuestFile(name, path, data, False, FLAT_GPA, (segment,))
    entry, segments = _elf(name, data)
    return GuestFile(name, path, data, True, entry, segments)


def read_file(path: Path, what: str) -> bytes:
    """A regular file of sane size: a pipe or a device could be endless. Raises BackendError."""
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise BackendError(f"{path} is not a regular file: give {what}")
        if status.st_size > LARGEST_FILE:
            raise BackendError(
                f"{path} has {status.st_size} bytes, the most is {LARGEST_FILE}: strip it"
            )
        with path.open("rb") as file:
            return file.read(LARGEST_FILE)
    except OSError as error:
        raise BackendError(f"cannot read {path}: {error.strerror}; give {what}") from error
    except ValueError as error:
        raise BackendError(f"cannot read {str(path)!r}: {error}") from error


def _elf(name: str, data: bytes) -> tuple[int, tuple[Segment, ...]]:
    if len(data) < HEADER.size:
        raise _cut_short(name, "its ELF header")
    ident, kind, machine, _, entry, at, _, _, _, entry_size, count, *_ = HEADER.unpack_from(data)
    if ident[4] != _CLASS_64:
        raise BackendError(f"{name} is no ELF64 (class {ident[4]}): build it for x86-64")
    if ident[5] != _LITTLE_ENDIAN or machine != _MACHINE_X86_64:
        raise BackendError(f"{name} is for machine {machine}, not x86-64: build it for x86-64")
    if kind != _TYPE_EXEC:
        what = _OTHER_TYPES.get(kind, f"of ELF type {kind}: link it with ld -static")
        raise BackendError(f"{name} is {what}")
    if not 0 < count <= _MOST_SEGMENTS or entry_size != _PROGRAM.size:
        raise BackendError(
            f"{name} has {count} program headers of {entry_size} bytes, "
            f"not 1 to {_MOST_SEGMENTS} of {_PROGRAM.size}: link it anew"
        )
    if at + count * _PROGRAM.size > len(data):
        raise _cut_short(name, "its program headers")
    segments = _segments(name, data, at, count)
    if not any(segment.gpa <= entry < segment.end for segment in segments):
        raise BackendError(
            f"the entry point of {name}, {entry:#x}, is in no loaded segment: "
            "link it so that physical and virtual addresses are the same"
        )
    return entry, segments


def _segments(name: str, data: bytes, at: int, count: int) -> tuple[Segment, ...]:
    """Every PT_LOAD that takes memory, by GPA."""
    # No copies yet: whether all of it fits in the RAM is not known.
    view = memoryview(data)
    found = []
    for index in range(count):
        header = _PROGRAM.unpack_from(data, at + index * _PROGRAM.size)
        kind, _, offset, address, gpa, file_size, size, _ = header
        if kind == _PT_INTERP:
            raise BackendError(f"{name} wants a dynamic linker: link it with -static")
        if kind != _PT_LOAD or not size:
            continue
        if file_size > size:
            raise BackendError(
                f"segment {index} of {name} has more bytes in the file ({file_size:#x}) "
                f"than in memory ({size:#x}): link it anew"
            )
        if offset + file_size > len(data):
            raise _cut_short(name, f"segment {index}")
        found.append(Segment(gpa, address, view[offset : offset + file_size], size))
    if not found:
        raise BackendError(f"{name} has no segment to load: link it with ld -static")
    found.sort(key=lambda segment: segment.gpa)
    for one, next_ in pairwise(found):
        if next_.gpa < one.end:
            raise BackendError(
                f"segments of {name} overlap at GPA {next_.gpa:#x}: "
                "give each its own physical address"
            )
    return tuple(found)


def _cut_short(name: str, what: str) -> BackendError:
    return BackendError(f"{name} ends before the end of {what}: copy or build it again")
