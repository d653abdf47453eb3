from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.decode.readings import bytes_in, number_in, readings
from tdxdbg.engine import Td

U64 = st.integers(0, (1 << 64) - 1)


def table(value: int | bytes, gpaw: int = 48) -> dict[str, str]:
    return {
        str(row.name): f"{row.raw} {row.meaning}".strip() for row in readings(value, Td(gpaw=gpaw))
    }


@pytest.mark.parametrize(
    ("value", "name", "says"),
    [
        (0x8000_4000_0000, "hex", "0x8000_4000_0000"),
        (0x8000_4000_0000, "decimal", "140738562097152"),
        (0x8000_4000_0000, "as a GPA", "0x40000000 shared: shared bit 47 is set"),
        (0x8000_4000_0000, "without the shared bit", "0x40000000"),
        (0x4000_0123, "as a GPA",
         "0x40000123 private: shared bit 47 is clear, 0x123 into its page"),
        (0x4000_0123, "with the shared bit", "0x800040000123"),
        (0x50_0000, "as a size", "5 MiB 1280 pages of 4 KiB"),
        (512, "as pages", "2 MiB"),
        (1, "as R10 of a TDVMCALL", "0x1 RETRY"),
        (1 << 63, "as R10 of a TDVMCALL", "0x8000000000000000 INVALID_OPERAND"),
        (0x10001, "as a sub-function (R11)", "0x10001 MapGPA"),
        (0xFFCC, "as RCX of a TDVMCALL", "0xffcc RDX RBX RSI RDI R8..R15"),
        (0xC000_0100_0000_0001, "as a TDX module status",
         "0xc000010000000001 TDX_OPERAND_INVALID, RCX"),
        ((1 << 64) - 22, "as a hypercall's result", "0xffffffffffffffea -KVM_EINVAL"),
        ((1 << 64) - 22, "decimal", "18446744073709551594 -22 signed"),
        (12, "as a hypercall", "0xc KVM_HC_MAP_GPA_RANGE"),
        (48, "as a VMX exit reason", "0x30 EPT_VIOLATION (48)"),
        (3, "as kvm_run.exit_reason", "0x3 KVM_EXIT_HYPERCALL"),
        (0x6E0, "as an MSR", "0x6e0 IA32_TSC_DEADLINE"),
        (0x3F8, "as an I/O port", "0x3f8 COM1"),
        (14, "as a vector", "0xe #PF"),
        (11, "as an errno", "0xb EAGAIN"),
        (5, "binary", "00000101 bits 2, 0"),
        (0x6948, "as text", "'Hi'"),
        (b"Hi", "bytes", "48 69 in memory order"),
        (b"Hi", "hex", "0x6948"),
        (b"\x1b[31m evil", "ASCII", "'\\x1b[31m evil'"),
    ],
)  # fmt: skip
def test_readings(value: int | bytes, name: str, says: str) -> None:
    assert table(value)[name] == says


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (5, "as a GPA"),
        (1 << 52, "as a GPA"),
        (5, "as a size"),
        (0, "as pages"),
        (1 << 60, "as pages"),
        (0x10001, "as a VMX exit reason"),
        ((1 << 64) - 1, "as a hypercall's result"),
        (0x41, "as text"),
        (0x1E, "as a vector"),
    ],
)
def test_what_makes_no_sense_is_left_out(value: int, name: str) -> None:
    assert name not in table(value)


@given(st.one_of(U64, st.binary(max_size=600)), st.sampled_from([48, 52]))
def test_anything_can_be_read_and_is_plain_text(value: int | bytes, gpaw: int) -> None:
    rows = readings(value, Td(gpaw=gpaw))
    assert rows
    for row in rows:
        for text in (row.name, row.raw, row.meaning):
            assert re.fullmatch("[ -~]*", text)


@given(U64)
def test_a_number_is_read_back(value: int) -> None:
    assert number_in(f"{value:#x}") == value
    assert number_in(str(value)) == value
    shown = table(value)["hex"]
    assert int(shown.replace("_", ""), 16) == value


@pytest.mark.parametrize("text", ["", "?", "0x", "-1", "0x_1", "1_0", "SUCCESS", " 1", "1 2",
                                  "0x10000000000000000"])  # fmt: skip
def test_other_text_is_no_number(text: str) -> None:
    assert number_in(text) is None


@pytest.mark.parametrize(
    ("text", "data"),
    [("41 42", b"AB"), ("00", b"\0"), ("?? 00", None), ("4", None), ("", None), ("zz", None)],
)
def test_bytes_of_a_row(text: str, data: bytes | None) -> None:
    assert bytes_in(text) == data
