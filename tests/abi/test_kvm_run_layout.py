"""struct kvm_run: offset and size of every field, written down from the facts a second time."""

from __future__ import annotations

import pytest

from tdxdbg.abi.kvm import RUN_UNION_OFFSET, RUN_UNION_SIZE
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import Layout

# facts: kernel_exits 1.5: field offset size, arrays as size*count
TABLE: list[tuple[Layout, str, str]] = [
    (kvm_run.EMPTY, "", ""),
    (kvm_run.EX, "ex", "exception 32 4, error_code 36 4"),
    (
        kvm_run.IO,
        "io",
        "direction 32 1, size 33 1, port 34 2, count 36 4, data_offset 40 8",
    ),
    (kvm_run.HYPERCALL, "hypercall", "nr 32 8, args 40 8*6, ret 88 8, flags 96 8"),
    (kvm_run.MMIO, "mmio", "phys_addr 32 8, data 40 1*8, len 48 4, is_write 52 1"),
    (kvm_run.FAIL_ENTRY, "fail_entry", "hardware_entry_failure_reason 32 8, cpu 40 4"),
    (kvm_run.INTERNAL, "internal", "suberror 32 4, ndata 36 4, data 40 8*16"),
    (kvm_run.SYSTEM_EVENT, "system_event", "type 32 4, ndata 36 4, data 40 8*16"),
    (kvm_run.MSR, "msr", "error 32 1, reason 40 4, index 44 4, data 48 8"),
    (kvm_run.NOTIFY, "notify", "flags 32 4"),
    (kvm_run.MEMORY_FAULT, "memory_fault", "flags 32 8, gpa 40 8, size 48 8"),
    (kvm_run.TDX_UNKNOWN, "tdx", "flags 32 8, nr 40 8, ret 48 8, data 56 8*5"),
    (kvm_run.TDX_GET_QUOTE, "tdx", "flags 32 8, nr 40 8, ret 48 8, gpa 56 8, size 64 8"),
    (
        kvm_run.TDX_GET_TDVMCALL_INFO,
        "tdx",
        "flags 32 8, nr 40 8, ret 48 8, leaf 56 8, r11 64 8, r12 72 8, r13 80 8, r14 88 8",
    ),
    (kvm_run.TDX_SETUP_EVENT_NOTIFY, "tdx", "flags 32 8, nr 40 8, ret 48 8, vector 56 8"),
    (
        kvm_run.TDX_RAW,
        "tdx",
        "type 32 4, in_rcx 40 8, in_r10 48 8, in_r11 56 8, in_r12 64 8, in_r13 72 8,"
        " in_r14 80 8, in_r15 88 8, in_rbx 96 8, in_rdi 104 8, in_rsi 112 8, in_r8 120 8,"
        " in_r9 128 8, in_rdx 136 8, out_r10 144 8, out_r11 152 8, out_r12 160 8, out_r13 168 8,"
        " out_r14 176 8, out_r15 184 8, out_rbx 192 8, out_rdi 200 8, out_rsi 208 8,"
        " out_r8 216 8, out_r9 224 8, out_rdx 232 8",
    ),
]


def parse(text: str) -> list[tuple[str, int, int, int]]:
    fields = []
    for part in filter(None, text.split(", ")):
        for piece in part.split(","):
            name, offset, size = piece.split()
            single, _, count = size.partition("*")
            fields.append((name, int(offset), int(single), int(count or 0)))
    return fields


@pytest.mark.parametrize(("layout", "member", "fields"), TABLE, ids=[row[2][:20] for row in TABLE])
def test_layout(layout: Layout, member: str, fields: str) -> None:
    assert layout.member == member
    got = [(field.name, field.offset, field.size, field.count) for field in layout.fields]
    assert got == parse(fields)


@pytest.mark.parametrize("layout", [row[0] for row in TABLE])
def test_fields_do_not_overlap_and_lie_in_the_union(layout: Layout) -> None:
    at = RUN_UNION_OFFSET
    for field in layout.fields:
        assert field.offset >= at
        at = field.offset + field.size * (field.count or 1)
    assert at <= RUN_UNION_OFFSET + RUN_UNION_SIZE


def test_v19_struct_is_208_bytes() -> None:
    last = kvm_run.TDX_RAW.fields[-1]
    assert last.offset + last.size - RUN_UNION_OFFSET == 208


def test_every_layout_is_in_the_table() -> None:
    layouts = {id(value) for value in vars(kvm_run).values() if isinstance(value, Layout)}
    assert layouts == {id(row[0]) for row in TABLE}


def test_the_page_of_port_io() -> None:
    assert kvm_run.PIO_DATA_OFFSET == 0x1000
