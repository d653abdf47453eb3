"""Why a step went the way it went: the notes of a Step name the checks that decided."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import HypercallAnswer, Input, Reentry, Td, TdExit, notes
from tdxdbg.engine.notes import Note
from tests.engine.support import BUS_LOCK, MIB2, SHARED, call, engine_in_td, map_gpa, tdcall

DONE = HypercallAnswer(0)
OFF = Td(exit_hypercall=False)

CALLS: list[tuple[str, Regs, Td, tuple[Note, ...]]] = [
    # facts: kernel_exits 4.2, the checks in their order
    ("6.16", map_gpa(0x1000, 0x1000), OFF, (notes.MAP_GPA_NOT_ENABLED,)),
    ("6.16", map_gpa(0x1000, 0), Td(), (notes.MAP_GPA_EMPTY,)),
    ("6.16", map_gpa(SHARED, 0x1000), Td(maxphyaddr=46), (notes.MAP_GPA_ILLEGAL,)),
    ("6.16", map_gpa(SHARED - 0x1000, 0x2000), Td(), (notes.MAP_GPA_CROSSES,)),
    ("6.16", map_gpa(0x1001, 0x1000), Td(), (notes.MAP_GPA_GPA_UNALIGNED,)),
    ("6.16", map_gpa(0x1000, 0x1001), Td(), (notes.MAP_GPA_SIZE_UNALIGNED,)),
    ("6.16", map_gpa(0x1000, 0x1000), Td(), (notes.MAP_GPA_CHUNK,)),
    # 4.1
    ("6.16", call(0, r10=1), Td(), (notes.VENDOR, notes.HYPERCALL_DONE)),
    ("6.16", call(0, r10=5), Td(), (notes.VENDOR, notes.HYPERCALL_NO_FEATURE)),
    ("6.16", call(0, r10=99), Td(), (notes.VENDOR, notes.HYPERCALL_UNKNOWN)),
    ("6.16", call(0, 1, r10=12), OFF, (notes.VENDOR, notes.HYPERCALL_NOT_ENABLED)),
    ("6.16", call(1, 1, r10=12), Td(), (notes.VENDOR, notes.HYPERCALL_BAD_RANGE)),
    ("6.16", call(0, 1, r10=12), Td(), (notes.VENDOR, notes.HYPERCALL_EXIT)),
    # 4.4
    ("6.16", call(30, 3, 0), Td(), (notes.IO_BAD_SIZE,)),
    ("6.16", call(30, 1, 2), Td(), (notes.IO_BAD_DIRECTION,)),
    ("6.16", call(30, 1, 0), Td(), (notes.IO_EXIT,)),
    ("6.16", call(30, 1, 0), Td(pio_devices=((0, 0),)), (notes.IO_IN_KERNEL,)),
    # 4.5
    ("6.16", call(48, 3, 0), Td(), (notes.MMIO_BAD_SIZE,)),
    ("6.16", call(48, 4, 2), Td(), (notes.MMIO_BAD_DIRECTION,)),
    ("6.16", call(48, 4, 0), Td(), (notes.MMIO_PRIVATE,)),
    ("6.16", call(48, 4, 1, SHARED), Td(fast_mmio=(0,)), (notes.MMIO_FAST,)),
    ("6.16", call(48, 4, 1, SHARED), Td(mmio_devices=((0, 7),)), (notes.MMIO_IN_KERNEL,)),
    ("6.16", call(48, 4, 1, SHARED), Td(), (notes.MMIO_EXIT,)),
    ("v19", call(48, 8, 1, 0xFFC), Td(), (notes.MMIO_CROSSES_PAGE,)),
    ("v19", call(48, 8, 1, 0), Td(memslots=((0, 1),)), (notes.MMIO_MEMSLOT,)),
    # 4.6
    ("6.16", call(10), Td(), (notes.CPUID,)),
    ("6.16", call(12), Td(), (notes.HLT,)),
    ("6.16", call(31), Td(), (notes.MSR_REFUSED,)),
    ("6.16", call(32), Td(user_space_msr_mask=7), (notes.MSR_EXIT,)),
    # 4.3, 4.7, 4.8 and 1.2
    ("6.16", call(SubFunction.GET_TD_VM_CALL_INFO), Td(), (notes.INFO_BASE,)),
    ("6.16", call(SubFunction.GET_TD_VM_CALL_INFO, 1), Td(), (notes.INFO_EXIT,)),
    ("6.16", call(SubFunction.GET_TD_VM_CALL_INFO, 2), Td(), (notes.INFO_BAD_LEAF,)),
    ("6.16", call(SubFunction.GET_QUOTE), Td(), (notes.QUOTE_PRIVATE,)),
    ("6.16", call(SubFunction.GET_QUOTE, SHARED), Td(), (notes.QUOTE_EXIT,)),
    ("6.16", call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT), Td(), (notes.NOTIFY_BAD_VECTOR,)),
    ("6.16", call(SubFunction.REPORT_FATAL_ERROR), Td(), (notes.FATAL,)),
    ("6.16", call(0x20000), Td(), (notes.UNKNOWN_SUB_FUNCTION,)),
    ("v19", call(0x20000), Td(), (notes.UNKNOWN_SUB_FUNCTION, notes.RAW_EXIT)),
]


@pytest.mark.parametrize(("generation", "regs", "td", "expected"), CALLS)
def test_call(generation: str, regs: Regs, td: Td, expected: tuple[Note, ...]) -> None:
    engine = engine_in_td(generation, td)
    assert tdcall(engine, call(12) if generation == "6.16" else call(0, r10=1)).notes
    # nothing is left of the exit before
    assert tdcall(engine, regs).notes == expected


SEQUENCES: list[tuple[str, list[Input], list[tuple[Note, ...]]]] = [
    (
        "7.3",
        [TdExit(0, 77, map_gpa(0, 2 * MIB2)), Reentry(0, DONE), Reentry(0, DONE)],
        [(notes.MAP_GPA_CHUNK,), (notes.MAP_GPA_CHUNK,), (notes.MAP_GPA_DONE,)],
    ),
    (
        "7.3",
        [TdExit(0, 77, map_gpa(0, 2 * MIB2)), Reentry(0, DONE, has_events=True)],
        [(notes.MAP_GPA_CHUNK,), (notes.MAP_GPA_EVENT,)],
    ),
    (
        "7.3",
        [TdExit(0, 77, map_gpa(0, MIB2)), Reentry(0, HypercallAnswer(16)), Reentry(0)],
        [(notes.MAP_GPA_CHUNK,), (notes.MAP_GPA_BAD_ANSWER,), (notes.NO_COMPLETER,)],
    ),
    (
        "7.3",
        [
            TdExit(0, 77, map_gpa(0, MIB2)),
            Reentry(0, DONE, immediate_exit=True),
            Reentry(0, signal_pending=True),
        ],
        [
            (notes.MAP_GPA_CHUNK,),
            (notes.MAP_GPA_DONE, notes.IMMEDIATE_EXIT),
            (notes.NO_COMPLETER, notes.SIGNAL),
        ],
    ),
    (
        "7.3",
        [TdExit(0, 77 | BUS_LOCK, call(12)), Reentry(0)],
        [(notes.HLT, notes.BUS_LOCK, notes.BUS_LOCK_EXIT), (notes.NO_COMPLETER,)],
    ),
    (
        "7.2",
        [TdExit(0, 77 | BUS_LOCK, call(12))],
        [(notes.BUS_LOCK_HIDES_REASON, notes.UNKNOWN_SUB_FUNCTION)],
    ),
    (
        "6.16",
        [TdExit(0, 49, Regs()), Reentry(0)],
        [(notes.VP_ENTER_EPT_MISCONFIG,), (notes.VM_DEAD,)],
    ),
]


@pytest.mark.parametrize(("generation", "events", "expected"), SEQUENCES)
def test_sequence(generation: str, events: list[Input], expected: list[tuple[Note, ...]]) -> None:
    engine = engine_in_td(generation)
    assert [engine.feed(event).notes for event in events] == expected


def test_a_note_is_a_few_words_and_a_kernel_function() -> None:
    table = [value for value in vars(notes).values() if isinstance(value, Note)]
    assert len(set(table)) == len(table)
    for note in table:
        assert 0 < len(note.text) < 120
        assert note.text.isascii()
        assert note.function.isidentifier()
