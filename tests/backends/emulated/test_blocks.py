from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.regs import NO_REGS
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated import blocks, flags
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.engine.state import TdExit
from tests.backends.emulated.harness import ADDED, CODE, machine

SOURCE: Final = Path(blocks.__file__).with_name("blocks.S")
DATA: Final = 0x30_0000


@pytest.mark.skipif(shutil.which("as") is None, reason="needs the GNU assembler")
def test_the_bytes_are_what_the_assembler_makes(tmp_path: Path) -> None:
    made = tmp_path / "blocks.o"
    subprocess.run(["as", "-o", made, SOURCE], check=True)
    binary = tmp_path / "blocks.bin"
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, binary], check=True)
    assert binary.read_bytes() == blocks.MACHINE_CODE


def guest(code: bytes, at: int = CODE) -> Machine:
    """One vCPU before `code`; RBX is the address of a page that it has not touched."""
    subject = machine("spin")
    subject.write_gpa(at, code)
    subject.enter(0, NO_REGS)
    subject.set_registers(0, NO_REGS._replace(rbx=DATA, rsp=0x80000), at)
    return subject


#: How the flags come to be: mul, add, adc, sub, sbb, and, inc, dec, shl, sar, adcx, popf.
OPERATIONS: Final = (
    "f7e1", "01c8", "11c8", "29c8", "19c8", "21c8", "ffc0", "ffc8", "d1e0", "d1f8", "f6e1", "9d",
)  # fmt: skip
#: cmp %eax,%eax: a block's end, so that the translator does not know the operation.
UNKNOWN: Final = "eb00"
#: setcc (%rbx), rcl and rcr of 1, CL, and an immediate number of bits; others, too.
ACCESSES: Final = (
    *(f"0f{0x90 + condition:x}03" for condition in range(16)),
    "d113", "d11b", "d313", "d31b", "c11303", "c11b03", "d013", "c01b07",
    "0113", "1113", "1913", "d103", "d123", "0fab0b", "0fc10b", "0fb10b", "0fa403", "ff03",
)  # fmt: skip


#: bts %ecx,(%rbx), which reaches far.
BTS: Final = "0fab0b"
#: O, S, A, P after it.
UNDEFINED: Final = 0x894


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(OPERATIONS),
    st.sampled_from(ACCESSES),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
)
def test_a_fault_changes_no_flag(
    operation: str, access: str, unknown: bool, eax: int, ecx: int, pushed: int
) -> None:
    """What follows is the same, whether or not the page had to be opened for the instruction.

    Of a rotation through the carry, for its load.
    """
    defined = -1
    if access == BTS:
        defined = ~UNDEFINED
        # Its bit is to be in memory that is accepted.
        ecx &= 0xFF_FFFF
    setup = "b8" + eax.to_bytes(4, "little").hex() + "b9" + ecx.to_bytes(4, "little").hex()
    setup += "68" + (pushed & 0xD5 | 2).to_bytes(4, "little").hex()
    if access == "0fa403":
        access += "05"
    code = bytes.fromhex(setup + operation + (UNKNOWN if unknown else "") + access)
    through_carry = access[:2] in ("d0", "d1", "d3", "c0", "c1")
    ends = []
    for touch in ("6690", "8a03" if through_carry else "8803"):
        subject = guest(bytes.fromhex(touch) + code)
        if through_carry:
            subject.write_gpa(DATA, b"\x5a\xc3")
        subject.run_to(6 + unknown)
        context = subject.vcpus[0].context
        data = subject.platform.memory.read(DATA, 4)
        assert context.rip == CODE + 2 + len(code)
        ends.append((context.rflags & defined, context.regs, data))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("code", "known", "expected"),
    [
        pytest.param("0f9203", 0, False, id="setb needs C only"),
        pytest.param("0f9403", 0, True, id="sete, of an unknown operation"),
        pytest.param("0f9403", 16, False, id="sete after cmp"),
        pytest.param("0f9a03", 16, True, id="setp"),
        pytest.param("0f9c03", 16, False, id="setl after cmp"),
        pytest.param("0f9c03", 8, True, id="setl after add"),
        pytest.param("0f9cc3", 8, False, id="setl of a register"),
        pytest.param("f2410f9003", 8, True, id="seto with prefixes"),
        pytest.param("d113", 8, True, id="rcl"),
        pytest.param("48d11b", 8, True, id="rcr"),
        pytest.param("d103", 8, False, id="rol"),
        pytest.param("d1d3", 8, False, id="rcl of a register"),
        pytest.param("0103", 8, False, id="add"),
        pytest.param("0f", 8, False, id="half an instruction"),
        pytest.param("", 8, False, id="nothing"),
    ],
)
def test_instructions_that_compute_their_flags_early(code: str, known: int, expected: bool) -> None:
    assert flags.are_in_source(bytes.fromhex(code), known, is_64bit=True) is expected


@pytest.mark.parametrize("stride", [1, 3, 1000])
@pytest.mark.parametrize("nops", [0, 5, 13])
def test_a_page_that_is_not_there_faults_when_it_is_executed(nops: int, stride: int) -> None:
    """Not when the block that runs into it is translated."""
    # movabs $..., %rax: its last bytes are in a page that was not accepted.
    start = ADDED - nops - 2
    subject = guest(b"\x90" * nops + b"\x48\xb8", start)
    last: object = None
    while not isinstance(last, TdExit):
        last = subject.run_to(subject.instructions + stride)
        assert isinstance(last, TdExit) or last == Pause(Why.INSTRUCTIONS, 0)
    assert subject.instructions == nops
    assert subject.vcpus[0].context.rip == ADDED - 2
    assert last.vp_enter_ret & 0xFFFF == 0x30


@pytest.mark.parametrize("count", [0, 1, 2, 7, 511, 512, 513, 1030])
def test_a_run_ends_at_each_instruction_of_a_long_block(count: int) -> None:
    subject = guest(b"\xff\xc0" * 1100 + b"\xeb\xfe")
    assert subject.run_to(count) == Pause(Why.INSTRUCTIONS, 0)
    context = subject.vcpus[0].context
    assert (subject.instructions, context.regs.rax) == (count, count)
    assert context.rip == CODE + 2 * count


def test_each_round_of_a_string_instruction_counts_and_so_does_its_end() -> None:
    subject = guest(bytes.fromhex("b905000000 4889df f3aa ebfe"))
    subject.run_to(2 + 3)
    assert subject.vcpus[0].context.regs.rcx == 2
    subject.run_to(2 + 5)
    assert (subject.vcpus[0].context.regs.rcx, subject.vcpus[0].context.rip) == (0, CODE + 8)
    subject.run_to(2 + 6)
    assert subject.vcpus[0].context.rip == CODE + 10


#: cmpxchg8b (%rbx); cmpxchg16b (%rbx); with LOCK.
EXCHANGES: Final = ("0fc70b", "480fc70b", "f0480fc70b")


def watching(subject: Machine) -> None:
    subject.set_watchpoints([(0x50_0000, 8)])


def stopping(subject: Machine) -> None:
    subject.set_breakpoints({CODE + at for at in range(40)})


@pytest.mark.parametrize("disturb", [None, watching, stopping])
@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exchange_changes_one_flag(
    operation: str, exchange: str, disturb: Callable[[Machine], None] | None
) -> None:
    """ZF, and not what the translator had not stored yet; wherever the run is cut."""
    # The page is open after the first instruction.
    setup = "8803 6a55 b8ffffff7f b9ffffff7f"
    code = bytes.fromhex(setup + operation + exchange + "90" + exchange + "90")
    whole, cut = guest(code), guest(code)
    if disturb is not None:
        disturb(whole)
    while whole.instructions < 9:
        whole.run_to(9)
    flags_after = []
    for _ in range(9):
        cut.step()
        flags_after.append(cut.vcpus[0].context.rflags)
    assert not (flags_after[4] ^ flags_after[5]) & ~0x40
    assert whole.vcpus[0].context.rflags == flags_after[-1]
    assert whole.vcpus[0].context.regs == cut.vcpus[0].context.regs


@pytest.mark.parametrize(
    ("code", "starts", "expected"),
    [
        pytest.param("0fc70b", [0], [0], id="cmpxchg8b"),
        pytest.param("90 f0480fc74b08 90", [0, 1, 7], [1], id="lock cmpxchg16b"),
        pytest.param("0fc7cb", [0], [], id="of a register: undefined"),
        pytest.param("0fc7f0", [0], [], id="rdrand"),
        pytest.param("b80fc70b00", [0], [], id="an immediate number"),
        pytest.param("0fc70b 650fc70b", [0, 3], [0, 1], id="two"),
        pytest.param("0fc7", [0], [], id="half an instruction"),
    ],
)
def test_exchanges_are_found(code: str, starts: list[int], expected: list[int]) -> None:
    assert flags.exchanges(bytes.fromhex(code), starts, is_64bit=True) == expected
