"""The metadata of a TDVF image: read, or refused with the remedy."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.tdvf import Kind, parse, read_tdvf, without_variables
from tdxdbg.errors import BackendError
from tests.backends.tdvfs import (
    BASE,
    BFV,
    CFV,
    HOB,
    METADATA,
    OTHER,
    TD_HOB,
    TEMP_MEM,
    TEMPORARY,
    USUAL,
    Row,
    entry,
    table,
    tdvf,
    variables,
)
from tests.kernels import fetched

OFFSET = struct.pack("<I", 0x1000)


def test_sections_in_their_order() -> None:
    image = tdvf()
    found = parse(image, "fw.fd")
    assert (found.name, found.size) == ("fw.fd", 0x8000)
    assert [tuple(section) for section in found.sections] == [
        (Kind.BFV, BASE + 0x2000, 0x6000, image[0x2000:], True),
        (Kind.CFV, BASE, 0x2000, image[:0x2000], False),
        (Kind.TEMP_MEM, TEMPORARY, 0x2000, b"", False),
        (Kind.TD_HOB, HOB, 0x1000, b"", False),
    ]
    assert found.hob == found.sections[3]


HOB_ROW = USUAL[3]
REFUSED = {
    "nothing": (b"", "0 bytes are not whole pages"),
    "half a page": (bytes(0x800), "2048 bytes are not whole pages"),
    "too much": (bytes(17 << 20), "17825792 bytes are not whole pages"),
    "no table": (bytes(0x8000), "no table of GUIDs"),
    "an empty table": (tdvf(guids=table()), "no TDX metadata"),
    "a table without it": (tdvf(guids=table(entry(OTHER, OFFSET))), "no TDX metadata"),
    "a short entry": (tdvf(guids=table(entry(METADATA, b"\1\2"))), "no TDX metadata"),
    "a table of no length": (tdvf(guids=table(entry(METADATA, OFFSET), length=0)), "no TDX"),
    "an entry of no length": (
        tdvf(guids=table(entry(METADATA, OFFSET), bytes(2) + OTHER.bytes_le)),
        "no TDX metadata",
    ),
    "an entry that is too long": (
        tdvf(guids=table(b"\xff\xff" + METADATA.bytes_le)),
        "no TDX metadata",
    ),
    "metadata before the image": (tdvf(offset=0x8001), "outside the image"),
    "metadata behind it": (tdvf(offset=0), "outside the image"),
    "metadata at its end": (tdvf(offset=15), "outside the image"),
    "another signature": (tdvf(head=(b"TDVX", 1)), "not that of TDVF version 1"),
    "another version": (tdvf(head=(b"TDVF", 2)), "not that of TDVF version 1"),
    "a length that does not fit": (tdvf(length=16), "metadata of 16 bytes with 4 sections"),
    "sections without end": (tdvf(count=0xFFFF_FFFF), "with 4294967295 sections"),
    "sections behind the end": (
        tdvf(offset=0x18, guids=None, size=0x8000),
        "not that of TDVF version 1",
    ),
    "no hob": (tdvf(USUAL[:3]), "one place for the TD HOB"),
    "two hobs": (tdvf((*USUAL, Row(TD_HOB, 0x1000, 0x1000))), "one place for the TD HOB"),
    "another type": (tdvf((HOB_ROW, Row(4, 0, 0x1000))), "type 4 at GPA 0x0, which QEMU"),
    "a negative type": (tdvf((HOB_ROW, Row(0xFFFF_FFFF, 0, 0x1000))), "type 4294967295"),
    "half a page of memory": (tdvf((HOB_ROW, Row(TEMP_MEM, 0, 0x800))), "has 0x800 bytes"),
    "no memory": (tdvf((HOB_ROW, Row(TEMP_MEM, 0, 0))), "has 0x0 bytes"),
    "in the middle of a page": (tdvf((HOB_ROW, Row(TEMP_MEM, 8, 0x1000))), "at GPA 0x8 has"),
    "more data than memory": (
        tdvf((HOB_ROW, Row(BFV, BASE, 0x1000, 0, 0x2000))),
        "has 0x1000 bytes, 0x2000 of them",
    ),
    "code without data": (tdvf((HOB_ROW, Row(BFV, BASE, 0x1000))), "has 0x0 bytes at 0x0"),
    "memory with data": (
        tdvf((HOB_ROW, Row(TEMP_MEM, 0, 0x1000, 0, 1))),
        "has 0x1 bytes at 0x0 of the image",
    ),
    "data behind the image": (
        tdvf((HOB_ROW, Row(CFV, BASE, 0x1000, 0x7FFF, 2))),
        "has 0x2 bytes at 0x7fff of the image",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_firmware_is_refused_with_the_reason(name: str) -> None:
    image, reason = REFUSED[name]
    with pytest.raises(BackendError) as caught:
        parse(image, "fw.fd")
    text = str(caught.value)
    assert text.startswith("fw.fd is no TDVF firmware: ")
    assert reason in text
    assert text.endswith("; give an OVMF image built from OvmfPkg/IntelTdx")
    assert "\n" not in text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot read"):
        read_tdvf(tmp_path / "none.fd")
    path = tmp_path / "fw.fd"
    path.write_bytes(tdvf())
    assert read_tdvf(path) == parse(tdvf(), "fw.fd")


@given(st.integers(0, 1 << 32), st.integers(1, 40))
def test_a_damaged_image_is_read_or_refused(seed: int, count: int) -> None:
    """Bytes of the metadata and of the table become others."""
    random = Random(seed)
    image = bytearray(tdvf(volume=variables()))
    for _ in range(count):
        at = random.choice((random.randrange(0x7000, 0x7090), random.randrange(0x7F80, 0x8000)))
        image[at] = random.choice((0, 0xFF, random.randrange(256)))
    with suppress(BackendError):
        found = parse(bytes(image), "fw.fd")
        for section in found.sections:
            assert len(section.data) <= section.size
            assert not section.gpa % 4096
        assert len(without_variables(found).sections) == len(found.sections)


def test_without_variables() -> None:
    found = parse(tdvf(volume=variables()), "fw.fd")
    emptied = without_variables(found)
    assert emptied.sections[0] == found.sections[0]
    volume, old = emptied.sections[1].data, found.sections[1].data
    assert len(volume) == len(old)
    # The volume's header and that of the store stay, and what is behind the store.
    assert volume[:100] == old[:100]
    assert volume[100 : 0x48 + 0x1000] == b"\xff" * (0x48 + 0x1000 - 100)
    assert volume[0x48 + 0x1000 :] == old[0x48 + 0x1000 :]


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(b"", id="no header"),
        pytest.param(variables(header=0x2000)[:0x2000], id="nothing in it"),
        pytest.param(variables()[:0x48], id="another thing in it"),
        pytest.param(variables(0), id="a store of no size"),
        pytest.param(variables(0x1C), id="an empty store"),
    ],
)
def test_no_variables_to_leave_out(volume: bytes) -> None:
    found = parse(tdvf(volume=volume), "fw.fd")
    assert without_variables(found) == found


def test_a_store_that_says_it_is_huge() -> None:
    emptied = without_variables(parse(tdvf(volume=variables(0xFFFF_FFFF)), "fw.fd"))
    assert emptied.sections[1].data[100:] == b"\xff" * (0x2000 - 100)


def test_the_real_firmware() -> None:
    found = read_tdvf(fetched("firmware/OVMF.inteltdx.ms.fd"))
    kinds = [section.kind for section in found.sections]
    assert kinds.count(Kind.BFV) == kinds.count(Kind.CFV) == 1
    assert found.hob.gpa == HOB
    code = next(section for section in found.sections if section.kind is Kind.BFV)
    assert (code.gpa + code.size, code.measured) == (1 << 32, True)
    assert without_variables(found) != found
