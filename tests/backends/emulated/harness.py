"""A TD of 16 MiB with page tables, GDT, IDT and TSS made here, around a small guest."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.backends import Pause
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.memory import Slot
from tdxdbg.backends.emulated.td import Image, TdConfig, open_machine
from tdxdbg.backends.emulated.vmcb import StartState, protected_mode
from tdxdbg.engine.state import TdExit
from tdxdbg.module import TdParams
from tests.backends.emulated.guests import IMAGES

CODE: Final = 0x100000
TABLES: Final = 0x10000
GDT: Final = 0x6000
TSS: Final = 0x6800
IDT: Final = 0x7000
RAM: Final = 16 << 20
#: Accepted from the start; the rest of the RAM is not.
ADDED: Final = 8 << 20

#: Linear addresses: 0 = RAM, 1 GiB = RAM through the shared bit, 2 GiB = a device, shared.
SHARED_LINEAR: Final = 1 << 30
DEVICE_LINEAR: Final = 2 << 30
DEVICE_GPA: Final = 0xFEC0_0000

REPORT_FATAL: Final = 0x10003


def page_tables(shared_mask: int, at: int = TABLES) -> bytes:
    """2 MiB pages, for ring 3 as well; `at`: the GPA where they are to be."""
    tables = bytearray(0x5000)

    def put(offset: int, entry: int) -> None:
        struct.pack_into("<Q", tables, offset, entry)

    put(0, at + 0x1000 | 7)
    for number in range(3):
        put(0x1000 + 8 * number, at + 0x2000 + 0x1000 * number | 7)
    for page in range(RAM >> 21):
        put(0x2000 + 8 * page, page << 21 | 0x87)
        put(0x3000 + 8 * page, page << 21 | 0x87 | shared_mask)
    put(0x4000, DEVICE_GPA | 0x87 | shared_mask)
    return bytes(tables)


def descriptors(tss_at: int = TSS) -> bytes:
    """0x10 code, 0x18 data, 0x20 code32 and 0x28 data and 0x30 code of ring 3, 0x38 TSS."""
    tss = 0x0000_8900_0000_0067 | (tss_at & 0xFFFFFF) << 16
    table = (
        0,
        0,
        0x00AF_9B00_0000_FFFF,
        0x00CF_9300_0000_FFFF,
        0x00CF_FB00_0000_FFFF,
        0x00CF_F300_0000_FFFF,
        0x00AF_FB00_0000_FFFF,
        tss,
        0,
        0x00CF_1300_0000_FFFF,  # 0x48: data, not present
        0x00AF_1B00_0000_FFFF,  # 0x50: code, not present
        0x00CF_9B00_0000_FFFF,  # 0x58: code of 32 bits
        0x00AF_9F00_0000_FFFF,  # 0x60: conforming code
    )
    return struct.pack(f"<{len(table)}Q", *table)


class Gate(NamedTuple):
    vector: int
    kind: int = 0x8E
    stack: int = 0
    selector: int = 0x10


def gates(wanted: Iterable[int | Gate]) -> bytes:
    """Handlers at CODE + 0x1000 + 32 * vector."""
    table = bytearray(0x1000)
    for item in wanted:
        gate = item if isinstance(item, Gate) else Gate(item)
        target = CODE + 0x1000 + 32 * gate.vector
        struct.pack_into(
            "<HHBBHI",
            table,
            16 * gate.vector,
            target & 0xFFFF,
            gate.selector,
            gate.stack,
            gate.kind,
            target >> 16 & 0xFFFF,
            target >> 32,
        )
    return bytes(table)


def task_state(rsp0: int = 0x380000, ist1: int = 0x390000) -> bytes:
    """A TSS with these stacks."""
    tss = bytearray(0x68)
    struct.pack_into("<Q", tss, 4, rsp0)
    struct.pack_into("<Q", tss, 0x24, ist1)
    return bytes(tss)


def code_images(name: str) -> tuple[Image, ...]:
    return tuple(Image(CODE + at, bytes.fromhex(text)) for at, text in IMAGES[name])


def machine(
    name: str,
    vectors: Iterable[int | Gate] = (20,),
    *,
    vcpus: int = 1,
    gpaw: int = 48,
    attributes: int = 1 << 28,
    seed: int = 0,
    start32: bool = False,
    idt_limit: int = 0xFFF,
    large_pages: bool = False,
    added: tuple[tuple[int, int], ...] = ((0, ADDED),),
) -> Machine:
    """A TD that has not run, with a guest of `guests.IMAGES`."""
    starts = tuple(
        protected_mode(CODE, Regs(rsp=0x80000, rdi=0x1234))
        if start32
        else StartState(
            CODE,
            Regs(rsp=0x80000 - 0x8000 * index, rdi=index),
            cr3=TABLES,
            gdt=(GDT, 0x67),
            idt=(IDT, idt_limit),
        )
        for index in range(vcpus)
    )
    params = TdParams(gpaw=gpaw, attributes=attributes, num_vcpus=vcpus, max_vcpus=vcpus)
    images = (
        Image(TABLES, page_tables(params.shared_mask)),
        Image(GDT, descriptors()),
        Image(TSS, task_state()),
        Image(IDT, gates(vectors)),
        *code_images(name),
    )
    return open_machine(TdConfig(params, (Slot(0, RAM),), starts, images, added, seed, large_pages))


def answer(exit_: TdExit) -> Regs:
    """Success, with nothing in the outputs."""
    return exit_.regs._replace(r10=0)


def is_pending(exit_: TdExit) -> bool:
    """An access to a page that was never accepted: KVM gives the TD up."""
    return exit_.vp_enter_ret == 0x30 and exit_.regs.rdx & 0xF == 6


def run(
    subject: Machine, limit: int = 2000, *, instructions: int = 5_000_000
) -> tuple[list[TdExit], TdExit | Pause]:
    """Answer every exit with success until the guest is done (ReportFatalError) or stops.

    Returns the exits before the last thing, and that.
    """
    subject.instruction_limit = instructions
    exits: list[TdExit] = []
    for index in range(len(subject.vcpus) - 1):
        subject.vcpus[index].where = type(subject.vcpus[index].where).TD
    last = subject.vp_enter(len(subject.vcpus) - 1, NO_REGS)
    while isinstance(last, TdExit) and len(exits) < limit:
        if last.vp_enter_ret != 0x30 and last.regs.r11 == REPORT_FATAL:
            break
        if last.vp_enter_ret >> 62 or is_pending(last):
            break
        exits.append(last)
        halted = last.vp_enter_ret == 77 and last.regs.r11 == 12
        last = subject.vp_enter(last.vcpu, answer(last), halted=halted)
    return exits, last
