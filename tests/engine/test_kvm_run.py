"""Views of the union in struct kvm_run (facts: kernel_exits 1.5)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.kvm import RUN_UNION_SIZE, Exit
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import ALL_BYTES, KvmRun, Layout, layout_of, recorded_run

#: exit reason, the first two u64s, the member
MEMBERS = [
    (Exit.EXCEPTION, 0, 0, kvm_run.EX),
    (Exit.IO, 0, 0, kvm_run.IO),
    (Exit.HYPERCALL, 0, 0, kvm_run.HYPERCALL),
    (Exit.MMIO, 0, 0, kvm_run.MMIO),
    (Exit.SHUTDOWN, 1, 1, kvm_run.EMPTY),
    (Exit.FAIL_ENTRY, 0, 0, kvm_run.FAIL_ENTRY),
    (Exit.INTERNAL_ERROR, 0, 0, kvm_run.INTERNAL),
    (Exit.SYSTEM_EVENT, 0, 0, kvm_run.SYSTEM_EVENT),
    (Exit.X86_RDMSR, 0, 0, kvm_run.MSR),
    (Exit.X86_WRMSR, 0, 0, kvm_run.MSR),
    (Exit.X86_BUS_LOCK, 0, 0, kvm_run.EMPTY),
    (Exit.NOTIFY, 0, 0, kvm_run.NOTIFY),
    (Exit.MEMORY_FAULT, 0, 0, kvm_run.MEMORY_FAULT),
    (Exit.INTR, 0, 0, kvm_run.EMPTY),
    (12345, 0, 0, kvm_run.EMPTY),
    # the heuristic that tells the two KVM_EXIT_TDX apart
    (Exit.TDX, 0, 0x10000, kvm_run.TDX_GET_TDVMCALL_INFO),
    (Exit.TDX, 0, 0x10002, kvm_run.TDX_GET_QUOTE),
    (Exit.TDX, 0, 0x10004, kvm_run.TDX_SETUP_EVENT_NOTIFY),
    (Exit.TDX, 0, 0x10001, kvm_run.TDX_UNKNOWN),
    (Exit.TDX, 0, 0xFFCC, kvm_run.TDX_UNKNOWN),
    (Exit.TDX, 1, 0xFFCC, kvm_run.TDX_RAW),
    (Exit.TDX, 0xABCD_0000_0001, 0, kvm_run.TDX_RAW),  # the padding is not written
]


def union_of(*words: int) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words).ljust(RUN_UNION_SIZE, b"\0")


@pytest.mark.parametrize(("reason", "first", "second", "layout"), MEMBERS)
def test_member(reason: int, first: int, second: int, layout: Layout) -> None:
    assert layout_of(reason, union_of(first, second)) is layout


def test_values_of_an_array() -> None:
    union = union_of(12, 0x1000, 2, 0x10, 7, 8, 9, 5, 1)
    run = KvmRun(Exit.HYPERCALL, kvm_run.HYPERCALL, union)
    assert run.values() == {
        "nr": 12,
        "args": [0x1000, 2, 0x10, 7, 8, 9],
        "ret": 5,
        "flags": 1,
    }
    assert (run.get("args", 1), run.get("ret")) == (2, 5)


@pytest.mark.parametrize("name", ["data", "size", "nothing"])
def test_a_field_that_the_member_lacks(name: str) -> None:
    run = KvmRun(Exit.HYPERCALL, kvm_run.HYPERCALL, union_of())
    with pytest.raises(KeyError, match=name):
        run.get(name)


def test_a_field_is_known_when_all_its_bytes_are() -> None:
    ret = kvm_run.HYPERCALL.fields[2]
    assert ret.mask == 0xFF << 56
    for valid, value in ((ret.mask, 5), (ret.mask & ret.mask >> 1, None), (0, None)):
        run = KvmRun(Exit.HYPERCALL, kvm_run.HYPERCALL, union_of(*[5] * 8), valid, valid)
        assert run.value(ret) == run.get("ret") == value
        assert run.was_written(ret) is (value is not None)


def test_one_element_of_an_array_is_unknown() -> None:
    args = kvm_run.HYPERCALL.fields[1]
    assert args.mask == ((1 << 48) - 1) << 8
    run = KvmRun(Exit.HYPERCALL, kvm_run.HYPERCALL, union_of(*[3] * 8), valid=0xFF << 16)
    assert run.values()["args"] == [None, 3, None, None, None, None]


@pytest.mark.parametrize(("ndata", "data"), [(0, []), (2, [1, 2]), (16, [1, 2] + [0] * 14)])
def test_data_is_cut_to_ndata(ndata: int, data: list[int]) -> None:
    union = union_of(7 | ndata << 32, 1, 2)
    run = KvmRun(Exit.SYSTEM_EVENT, kvm_run.SYSTEM_EVENT, union)
    assert run.values() == {"type": 7, "ndata": ndata, "data": data}


def test_data_of_an_unknown_ndata_is_not_cut() -> None:
    run = KvmRun(Exit.SYSTEM_EVENT, kvm_run.SYSTEM_EVENT, union_of(), valid=0xF)
    values = run.values()
    assert values["ndata"] is None
    assert values["data"] == [None] * 16


def test_io_data_is_the_page() -> None:
    run = KvmRun(Exit.IO, kvm_run.IO, union_of(1 | 1 << 8 | 0x3F8 << 16, 0x1000), pio=b"A")
    assert run.values() == {
        "direction": 1,
        "size": 1,
        "port": 0x3F8,
        "count": 0,
        "data_offset": 0x1000,
        "data": "41",
    }


def test_a_recorded_run_knows_only_what_was_recorded() -> None:
    run = recorded_run(Exit.MMIO, (0xFEC0_0000).to_bytes(8, "little"), 0xFF, b"z")
    assert (run.layout, len(run.union), run.pio) == (kvm_run.MMIO, RUN_UNION_SIZE, b"z")
    assert run.get("phys_addr") == 0xFEC0_0000
    assert run.get("len") is None
    assert run.was_written(run.layout.fields[0])
    assert not run.was_written(run.layout.fields[2])


def test_every_byte_is_known_by_default() -> None:
    run = KvmRun(Exit.SHUTDOWN, kvm_run.EMPTY, union_of())
    assert (run.written, run.valid, run.values()) == (ALL_BYTES, ALL_BYTES, {})
