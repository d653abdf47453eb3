import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import KNOWN_ALL, REG_NAMES, Regs
from tdxdbg.decode.tree import RegRow, call_of, register_rows
from tdxdbg.engine import Td, TdExit
from tests.decode.trees import MIB, SHARED52, call

U64 = st.integers(0, (1 << 64) - 1)
MAP = call(0x10001, rcx=0xFC00, r12=SHARED52 | 0x40400000, r13=4 * MIB)
AFTER = MAP.regs._replace(r10=1, r11=SHARED52 | 0x40600000)


def by_name(rows: list[RegRow]) -> dict[str, RegRow]:
    return {str(row.name): row for row in rows}


def test_a_retry_as_in_the_design() -> None:
    found = by_name(register_rows(call_of(MAP, td=Td(gpaw=52)), MAP.regs, AFTER))
    assert list(found) == [name.upper() for name in REG_NAMES]
    assert found["R10"] == ("R10", "0", "1", True, True, True, "RETRY")
    assert found["R11"][1:4] == ("10001", "8000040600000", True)
    assert found["R11"].meaning.startswith("resume here")
    assert found["R12"] == (
        "R12",
        "8000040400000",
        "8000040400000",
        False,
        True,
        True,
        "shared GPA 0x40400000",
    )
    assert found["R13"].meaning == "size 4 MiB, 2 chunks of 2 MiB"
    assert found["RCX"].meaning == "mask: R10 R11 R12 R13 R14 R15"
    assert found["RBX"][4:] == (False, True, "hidden by the RCX mask")
    assert found["RSP"].meaning == "never crosses"


@pytest.mark.parametrize(
    ("exit_", "name", "meaning"),
    [
        (call(30), "R11", "Instruction.IO"),
        (call(30, r12=1, r14=0x3F8), "R14", "port COM1"),
        (call(30, r12=1, r13=1, r15=0x68), "R15", "value 'h'"),
        (call(30, r12=1, r13=1), "R13", "direction out"),
        (call(31, r12=0x10), "R12", "MSR IA32_TIME_STAMP_COUNTER"),
        (call(0x99, r12=5), "R12", ""),
        (call(30), "R10", "standard call"),
        (call(3, r10=12), "R10", "KVM_HC_MAP_GPA_RANGE"),
        (call(3, r10=12), "R11", ""),
        (TdExit(0, 48, Regs(r8=1)), "R8", "private GPA 0x1"),
        (TdExit(0, 48, Regs(rcx=2)), "RCX", "exit qualification write, no permission at all"),
        (TdExit(0, 1, Regs(r9=5)), "R9", "interruption information not valid (bit 31 is clear)"),
        (TdExit(0, 48, Regs(r8=1)), "R12", ""),
    ],
)
def test_meanings_before_an_entry(exit_: TdExit, name: str, meaning: str) -> None:
    found = by_name(register_rows(call_of(exit_), exit_.regs, None))
    assert found[name].meaning == meaning
    assert found[name].after is None
    assert not found[name].changed


def test_unknown_values() -> None:
    found = by_name(register_rows(call_of(MAP), MAP.regs, AFTER, KNOWN_ALL & ~(1 << 12), 1 << 10))
    assert found["R12"][1:] == (None, None, False, True, False, "not recorded")
    assert found["R10"].after == "1"
    assert found["R11"].after is None
    blind = by_name(register_rows(call_of(None), Regs(), Regs(r10=1), 0, KNOWN_ALL))
    assert blind["R10"].meaning == "RETRY"
    assert blind["R9"].selected


def test_the_register_of_a_vendor_result() -> None:
    exit_ = call(0, r10=5)
    found = by_name(register_rows(call_of(exit_), exit_.regs, exit_.regs._replace(r10=2**64 - 22)))
    assert found["R10"].meaning == "result -KVM_EINVAL"


@given(st.builds(Regs, *[U64] * 16), st.builds(Regs, *[U64] * 16), U64, U64)
def test_any_register_file(before: Regs, after: Regs, known: int, after_known: int) -> None:
    rows = register_rows(call_of(TdExit(0, 77, before), known), before, after, known, after_known)
    for number, row in enumerate(rows):
        assert row.known == bool(known >> number & 1)
        assert row.changed <= row.selected
        if row.changed:
            assert row.before != row.after
