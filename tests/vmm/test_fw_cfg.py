"""fw_cfg: items, files and DMA (QEMU docs/specs/fw_cfg.rst, hw/nvram/fw_cfg.c)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi import fw_cfg as abi
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.vmm import Board, Chipset, Vmm
from tdxdbg.vmm.fw_cfg import LARGEST, FwCfg
from tests.engine.support import call
from tests.vmm.support import RAM, Memory, World

CONTENT = abi.Content(
    ((abi.NB_CPUS, b"\2\0"), (abi.KERNEL_DATA, bytes(range(256)) * 40)),
    (("etc/e820", b"map"), ("bootorder", b"")),
)
ACCESS = 0x2000
TARGET = 0x3800


def directory() -> bytes:
    """Files by name."""
    entries = [(0, 0x20, "bootorder"), (3, 0x21, "etc/e820")]
    return struct.pack(">I", 2) + b"".join(
        struct.pack(">IHH56s", size, key, 0, name.encode()) for size, key, name in entries
    )


def world_of(content: abi.Content = CONTENT) -> World:
    return World("7.3", Vmm(board=Board(chipset=Chipset.Q35, fw_cfg=content)))


def select(world: World, key: int) -> None:
    world.call(call(SubFunction.IO, 2, 1, abi.SELECTOR_PORT, key))


def read(world: World, count: int, port: int = abi.DATA_PORT) -> bytes:
    return bytes(world.call(call(SubFunction.IO, 1, 0, port)).regs.r11 for _ in range(count))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(abi.SIGNATURE, b"QEMU\0", id="signature"),
        pytest.param(abi.ID, b"\3\0\0\0\0", id="traditional and DMA"),
        pytest.param(abi.NB_CPUS, b"\2\0\0", id="an item, then zeroes"),
        pytest.param(abi.NB_CPUS | 0x4000, b"\2\0", id="the write channel is no other key"),
        pytest.param(abi.INITRD_SIZE, b"\0\0\0\0", id="nothing"),
        pytest.param(0x3FFF, b"\0", id="the last key"),
        pytest.param(abi.FILE_DIR, directory(), id="the directory"),
        pytest.param(0x21, b"map\0", id="a file"),
    ],
)
def test_items_byte_by_byte(key: int, expected: bytes) -> None:
    world = world_of()
    select(world, key)
    assert read(world, len(expected)) == expected
    select(world, key)
    assert read(world, 1, abi.SELECTOR_PORT) == expected[:1]


def test_nothing_is_written() -> None:
    world = world_of()
    select(world, abi.NB_CPUS)
    world.call(call(SubFunction.IO, 1, 1, abi.DATA_PORT, 9))
    world.call(call(SubFunction.IO, 1, 1, abi.SELECTOR_PORT, abi.SIGNATURE))
    assert read(world, 2) == b"\2\0"


def test_an_item_from_a_checkpoint() -> None:
    world = world_of()
    select(world, 0x21)
    read(world, 1)
    start = world.vmm.checkpoint()
    for _ in range(2):
        world.vmm.restore(start)
        assert read(world, 3) == b"ap\0"


@pytest.mark.parametrize("chipset", [Chipset.NONE, Chipset.PC])
def test_other_boards_have_none(chipset: Chipset) -> None:
    world = World("7.3", Vmm(board=Board(chipset=chipset, fw_cfg=CONTENT)))
    select(world, abi.SIGNATURE)
    assert read(world, 4) == b"\xff" * 4


# --- DMA ------------------------------------------------------------------------------


def test_the_dma_register_reads_as_its_signature() -> None:
    world = world_of()
    for port, size, expected in ((0x514, 4, b"QEMU"), (0x518, 4, b" CFG"), (0x516, 1, b"M")):
        step = world.call(call(SubFunction.IO, size, 0, port))
        assert step.regs.r11 == int.from_bytes(expected, "little")


def swapped(value: int) -> int:
    return int.from_bytes(value.to_bytes(4, "big"), "little")


def dma(world: World, control: int, length: int, address: int, at: int = ACCESS) -> bytes:
    """What is in `control` after the access."""
    world.memory.write_gpa(at, struct.pack(">IIQ", control, length, address))
    world.call(call(SubFunction.IO, 4, 1, 0x514, swapped(at >> 32)))
    world.call(call(SubFunction.IO, 4, 1, 0x518, swapped(at & 0xFFFF_FFFF)))
    return world.memory.read_gpa(at, 4) or b""


OK, ERROR = bytes(4), b"\0\0\0\1"
SELECT_KERNEL = abi.KERNEL_DATA << 16 | abi.DMA_SELECT


@pytest.mark.parametrize(
    ("accesses", "outcome", "target"),
    [
        pytest.param([(SELECT_KERNEL | abi.DMA_READ, 4)], OK, b"\0\1\2\3\xee", id="read"),
        pytest.param(
            [(SELECT_KERNEL | abi.DMA_SKIP, 0x81), (abi.DMA_READ, 2)],
            OK,
            b"\x81\x82\xee",
            id="skip",
        ),
        pytest.param(
            [(SELECT_KERNEL | abi.DMA_SKIP, 10239), (abi.DMA_READ, 3)],
            OK,
            b"\xff\0\0\xee",
            id="zeroes behind the item",
        ),
        pytest.param(
            [(SELECT_KERNEL | abi.DMA_SKIP, LARGEST), (abi.DMA_READ, 2)], OK, b"\0\0\xee", id="end"
        ),
        pytest.param([(0x99 << 16 | 0xA, 2)], OK, b"\0\0\xee", id="no item"),
        pytest.param([(SELECT_KERNEL, 4)], OK, b"\xee", id="select only"),
        pytest.param([(SELECT_KERNEL | abi.DMA_READ, 0)], OK, b"\xee", id="no bytes"),
        pytest.param([(SELECT_KERNEL | abi.DMA_WRITE, 4)], ERROR, b"\xee", id="nothing is written"),
        pytest.param([(abi.DMA_READ, LARGEST + 1)], ERROR, b"\xee", id="too much"),
        pytest.param([(abi.DMA_READ, 0xFFFF_FFFF)], ERROR, b"\xee", id="far too much"),
    ],
)
def test_dma(accesses: list[tuple[int, int]], outcome: bytes, target: bytes) -> None:
    world = world_of()
    world.memory.share(0, 1 << 20)
    world.memory.write_gpa(TARGET, b"\xee" * 16)
    for control, length in accesses:
        last = dma(world, control, length, TARGET)
    assert last == outcome
    assert world.memory.read_gpa(TARGET, len(target)) == target


def test_dma_of_many_pages() -> None:
    world = world_of()
    world.memory.share(0, 1 << 20)
    assert dma(world, SELECT_KERNEL | abi.DMA_READ, 10240, TARGET) == OK
    assert world.memory.read_gpa(TARGET, 10240) == bytes(range(256)) * 40


def test_dma_reaches_shared_pages_only() -> None:
    world = world_of()
    world.memory.share(ACCESS, 0x1000)
    world.memory.share(0x4000, 0x1000)
    # The first half of the target is private: nothing arrives there.
    assert dma(world, SELECT_KERNEL | abi.DMA_READ, 0x1000, TARGET) == OK
    assert world.memory.read_gpa(TARGET, 0x800) == bytes(0x800)
    assert world.memory.read_gpa(0x4000, 4) == b"\0\1\2\3"
    # A private access reads as zeroes, which ask for nothing.
    world.memory.write_gpa(0x4000, b"\xee")
    dma(world, SELECT_KERNEL | abi.DMA_READ, 4, 0x4000, at=0x6000)
    assert world.memory.read_gpa(0x4000, 1) == b"\xee"


@pytest.mark.parametrize("address", [RAM - 2, RAM, (1 << 64) - 2, 1 << 47])
def test_dma_outside_the_ram(address: int) -> None:
    world = world_of()
    world.memory.share(0, RAM)
    assert dma(world, SELECT_KERNEL | abi.DMA_READ, 4, address) == ERROR
    # Nothing to say it with.
    world.call(call(SubFunction.IO, 4, 1, 0x514, swapped(address >> 32)))
    world.call(call(SubFunction.IO, 4, 1, 0x518, swapped(address & 0xFFFF_FFFF)))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 2, 4]),
            st.sampled_from([1, 2, 4, 8]),
            st.one_of(st.sampled_from([0, 0x0020_0000]), st.integers(0, (1 << 64) - 1)),
        ),
        max_size=12,
    ),
    st.binary(min_size=16, max_size=16),
)
def test_whatever_is_asked_for(asked: list[tuple[int, int, int]], access: bytes) -> None:
    memory = Memory(1 << 14)
    memory.share(0, 1 << 14)
    device = FwCfg(CONTENT)
    for offset, size, value in asked:
        memory.write_gpa(0x2000, access)
        device.ask(offset, size, value & (1 << 8 * size) - 1)
        if device.due >= 0:
            device.transfer(memory)
        assert device.due == -1
        assert 0 <= device.state.offset <= 10240
        hash(device.state)
