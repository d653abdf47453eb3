"""Machine code as text: what Capstone does not know, what is no code, and going backwards."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import Regs
from tdxdbg.decode.disassembly import (
    LONGEST,
    Instruction,
    Read,
    around,
    asks_for,
    decode,
    disassemble,
    tdcall_name,
)

AT = 0x100000


def texts(code: str, bits: int = 64) -> list[str]:
    return [one.text for one in disassemble(bytes.fromhex(code), AT, bits=bits)]


@pytest.mark.parametrize(
    ("code", "text", "size"),
    [
        # Intel SDM, volume 2, and the TDX CPU Architectural Extensions.
        ("66 0f 01 cc", "tdcall", 4),
        ("66 0f 01 cd", "seamret", 4),
        ("66 0f 01 ce", "seamops", 4),
        ("66 0f 01 cf", "seamcall", 4),
        # Prefixes that mean nothing here, in any order.
        ("2e 66 0f 01 cc", "tdcall", 5),
        ("66 64 67 0f 01 cc", "tdcall", 6),
        ("66 48 0f 01 cf", "seamcall", 5),
        ("48 66 0f 01 cc", "tdcall", 5),
        ("66 66 66 66 66 66 66 66 66 66 66 66 0f 01 cc", "tdcall", 15),
        # 16 bytes are no instruction; F2, F3 and LOCK make it another or none.
        ("66 66 66 66 66 66 66 66 66 66 66 66 66 0f 01 cc", ".byte 0x66", 1),
        ("f3 66 0f 01 cc", ".byte 0xf3", 1),
        ("66 f2 0f 01 cc", ".byte 0x66", 1),
        ("f0 66 0f 01 cc", ".byte 0xf0", 1),
        # Without 66.
        ("0f 01 cf", "encls", 3),
        ("0f 01 cc", ".byte 0x0f", 1),
        ("0f 01 c1", "vmcall", 3),
        ("66 0f 01", ".byte 0x66", 1),
        # Ordinary ones.
        ("b8 01 00 00 00", "mov eax, 1", 5),
        ("0f a2", "cpuid", 2),
        ("fa", "cli", 1),
        ("f3 0f 1e fa", "endbr64", 4),
        ("06", ".byte 0x06", 1),
    ],
)
def test_decode(code: str, text: str, size: int) -> None:
    one = decode(bytes.fromhex(code), AT)
    assert (one.text, len(one.data), one.end) == (text, size, AT + size)
    assert one.is_data == text.startswith(".byte")


def test_32_bits() -> None:
    assert texts("40 66 0f 01 cc 06 b8 01 00 00 00", bits=32) == [
        "inc eax",
        "tdcall",
        "push es",
        "mov eax, 1",
    ]


def test_what_is_no_code_does_not_swallow_a_tdcall() -> None:
    assert texts("06 0e 66 0f 01 cc 90") == [".byte 0x06", ".byte 0x0e", "tdcall", "nop"]


def test_an_instruction_cut_off_is_bytes() -> None:
    assert texts("90 b8 01 00") == ["nop", ".byte 0xb8", "add dword ptr [rax], eax"][:2] + texts(
        "01 00"
    )


def test_comments_name_targets() -> None:
    names = {0x100000: "start", 0x10000A: "after", 0x103000: "\x1b[31m"}
    found = disassemble(
        bytes.fromhex("e8fbffffff 7403 90 ffe0 488b05ee2f0000 488d0500000000"),
        AT,
        name_of=lambda address: names.get(address, ""),
    )
    assert [(one.text, one.comment) for one in found] == [
        ("call 0x100000", "start"),
        ("je 0x10000a", "after"),
        ("nop", ""),
        ("jmp rax", ""),
        ("mov rax, qword ptr [rip + 0x2fee]", "0x102fff"),
        ("lea rax, [rip]", "0x100018"),
    ]


def test_count() -> None:
    assert len(disassemble(b"\x90" * 100, AT, count=7)) == 7
    assert disassemble(b"", AT) == []


@given(data=st.binary(max_size=64), bits=st.sampled_from([32, 64]))
def test_every_byte_is_in_one_instruction(data: bytes, bits: int) -> None:
    found = disassemble(data, AT, bits=bits)
    assert b"".join(one.data for one in found) == data
    at = AT
    for one in found:
        assert one.address == at
        assert 1 <= len(one.data) <= LONGEST
        at = one.end


# --- around RIP -----------------------------------------------------------------------


def memory(data: bytes, base: int = AT) -> Read:
    def read(address: int, size: int) -> bytes:
        at = address - base
        return data[at : at + size] if 0 <= at < len(data) else b""

    return read


#: What compilers and people write: prologue, calls, TDCALL, branches.
CODE = bytes.fromhex(
    "55 4889e5 4883ec20 4531d2 41bb01000100 b900fc0000 31c0 660f01cc 4d85d2 7507"
    "488b0512340000 4889c7 e800000000 c9 c3 f30f1efa 0f1f440000 8b042510000000 0f30 ebfe"
)


@pytest.mark.parametrize("known", [True, False])
def test_before_every_instruction(known: bool) -> None:
    whole = disassemble(CODE, AT)
    for index, here in enumerate(whole):
        found = around(memory(CODE), here.address, before=4, after=2, start=AT if known else None)
        place = found.index(here)
        assert found[place:] == whole[index : index + 3]
        # Near the beginning there is little to fall into step with.
        assert known or index < 4 or place == 4
        if known or index >= 4:
            assert found[:place] == whole[max(index - 4, 0) : index]


def test_before_the_symbol_as_well() -> None:
    whole = disassemble(CODE, AT)
    start = whole[12].address
    found = around(memory(CODE), whole[13].address, before=6, after=0, start=start)
    assert found == whole[7:14]


def test_data_in_front_of_rip() -> None:
    """A symbol whose bytes do not lead to RIP is no help, and no harm."""
    data = b"\x48\xb8" + b"\x90" * 4 + b"\xf4" * 9
    found = around(memory(data), AT + 6, before=3, after=0, start=AT)
    assert found[-1].text == "hlt"
    assert [one.text for one in found[:-1]] == ["nop"] * 3


@pytest.mark.parametrize("rip", [0, 5, AT - 1, AT + 64, (1 << 64) - 1])
def test_where_nothing_can_be_read(rip: int) -> None:
    assert around(memory(b"\x90" * 64), rip) == []


def test_at_the_ends_of_the_address_space() -> None:
    low = around(memory(b"\x90" * 64, 0), 3, before=8, after=1)
    assert [one.address for one in low] == [0, 1, 2, 3, 4]
    end = 1 << 64
    high = around(memory(b"\x90" * 0x1000, end - 0x1000), end - 3, before=2, after=8)
    assert [one.address - end for one in high] == [-5, -4, -3, -2, -1]


def test_pages_that_cannot_be_read_end_it() -> None:
    page = bytes([0x90]) * 0x1000
    found = around(memory(page, 0x200000), 0x200002, before=8, after=0, start=0x1FFFF0)
    assert [one.address for one in found] == [0x200000, 0x200001, 0x200002]


@given(
    data=st.binary(min_size=1, max_size=300),
    rip=st.integers(0, 300),
    start=st.none() | st.integers(-20, 320),
    before=st.integers(0, 40),
)
def test_always_in_order_and_through_rip(
    data: bytes, rip: int, start: int | None, before: int
) -> None:
    begin = None if start is None else AT + start
    found = around(memory(data), AT + rip, before=before, after=3, start=begin)
    assert bool(found) == (rip < len(data))
    for one, next_ in pairwise(found):
        assert one.end == next_.address
    if found:
        addresses = [one.address for one in found]
        assert AT + rip in addresses
        assert addresses.index(AT + rip) <= before
        for one in found:
            assert one.data == data[one.address - AT : one.end - AT]


# --- what it asks for -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("regs", "text"),
    [
        (Regs(rcx=0xFC00, r11=0x10001), "TDG.VP.VMCALL<MapGPA>"),
        (Regs(rcx=0xFC00, r11=30), "TDG.VP.VMCALL<Instruction.IO>"),
        (Regs(rcx=0xFC00, r11=0x777), "TDG.VP.VMCALL<0x777>"),
        (Regs(rcx=0xFC00, r10=12), "TDG.VP.VMCALL<KVM_HC_MAP_GPA_RANGE>"),
        # R11 is hidden: the host sees 0.
        (Regs(rcx=0xF000, r11=0x10001), "TDG.VP.VMCALL<0x0>"),
        (Regs(rcx=0xFC01, r11=0x10001), "TDG.VP.VMCALL, RCX 0xfc01 is refused"),
        (Regs(rax=6), "TDG.MEM.PAGE.ACCEPT"),
        (Regs(rax=0x10007), "TDG.VM.RD version 1"),
        (Regs(rax=13), "0xd"),
        (Regs(rax=1 << 63), "RAX 0x8000000000000000: reserved bits are set"),
    ],
)
def test_tdcall_by_its_registers(regs: Regs, text: str) -> None:
    assert tdcall_name(regs) == text
    assert asks_for(Instruction(AT, b"", "tdcall"), regs) == text


@pytest.mark.parametrize(
    ("code", "regs", "text"),
    [
        ("0f32", Regs(rcx=0x830), "0x830 IA32_X2APIC_ICR"),
        ("0f30", Regs(rcx=0x4444_0000), "0x44440000"),
        ("0fa2", Regs(rax=0x4000_0000, rcx=1), "leaf 0x40000000, sub-leaf 0x1"),
        ("ee", Regs(rdx=0xABC_03F8), "port 0x3f8 COM1"),
        ("ed", Regs(rdx=0x9999), "port 0x9999"),
        ("e4f4", Regs(), ""),
        ("90", Regs(), ""),
    ],
)
def test_instructions_by_their_registers(code: str, regs: Regs, text: str) -> None:
    assert asks_for(decode(bytes.fromhex(code), AT), regs) == text
