"""ReportFatalError in each generation's layout (facts: kernel_exits 4.3)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import FATAL_TEXT_REGISTERS, SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs, exposed
from tdxdbg.engine import Completer, Reentry
from tests.engine.support import EXIT, GUEST, MERGED, answer_of, engine_in_td, run_of, tdcall

TEXT = b"TD misconfiguration: SEPT_VE_DISABLE attribute must be set.".ljust(64, b"\0")
WORDS = [int.from_bytes(TEXT[at : at + 8], "little") for at in range(0, 64, 8)]
CODE = 1 << 63 | 0x1234
GPA = 0x7F00_0000


def fatal(mask: int = LINUX_EXPOSE_MASK) -> Regs:
    """What KVM sees of it: registers outside the mask read as 0."""
    text = dict(zip(FATAL_TEXT_REGISTERS, WORDS, strict=True))
    return exposed(Regs(rcx=mask, r11=SubFunction.REPORT_FATAL_ERROR, r12=CODE, r13=GPA, **text))


MASKS = [
    LINUX_EXPOSE_MASK,
    0xFC00,  # R10..R15
    0xFFCC & ~(1 << 3),  # no RBX
    0xFFCC & ~(1 << 2 | 1 << 14),  # neither RDX nor R14
    0x1800,  # R11, R12
]


@pytest.mark.parametrize("generation", MERGED)
@pytest.mark.parametrize("mask", MASKS)
def test_merged_form_dumps_registers_in_x86_order(generation: str, mask: int) -> None:
    regs = fatal(mask)
    step = answer_of(generation, regs)
    assert step.run is not None
    assert (step.outcome, step.run.exit_reason) == (EXIT, Exit.SYSTEM_EVENT)
    run = run_of(step)
    assert (run["type"], run["ndata"]) == (7, 16)
    # [0] RAX is what TDH.VP.ENTER returned; [4] RSP and [5] RBP are 0
    assert run["data"] == [77, mask, regs.rdx, regs.rbx, 0, 0, *regs[6:]]
    text = b"".join(run["data"][n].to_bytes(8, "little") for n in (14, 15, 3, 7, 6, 8, 9, 2))
    if mask == LINUX_EXPOSE_MASK:
        assert text == TEXT
    assert step.completer is Completer.NONE


@pytest.mark.parametrize("mask", MASKS)
def test_v1_parses_the_message(mask: int) -> None:
    regs = fatal(mask)
    step = answer_of("exits-v1", regs)
    run = run_of(step)
    assert (run["type"], run["ndata"]) == (7, 10)
    assert run["data"][:2] == [regs.r12, regs.r13]
    for word, name in zip(run["data"][2:], FATAL_TEXT_REGISTERS, strict=True):
        selected = mask >> Regs._fields.index(name) & 1
        assert word == (getattr(regs, name) if selected else 0)
    assert step.completer is Completer.NONE
    # data[10..15] is not written
    assert step.run is not None
    data = step.run.layout.fields[2]
    assert [step.run.was_written(data, at) for at in (9, 10)] == [True, False]


def test_v1_looks_at_the_mask_itself() -> None:
    # each 0 if its RCX bit is clear, whatever the register file holds
    regs = fatal()._replace(rcx=0xFC00)
    data = run_of(answer_of("exits-v1", regs))["data"]
    assert data[2:] == [WORDS[0], WORDS[1], 0, 0, 0, 0, 0, 0]


def test_v19_exits_raw() -> None:
    step = answer_of("v19", fatal())
    assert step.completer is Completer.RAW
    run = run_of(step)
    assert (run["in_r12"], run["in_r13"]) == (CODE, GPA)
    assert [run[f"in_{name}"] for name in FATAL_TEXT_REGISTERS] == WORDS


@pytest.mark.parametrize("generation", ["exits-v1", *MERGED])
def test_a_userspace_that_goes_on_answers_success(generation: str) -> None:
    # no completion callback; R10 is 0 already
    engine = engine_in_td(generation)
    regs = fatal()
    tdcall(engine, regs)
    step = engine.feed(Reentry(0))
    assert (step.outcome, step.regs) == (GUEST, regs)


def test_the_return_value_with_a_bus_lock_is_in_the_dump() -> None:
    step = answer_of("7.3", fatal())
    assert run_of(step)["data"][0] == 77
    engine = engine_in_td("7.3")
    step = tdcall(engine, fatal(), ret=77 | 1 << 26)
    assert run_of(step)["data"][0] == 77 | 1 << 26
