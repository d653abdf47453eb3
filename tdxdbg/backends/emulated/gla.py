"""The linear address of a nested page fault, which SVM does not report.

Needed for the #VE of a private page that is pending. Candidates are the
operands of the instruction and what it reaches by itself; one is right if it
translates to the page that faulted, or if its translation stops there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdxdbg.abi.regs import RSP, U64
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.context import Context
from tdxdbg.backends.emulated.memory import PAGE, Memory
from tdxdbg.backends.emulated.paging import translate
from tdxdbg.backends.emulated.space import code_at_rip

_PAGE_MASK: Final = -PAGE


def find(memory: Memory, context: Context, shared_mask: int, gpa: int) -> int:
    """The linear address of an access that reached `gpa`; 0 if it cannot be told."""
    for address in _candidates(memory, context, shared_mask):
        found = translate(memory, context, shared_mask, address, 0)
        reached = found.gpa if found.table_gpa < 0 else found.table_gpa
        if found.fault < 0 and reached & _PAGE_MASK == gpa & _PAGE_MASK:
            return address
    return 0


def find_plain(memory: Memory, context: Context, shared_mask: int, gpa: int) -> int:
    """The same for any page of RAM, whether it is shared or not; -1 if it cannot be told.

    `gpa` is without the shared bit, and the address is exactly that of its byte.
    """
    for address in _candidates(memory, context, shared_mask):
        found = translate(memory, context, shared_mask, address, 0)
        if found.is_mapped and (found.gpa & ~shared_mask ^ gpa) & _PAGE_MASK == 0:
            return address & _PAGE_MASK | gpa & ~_PAGE_MASK
    return -1


def _candidates(memory: Memory, context: Context, shared_mask: int) -> Iterator[int]:
    """Linear addresses that the instruction at RIP may access."""
    code = code_at_rip(memory, context, shared_mask, 15)
    for address, size in _operands(context, code):
        yield address
        yield address + size - 1 & U64
    rsp = context.q[ctx.GPRS + RSP]
    yield from (rsp - 8 & U64, rsp, context.rip, context.rip + 15 & _PAGE_MASK & U64)
    for table in (ctx.GDTR, ctx.LDTR, ctx.IDTR, ctx.TR):
        base = context.segment_base(table)
        yield from (base, base + PAGE)


def _operands(context: Context, code: bytes) -> Iterator[tuple[int, int]]:
    """Address and size of the memory operands, by Capstone."""
    import capstone
    from capstone import x86

    mode = capstone.CS_MODE_64 if context.is_64bit else capstone.CS_MODE_32
    decoder = capstone.Cs(capstone.CS_ARCH_X86, mode)
    decoder.detail = True
    for instruction in decoder.disasm(code, context.rip, 1):
        end = context.rip + instruction.size
        for operand in instruction.operands:
            if operand.type != x86.X86_OP_MEM:
                continue
            mem = operand.mem
            address = _register(context, instruction.reg_name(mem.base), end) + mem.disp
            address += _register(context, instruction.reg_name(mem.index), end) * mem.scale
            segment = instruction.reg_name(mem.segment)
            if segment in ("fs", "gs"):
                number = ctx.FS if segment == "fs" else ctx.GS
                address += context.segment_base(number)
            width = instruction.addr_size * 8
            yield address & (1 << width) - 1 & U64, max(operand.size, 1)


_NAMES: Final = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")


def _register(context: Context, name: str | None, next_rip: int) -> int:
    """The value of an address register; 0 for none."""
    if not name:
        return 0
    if name in ("rip", "eip"):
        return next_rip
    short = name.lstrip("re").rstrip("d") if name[1:2].isdigit() else name[-2:]
    if short in _NAMES:
        return context.q[ctx.GPRS + _NAMES.index(short)] & _mask(name)
    digits = name.lstrip("r").rstrip("d")
    return context.q[ctx.GPRS + int(digits)] & _mask(name) if digits.isdigit() else 0


def _mask(name: str) -> int:
    return 0xFFFF_FFFF if name.startswith("e") or name.endswith("d") else U64
