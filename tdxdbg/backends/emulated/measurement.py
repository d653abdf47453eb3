"""MRTD: what the TDX module hashes while the host builds a TD.

TDH.MEM.PAGE.ADD extends a SHA-384 by 128 bytes: "MEM.PAGE.ADD", zeroes up to
byte 16, the GPA of the page, zeroes. TDH.MR.EXTEND extends it by 128 bytes
with "MR.EXTEND" and the GPA of a chunk in the same places, and by the 256
bytes of that chunk (Intel TDX module ABI, "TD measurement"; td-shim and EDK2's
tools compute it so too). KVM's KVM_TDX_INIT_MEM_REGION adds a page and, with
KVM_TDX_MEASURE_MEMORY_REGION, extends its 16 chunks before the next page.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha384
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hashlib import _Hash as _Digest

    from tdxdbg.backends.emulated.td import Image

PAGE: Final = 4096
CHUNK: Final = 256
_RECORD: Final = Struct("<16sQ104x")
_ADD: Final = b"MEM.PAGE.ADD"
_EXTEND: Final = b"MR.EXTEND"


def _extend(digest: _Digest, gpa: int, page: bytes | bytearray | None) -> None:
    """A page is added; None: without being measured."""
    digest.update(_RECORD.pack(_ADD, gpa))
    if page is None:
        return
    for at in range(0, PAGE, CHUNK):
        digest.update(_RECORD.pack(_EXTEND, gpa + at))
        digest.update(page[at : at + CHUNK])


def mrtd(images: Iterable[Image], end: int) -> bytes:
    """MRTD of a TD whose pages below `end` (bytes) are added, ascending.

    Pages that an image touches are measured; the others are zeroes and only
    added, as a firmware's temporary memory.
    """
    contents = _pages(images)
    digest = sha384()
    for gpa in range(0, end, PAGE):
        _extend(digest, gpa, contents.get(gpa))
    return digest.digest()


def mrtd_of_sections(sections: Iterable[tuple[int, bytes, bool]]) -> bytes:
    """MRTD of a TD that is built section by section.

    Each is GPA, contents (whole pages) and whether they are measured.
    """
    digest = sha384()
    for gpa, data, measured in sections:
        for at in range(0, len(data), PAGE):
            _extend(digest, gpa + at, data[at : at + PAGE] if measured else None)
    return digest.digest()


def _pages(images: Iterable[Image]) -> dict[int, bytearray]:
    """The pages that hold anything, by GPA."""
    pages: dict[int, bytearray] = {}
    for image in images:
        gpa, data = image.gpa, memoryview(image.data)
        while data:
            inside = gpa % PAGE
            piece = data[: PAGE - inside]
            page = pages.setdefault(gpa - inside, bytearray(PAGE))
            page[inside : inside + len(piece)] = piece
            gpa, data = gpa + len(piece), data[len(piece) :]
    return pages
