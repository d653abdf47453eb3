"""Stores to executable pages, past the search for code that they change; hooks see them all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tdxdbg.abi.regs import NO_REGS
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated import clean_stores
from tests.backends.emulated.harness import CODE, machine

SOURCE: Final = Path(clean_stores.__file__).with_name("clean_stores.S")
DATA: Final = 0x30_0000
NOT_DIRTY: Final = 0x400


@pytest.mark.skipif(shutil.which("as") is None, reason="needs the GNU assembler")
def test_the_bytes_are_what_the_assembler_makes(tmp_path: Path) -> None:
    made, binary = tmp_path / "code.o", tmp_path / "code.bin"
    subprocess.run(["as", "-o", made, SOURCE], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, binary], check=True)
    assert binary.read_bytes() == clean_stores.MACHINE_CODE


#: inc %rax; mov %rax,(%rbx); jmp to the start.
COUNTS: Final = bytes.fromhex("48ffc0 488903 ebf8")


def test_a_watchpoint_sees_the_next_store_of_a_loop_that_ran_before_it() -> None:
    """The page is mapped executable, and the loop had stored to it many times."""
    subject = machine("spin")
    subject.write_gpa(CODE, COUNTS)
    subject.enter(0, NO_REGS)
    subject.set_registers(0, NO_REGS._replace(rbx=DATA, rsp=0x80000), CODE)
    for turn in range(1, 4):
        subject.run_to(3000 * turn)
        stored = subject.registers(0).regs.rax
        subject.set_watchpoints([(DATA, 8)])
        pause = subject.run_to(3000 * turn + 100)
        assert isinstance(pause, Pause)
        assert (pause.why, pause.address, pause.size) == (Why.WATCHPOINT, DATA, 8)
        assert subject.registers(0).regs.rax == stored + 1
        assert subject.read_gpa(DATA, 8) == stored.to_bytes(8, "little")
        subject.set_watchpoints([])


#: mov %al,1(%rip) into the immediate of the add that follows; dec %ecx; jnz to the start.
PATCHES: Final = bytes.fromhex("880501000000 0402 fec9 75f4 f4")


def test_code_that_a_loop_writes_over_is_what_runs() -> None:
    """add $2,%al is rewritten before each round by what AL was: it doubles."""
    subject = machine("spin")
    subject.write_gpa(CODE, PATCHES)
    subject.enter(0, NO_REGS)
    subject.set_registers(0, NO_REGS._replace(rax=1, rcx=6, rsp=0x80000), CODE)
    subject.run_to(4 * 6)
    assert subject.registers(0).regs.rax == 1 << 6


#: inc %ebx; jmp to itself; and once more, 8 bytes on; movups %xmm0 over all of it.
HALVES: Final = bytes.fromhex("ffc3 ebfe 90909090 ffc3 ebfe 90909090 0f1105 e9ffffff")


def test_both_halves_of_a_store_over_code_are_seen() -> None:
    """It comes from the page itself, where the code that ran before has to be found."""
    subject = machine("spin")
    subject.write_gpa(CODE, HALVES)
    subject.enter(0, NO_REGS)

    def step_at(offset: int) -> int:
        subject.set_registers(0, NO_REGS._replace(rax=DATA), CODE + offset)
        subject.step()
        return subject.registers(0).regs.rbx

    assert [step_at(0), step_at(8)] == [1, 1]
    step_at(16)
    assert subject.read_gpa(CODE, 16) == bytes(16)
    assert [step_at(0), step_at(8)] == [0, 0]
