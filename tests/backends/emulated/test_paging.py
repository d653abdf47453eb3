"""The walk in Python, beside the walk of the emulated CPU itself."""

from __future__ import annotations

import struct
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.regs import NO_REGS
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated import paging, vmcb
from tdxdbg.backends.emulated.exits import Exit
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.space import CodeReader, peek
from tests.backends.emulated.harness import CODE, TABLES, machine

#: Linear address whose tables the tests change; its page is at 0x600000.
ADDRESS: Final = 5 << 39 | 6 << 30 | 7 << 21 | 8 << 12
PAGE: Final = 0x600000
#: mov (%rbx), %rax; mov %rax, (%rbx); jmp *%rbx
READ, WRITE, JUMP = bytes.fromhex("488b03"), bytes.fromhex("488903"), bytes.fromhex("ffe3")

PRESENT, WRITABLE, USER, LARGE, NX = 1, 2, 4, 0x80, 1 << 63


def subject() -> Machine:
    made = machine("spin")
    made.instruction_limit = 4
    made.vp_enter(0, NO_REGS)
    return made


SUBJECT: Final = subject()


def walk(flags: list[int], code: bytes, *, user: bool, write_protect: bool) -> Exit:
    """Run one instruction whose operand is ADDRESS, mapped with these flags (PML4 first)."""
    memory = SUBJECT.platform.memory
    tables = (TABLES, 0x610000, 0x611000, 0x612000, PAGE)
    for level, flag in enumerate(flags):
        index = ADDRESS >> (39 - 9 * level) & 511
        entry = tables[level + 1] | flag
        memory.write(tables[level] + 8 * index, struct.pack("<Q", entry))
    memory.write(CODE, code)
    memory.write(PAGE, b"\xf4")
    vcpu = SUBJECT.vcpus[0]
    context = vcpu.context
    context.rip = CODE
    context.regs = NO_REGS._replace(rbx=ADDRESS, rsp=0x80000)
    context.set_flat_code(0x33 if user else 0x10, 3 if user else 0)
    cr0 = context.q[ctx.CR0]
    context.q[ctx.CR0] = cr0 | 1 << 16 if write_protect else cr0 & ~(1 << 16)
    platform = SUBJECT.platform
    platform.cpu.flush_tlb()
    while True:
        end = platform.cpu.run(context, 2 if code == JUMP else 1)
        if end.code != vmcb.NESTED_PAGE_FAULT:
            return end
        assert SUBJECT._handler.handle(vcpu, end) is None


FLAGS: Final = st.tuples(
    st.sampled_from([PRESENT, PRESENT, PRESENT, 0]),
    st.sampled_from([0, WRITABLE]),
    st.sampled_from([0, USER]),
    st.sampled_from([0, 0, NX]),
).map(sum)


@settings(max_examples=300)
@given(
    st.lists(FLAGS, min_size=4, max_size=4),
    st.sampled_from([READ, WRITE, JUMP]),
    st.booleans(),
    st.booleans(),
)
def test_permissions_are_those_of_the_cpu(
    flags: list[int], code: bytes, user: bool, write_protect: bool
) -> None:
    end = walk(flags, code, user=user, write_protect=write_protect)
    access = {READ: 0, WRITE: paging.WRITE, JUMP: paging.FETCH}[code] | (paging.USER * user)
    platform, context = SUBJECT.platform, SUBJECT.vcpus[0].context
    found = paging.translate(platform.memory, context, platform.shared_mask, ADDRESS, access)
    if end.code == vmcb.EXCEPTION + 14:
        assert end.detail == ADDRESS
        assert found.fault == context.d[ctx.ERROR_CODE]
    else:
        assert (found.fault, found.gpa, found.size) == (-1, PAGE, 4096)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([7 | LARGE], paging.PRESENT | paging.RESERVED),
        ([7, 7 | LARGE], paging.PRESENT | paging.RESERVED),  # bits 20:13 of a 1 GiB page
        ([7, 7, 7], 0),
        ([7, 0], 0),
    ],
)
def test_reserved_bits(flags: list[int], expected: int) -> None:
    walk([*flags, 0, 0, 0, 0][:4], READ, user=False, write_protect=True)
    platform, context = SUBJECT.platform, SUBJECT.vcpus[0].context
    found = paging.translate(platform.memory, context, platform.shared_mask, ADDRESS, 0)
    assert found.fault == expected == context.d[ctx.ERROR_CODE]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0, True),
        (0x7FFF_FFFF_FFFF, True),
        (0x8000_0000_0000, False),
        (0xFFFF_8000_0000_0000, True),
        (0xFFFF_7FFF_FFFF_FFFF, False),
    ],
)
def test_canonical_addresses(address: int, expected: bool) -> None:
    assert paging.is_canonical(address) is expected


def test_walks_that_leave_the_ram_say_where() -> None:
    memory = SUBJECT.platform.memory
    memory.write(TABLES + 8 * 100, struct.pack("<Q", 1 << 45 | 7))
    context = SUBJECT.vcpus[0].context
    found = paging.translate(memory, context, 1 << 47, 100 << 39, 0)
    assert found.table_gpa == 1 << 45


@pytest.mark.parametrize(
    "entry", [PAGE | LARGE, PAGE | PRESENT | 1 << 51], ids=["absent", "reserved"]
)
def test_what_is_not_mapped_is_not_read(entry: int) -> None:
    """Nor the second time, when the walk could be remembered, nor by who only looks."""
    memory = SUBJECT.platform.memory
    walk([PRESENT] * 4, READ, user=False, write_protect=False)
    context = SUBJECT.vcpus[0].context
    context.rip = ADDRESS
    reader = CodeReader(memory, SUBJECT.platform.shared_mask)
    assert reader.read(context)[:1] == b"\xf4"
    memory.write(0x612000 + 8 * 8, struct.pack("<Q", entry))
    assert reader.read(context) == reader.read(context) == b""
    assert peek(memory, context, SUBJECT.platform.shared_mask, ADDRESS, 1) is None
