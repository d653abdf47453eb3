"""Which device gets which bytes of an access."""

from __future__ import annotations

import pytest

from tdxdbg.vmm.bus import Bus, Region


class Probe:
    """Notes its accesses; reads its own offsets."""

    def __init__(self, stop: str = "") -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.stop = stop

    def read(self, offset: int, size: int) -> int:
        self.seen.append((offset, size, -1))
        return int.from_bytes(bytes(offset + at & 0xFF for at in range(size)), "little")

    def write(self, offset: int, size: int, value: int) -> str:
        self.seen.append((offset, size, value))
        return self.stop


@pytest.mark.parametrize(
    ("width", "address", "size", "pieces", "data"),
    [
        (1, 0x100, 1, [(0, 1)], b"\0"),
        (1, 0x100, 4, [(0, 1), (1, 1), (2, 1), (3, 1)], b"\0\1\2\3"),
        (4, 0x100, 4, [(0, 4)], b"\0\1\2\3"),
        (4, 0x100, 8, [(0, 4), (4, 4)], bytes(range(8))),
        (4, 0x102, 4, [(2, 2), (4, 2)], b"\2\3\4\5"),
        (4, 0x101, 4, [(1, 1), (2, 2), (4, 1)], b"\1\2\3\4"),
        (4, 0x10C, 2, [(12, 2)], b"\x0c\x0d"),
        # Beyond either end nobody answers.
        (4, 0x10E, 4, [(14, 2)], b"\x0e\x0f\xee\xee"),
        (1, 0x0FF, 2, [(0, 1)], b"\xee\0"),
        (1, 0x0F0, 4, [], b"\xee" * 4),
        (1, 0x110, 4, [], b"\xee" * 4),
        (1, 0xFFFF, 4, [], b"\xee" * 4),
    ],
)
def test_an_access_is_split(
    width: int, address: int, size: int, pieces: list[tuple[int, int]], data: bytes
) -> None:
    probe = Probe()
    bus = Bus((Region(0x100, 16, width, probe),), 0xEE)
    assert bus.read(address, size) == data
    assert [seen[:2] for seen in probe.seen] == pieces
    probe.seen.clear()
    assert bus.write(address, data) == ""
    assert [seen[:2] for seen in probe.seen] == pieces
    for offset, length, value in probe.seen:
        at = 0x100 + offset - address
        assert value == int.from_bytes(data[at : at + length], "little")


def test_a_wide_access_reaches_two_devices() -> None:
    low, high = Probe("first"), Probe("second")
    bus = Bus((Region(0x104, 4, 2, high), Region(0x100, 4, 2, low)), 0)
    assert bus.read(0x102, 4) == b"\2\3\0\1"
    assert bus.write(0x102, b"abcd") == "first"
    assert low.seen[-1] == (2, 2, int.from_bytes(b"ab", "little"))
    assert high.seen[-1] == (0, 2, int.from_bytes(b"cd", "little"))


def test_an_empty_bus() -> None:
    assert Bus((), 0).read(5, 3) == bytes(3)
    assert Bus((), 0).write(5, b"abc") == ""
