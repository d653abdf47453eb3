import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import Regs
from tdxdbg.decode.known import Seen
from tdxdbg.decode.tree import decode_exit, decode_status
from tdxdbg.engine import TdExit
from tdxdbg.filters import compile_filter
from tests.decode.trees import SHARED48, find, rows, walk

U64 = st.integers(0, (1 << 64) - 1)


def exit_(ret: int, **regs: int) -> TdExit:
    return TdExit(0, ret, Regs(**regs))


@pytest.mark.parametrize(
    ("td_exit", "name", "meaning"),
    [
        (exit_(48, rcx=0x2, r8=0x1000), "EPT violation", "write of a private GPA"),
        (
            exit_(48, rcx=0x181, r8=SHARED48 | 0x1000),
            "EPT violation",
            "read of a shared GPA",
        ),
        (exit_(48, rcx=0x5, r8=0x1000), "EPT violation", "read, fetch of a private GPA"),
        (
            exit_(48, rcx=0x1, rdx=6, r8=0x1000),
            "EPT violation",
            "read of a private GPA, a page that the guest has not accepted",
        ),
        (
            exit_(49, r8=SHARED48),
            "EPT misconfiguration",
            "the host's EPT entry is wrong: a host bug",
        ),
        (exit_(0, r9=0x80000202), "exception or NMI", "NMI"),
        (exit_(0, r9=0x80000312), "exception or NMI", "#MC"),
        (
            exit_(0x6000000500000000, r9=0x80000312),
            "exception or NMI",
            "TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE: #MC",
        ),
        (exit_(1, r9=0x800000EC), "external interrupt", "for the host"),
        (
            exit_(0x4000000100000002),
            "triple fault",
            "TDX_NON_RECOVERABLE_VCPU: the vCPU cannot run again",
        ),
        (exit_(6), "SMI", "OTHER_SMI"),
        (
            exit_(0x6000000500000006, rcx=1),
            "SMI",
            "TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE: OTHER_SMI, MSMI",
        ),
        (exit_(74), "bus lock", "the guest locked the bus"),
        (exit_(75), "notify VM exit", "no interrupt window for too long"),
        (
            exit_(0x6000000280000021),
            "INVALID_STATE",
            "TDX_NON_RECOVERABLE_TD: VM entry failed: the guest did not run",
        ),
        (
            exit_(0x6000000200000022, rdx=3 | 0x48 << 32),
            "MSR_LOAD_FAIL",
            "TDX_NON_RECOVERABLE_TD: the TDX module could not load the vCPU's state",
        ),
        (exit_(9), "TASK_SWITCH (9)", "KVM has no handler for this in a TD"),
        (
            exit_(0x8000020000000092),
            "TDX_OPERAND_BUSY",
            "TDH.VP.ENTER failed: the guest did not run, the registers are stale",
        ),
        (
            exit_(0x8000000800000000, rdx=0xC000010000000001),
            "TDX_CROSS_TD_FAULT",
            "a call to a service TD's target failed",
        ),
    ],
)
def test_kinds(td_exit: TdExit, name: str, meaning: str) -> None:
    tree = decode_exit(td_exit)
    assert (tree.name, tree.meaning) == (name, meaning)


def test_ept_violation_of_an_accept() -> None:
    """facts: ghci_and_guest 7, S24: requested level 0, failing level 1, PENDING."""
    info = 0 | 1 << 3 | 2 << 6 | 1 << 14
    tree = decode_exit(exit_(48, rcx=0x2, rdx=1 | info << 32, r8=0x200000))
    assert rows(find(tree, "extended exit qualification (RDX)")) == {
        "type (3:0)": ("1", "ACCEPT"),
        "requested level": ("0", "4 KiB"),
        "failing level": ("1", "2 MiB"),
        "SEPT state": ("2", "PENDING"),
        "leaf entry": ("1", "yes"),
    }


@pytest.mark.parametrize(
    ("rdx", "meaning"),
    [
        (0, "none"),
        (1, "ACCEPT"),
        (2, "GPA_DETAILS"),
        (3, "TD entry MSR load failure"),
        (4, "TD entry XSTATE load failure"),
        (5, "ATTR.WR violation"),
        (6, "PENDING_EPT_VIOLATION"),
        (9, "type 9"),
    ],
)
def test_extended_qualification_types(rdx: int, meaning: str) -> None:
    row = find(decode_exit(exit_(48, rdx=rdx)), "extended exit qualification (RDX)")
    assert row.meaning == meaning


@pytest.mark.parametrize(
    ("state", "name"),
    [(0, "FREE"), (4, "MAPPED"), (11, "EXPORTED_DIRTY"), (132, "NL_MAPPED"), (7, "state 7")],
)
def test_sept_states(state: int, name: str) -> None:
    tree = decode_exit(exit_(48, rdx=5 | state << 38 | 1 << 52))
    assert find(tree, "SEPT state").meaning == name
    assert find(tree, "VM").meaning == "an L2 VM of the TD"


def test_qualification_bits() -> None:
    row = find(decode_exit(exit_(48, rcx=0x1_0000_018A)), "exit qualification (RCX)")
    found = rows(row)
    assert row.meaning == "write"
    assert found["bit 1 write"] == ("1", "data write")
    assert found["bit 3 readable"] == ("1", "the GPA was readable")
    assert found["bit 4 writable"] == ("0", "the GPA was not writable")
    assert found["bit 8 translation"] == ("1", "the access itself")
    assert found["VM (bits 33:32)"] == ("1", "an L2 VM of the TD")


def test_interruption_information() -> None:
    row = find(decode_exit(exit_(0, r9=0x80000B0E)), "interruption information (R9)")
    assert row.meaning == "#PF, hardware exception"
    assert rows(row)["bit 11 error code"] == ("1", "there is one")
    nothing = find(decode_exit(exit_(0)), "interruption information (R9)")
    assert nothing.meaning == "not valid (bit 31 is clear)"
    interrupt = find(decode_exit(exit_(1, r9=0x800000EC)), "interruption information (R9)")
    assert interrupt.meaning == "vector 0xec, external interrupt"


def test_an_async_exit_hides_nothing() -> None:
    tree = decode_exit(exit_(48, rcx=0, r8=0x1000))
    assert find(tree, "GPA (R8)").meaning == "0x1000, private"
    assert find(decode_exit(exit_(48), 0), "GPA (R8)").meaning == "not recorded"
    assert decode_exit(exit_(48), 0).meaning == ""


@pytest.mark.parametrize(
    ("how", "name", "ret"),
    [
        (Seen.ALL, "EPT violation", "TDX_SUCCESS, EPT_VIOLATION (48)"),
        (
            Seen.REASON,
            "EPT violation",
            "EPT_VIOLATION (48); the status above it was not recorded",
        ),
        (Seen.NOTHING, "TD exit", "not recorded"),
    ],
)
def test_how_much_of_the_return_value_was_recorded(how: Seen, name: str, ret: str) -> None:
    tree = decode_exit(exit_(48, r8=0x1000), how=how)
    assert tree.name == name
    assert find(tree, "TDH.VP.ENTER returned").meaning == ret


def test_without_a_return_value_the_registers_are_listed() -> None:
    tree = decode_exit(exit_(0, r11=0x10001), 1 << 11, how=Seen.NOTHING)
    assert rows(tree)["R11"] == ("0x10001", "")
    assert "R12" not in rows(tree)


def test_cross_td_status() -> None:
    tree = decode_exit(exit_(0x8000000800000000, rdx=0xC000010000000001, r8=0x1000))
    assert rows(tree)["cross-TD status (RDX)"][1] == "TDX_OPERAND_INVALID, RCX"


def test_a_status_that_is_neither_an_error_nor_an_exit() -> None:
    tree = decode_exit(exit_(0x0000082100000000))
    assert (tree.name, tree.meaning) == ("TDX_NO_HKID_READY_TO_WBCACHE", "the TD exited")


def test_bus_lock_bit() -> None:
    tree = decode_exit(exit_(0x0400004D, rcx=0xFFCC, r11=10))
    assert tree.name == "TDG.VP.VMCALL<Instruction.CPUID>"
    assert rows(find(tree, "TDH.VP.ENTER returned"))["bit 26"] == ("1", "bus lock detected")


@given(U64, st.builds(Regs, *[U64] * 16), U64, st.sampled_from(Seen))
def test_anything_decodes(ret: int, regs: Regs, known: int, how: Seen) -> None:
    for node in walk(decode_exit(TdExit(0, ret, regs), known, how=how)):
        assert all(text.isascii() and text.isprintable() for text in node[:3])
        if node.filter and "\n" not in node.filter:
            assert compile_filter(node.filter).fields


# --- status words -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "readings"),
    [
        (
            0x8000020000000092,
            {"as a TDX module status": "TDX_OPERAND_BUSY, SEPT_TREE"},
        ),
        (
            1,
            {
                "as a TDX module status": "TDX_SUCCESS, EXTERNAL_INTERRUPT (1)",
                "as R10 of a standard TDVMCALL": "RETRY",
            },
        ),
        (
            0x8000000000000003,
            {
                "as a TDX module status": "TDX status 0x8000000000000000, 0x3",
                "as R10 of a standard TDVMCALL": "SUBFUNC_UNSUPPORTED",
            },
        ),
        (
            0xFFFFFFFFFFFFFC18,
            {
                "as a TDX module status": "TDX_SW_ERROR, 0xfffffc18",
                "as R10 of a vendor-specific call": "-KVM_ENOSYS",
            },
        ),
    ],
)
def test_status_words(value: int, readings: dict[str, str]) -> None:
    tree = decode_status(value)
    assert {name: meaning for name, (_, meaning) in rows(tree).items()} == readings


def test_parts_of_a_status() -> None:
    tree = find(decode_status(0x8000020000000092), "as a TDX module status")
    assert rows(tree) == {
        "status (63:32)": ("0x80000200", "TDX_OPERAND_BUSY"),
        "flags (63:60)": ("0x8", "ERROR"),
        "class (47:40)": ("0x2", "busy, resource"),
        "operand (31:0)": ("0x92", "SEPT_TREE"),
    }
    entry = find(decode_status(0x6000000280000021), "as a TDX module status")
    assert rows(entry)["flags (63:60)"] == ("0x6", "NON_RECOVERABLE, FATAL")
    assert rows(entry)["exit reason (15:0)"] == ("33", "INVALID_STATE")
    assert rows(entry)["bit 31"] == ("1", "VM entry failed")
