from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi import vmx
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.backends.emulated import decode
from tdxdbg.backends.emulated.decode import NOTHING, Io, Mov, Undefined, What


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("660f01cc", Undefined(What.TDCALL, 4)),
        ("66480f01cc", Undefined(What.TDCALL, 5)),
        ("0f01cc", NOTHING),
        ("f3660f01cc", NOTHING),
        ("660f01cf", Undefined(What.EXITING, 4, ins.SEAMCALL)),
        ("0f01c1", Undefined(What.EXITING, 3, vmx.VMCALL)),
        ("0f01c5", Undefined(What.EXITING, 3, ins.PCONFIG)),
        ("0f01c8", Undefined(What.EXITING, 3, ins.MONITOR)),
        ("0f01c9", Undefined(What.EXITING, 3, ins.MWAIT)),
        ("0f37", Undefined(What.EXITING, 2, ins.GETSEC)),
        ("0fc7f0", Undefined(What.RANDOM, 3, register=0, bits=32)),
        ("490fc7f4", Undefined(What.RANDOM, 4, register=12, bits=64)),
        ("66410fc7f6", Undefined(What.RANDOM, 5, register=14, bits=16)),
        ("0fc7fb", Undefined(What.RANDOM, 3, register=3, bits=32)),
        ("f30fc7f8", Undefined(What.RDPID, 4, register=0)),
        ("f20fc7f8", NOTHING),
        ("f30fc7f0", NOTHING),
        ("0fc730", NOTHING),
        ("0f01f9", Undefined(What.RDTSCP, 3)),
        ("0f34", Undefined(What.SYSENTER, 2)),
        ("480f35", Undefined(What.SYSEXIT, 3, bits=64)),
        ("0f35", Undefined(What.SYSEXIT, 2, bits=32)),
        ("f1", Undefined(What.INT1, 1)),
        ("0f0b", NOTHING),
        ("f00f01c1", NOTHING),
        ("0f", NOTHING),
        ("", NOTHING),
        ("0f01d0", NOTHING),
    ],
)
def test_what_an_undefined_opcode_was(code: str, expected: Undefined) -> None:
    assert decode.undefined(bytes.fromhex(code), is_64bit=True) == expected


def test_a_rex_byte_is_an_instruction_outside_64_bit_mode() -> None:
    assert decode.undefined(bytes.fromhex("480f01c1"), is_64bit=False) == NOTHING


@pytest.mark.parametrize(
    ("code", "is_64bit", "expected"),
    [
        ("e471", True, Io(ins.IO_IMMEDIATE, 0, 2)),
        ("66e7b2", True, Io(ins.IO_IMMEDIATE, 0, 3)),
        ("ee", True, Io(0, 0, 1)),
        ("66ed", True, Io(0, 0, 2)),
        ("6c", True, Io(ins.IO_STRING, 0x100, 1)),
        ("f36d", True, Io(ins.IO_STRING | ins.IO_REP, 0x100, 2)),
        ("f3676e", True, Io(ins.IO_STRING | ins.IO_REP, 0x18080, 3)),
        ("646e", True, Io(ins.IO_STRING, 0x20100, 2)),
        ("6e", False, Io(ins.IO_STRING, 0x18080, 1)),
        ("676e", False, Io(ins.IO_STRING, 0x18000, 2)),
    ],
)
def test_port_access(code: str, is_64bit: bool, expected: Io) -> None:
    assert decode.io(bytes.fromhex(code), is_64bit=is_64bit) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("0f22c0", Mov(0, 0, 3)),
        ("410f22e4", Mov(4, 12, 4)),
        ("440f20c3", Mov(8, 3, 4)),
        ("f00f20c3", Mov(8, 3, 4)),
        ("0f23f9", Mov(7, 1, 3)),
        ("0f06", None),
        ("0f01f0", None),
    ],
)
def test_moves_of_special_registers(code: str, expected: Mov | None) -> None:
    assert decode.mov_special(bytes.fromhex(code), is_64bit=True) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [("cc", (3, 1)), ("cd30", (0x30, 2)), ("ce", (4, 1)), ("48cd80", (0x80, 3)), ("cd", (0, 2))],
)
def test_software_interrupts(code: str, expected: tuple[int, int]) -> None:
    assert decode.software_interrupt(bytes.fromhex(code), is_64bit=True) == expected


@given(st.binary(max_size=15), st.booleans())
def test_no_bytes_are_too_strange(code: bytes, is_64bit: bool) -> None:
    found = decode.undefined(code, is_64bit=is_64bit)
    assert found.length <= len(code)
    decode.io(code, is_64bit=is_64bit)
    decode.mov_special(code, is_64bit=is_64bit)
    assert decode.prefixes(code, is_64bit=is_64bit).at <= len(code)
