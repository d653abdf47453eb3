"""TDG.VP.VMCALL and the way back (facts: ghci_and_guest 1.3, 6.3, kernel_exits 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import REG_NAMES, Regs
from tdxdbg.module import Entered, LastExit, TdParams
from tests.module.support import (
    INVALID_RCX,
    MARKED,
    U64,
    call,
    exit_of,
    guest,
    outputs,
    running,
    status_of,
)

NO_RBP_MOD = TdParams()
RBP = TdParams(config_flags=0)
LEGAL = 0xFFCC

#: bitmap, allowed with NO_RBP_MOD, allowed without
BITMAPS = [
    (0xFFCC, True, True),  # Linux, EDK2
    (0xFC00, True, True),  # td-shim
    (0x0D04, True, True),  # Hyper-V hypercall
    (0x0000, True, True),
    (0xFFFF_FFCC, True, True),  # all XMM registers too
    *((1 << bit, True, True) for bit in (2, 3, 6, 7, *range(8, 32))),
    *((1 << bit, False, False) for bit in (0, 1, 4, *range(32, 64))),
    (1 << 5, False, True),
    (0xFFEC, False, True),
    (U64, False, False),
]


@pytest.mark.parametrize(("bitmap", "no_rbp_mod", "rbp_mod"), BITMAPS)
@pytest.mark.parametrize("params", [NO_RBP_MOD, RBP], ids=["NO_RBP_MOD", "RBP_MOD"])
def test_bitmap(bitmap: int, no_rbp_mod: bool, rbp_mod: bool, params: TdParams) -> None:
    td = running(params)
    regs = MARKED._replace(rax=0, rcx=bitmap)
    result = td.tdcall(0, guest(regs=regs))
    if no_rbp_mod if params is NO_RBP_MOD else rbp_mod:
        assert exit_of(result).regs.rcx == bitmap
    else:
        # The host hears nothing, and the guest goes on behind the TDCALL.
        assert status_of(result) == INVALID_RCX
        assert outputs(regs, result) == {}
        assert td.vcpus[0].last_exit is LastExit.NONE


def test_exit_reason_and_rip() -> None:
    td = running()
    result = exit_of(call(td, 0, rcx=LEGAL, r10=0, r11=0x10001, rip=0x5000))
    assert result.vp_enter_ret == 77
    assert result.advance
    assert td.vcpus[0].rip == 0x5004
    assert td.vcpus[0].last_exit is LastExit.TDVMCALL


def test_a_bus_lock_is_reported_once() -> None:
    td = running()
    td.bus_lock(0)
    assert exit_of(call(td, 0, rcx=LEGAL)).vp_enter_ret == 0x0400_004D
    td.vp_enter(0, Regs())
    assert exit_of(call(td, 0, rcx=LEGAL)).vp_enter_ret == 0x4D


def test_a_reply_register_outside_the_bitmap_is_lost() -> None:
    td = running()
    sent = MARKED._replace(rax=0, rcx=0x0C00)
    td.tdcall(0, guest(regs=sent))
    reply = Regs(r10=0, r11=0xAAAA, r12=0xBBBB)
    assert td.vp_enter(0, reply) == Entered(sent._replace(rax=0, r10=0, r11=0xAAAA))


registers = st.builds(Regs, **dict.fromkeys(REG_NAMES, st.integers(0, U64)))
bitmaps = st.integers(0, U64).map(lambda mask: mask & 0xFFFF_FFCC)


@given(sent=registers, reply=registers, bitmap=bitmaps)
def test_unselected_registers_are_hidden_and_untouched(
    sent: Regs, reply: Regs, bitmap: int
) -> None:
    td = running()
    sent = sent._replace(rax=0, rcx=bitmap)
    seen = exit_of(td.tdcall(0, guest(regs=sent))).regs
    back = td.vp_enter(0, reply)
    assert isinstance(back, Entered)
    for number in range(2, 16):
        if bitmap >> number & 1:
            assert seen[number] == sent[number]
            assert back.regs[number] == reply[number]
        else:
            assert seen[number] == 0
            assert back.regs[number] == sent[number]
    assert seen[:2] == (0, bitmap)
    assert back.regs[:2] == (0, bitmap)
