"""The register file and the RCX mask (facts: kernel_exits 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import (
    EXPOSABLE,
    KNOWN_ALL,
    LINUX_EXPOSE_MASK,
    RCX_ILLEGAL,
    REG_NAMES,
    Regs,
    exposed,
    replace,
)

U64 = (1 << 64) - 1
FULL = Regs(*range(0x100, 0x110))
regs = st.builds(Regs, *[st.integers(0, U64)] * 16)


def test_order_is_the_x86_encoding() -> None:
    names = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15"
    assert " ".join(REG_NAMES) == names
    assert (1 << len(REG_NAMES)) - 1 == KNOWN_ALL


def test_linux_exposes_rdx_rbx_rsi_rdi_and_r8_to_r15() -> None:
    selected = [name for number, name in enumerate(REG_NAMES) if LINUX_EXPOSE_MASK >> number & 1]
    assert " ".join(selected) == "rdx rbx rsi rdi r8 r9 r10 r11 r12 r13 r14 r15"
    assert EXPOSABLE == LINUX_EXPOSE_MASK


@pytest.mark.parametrize("bit", range(64))
def test_masks_that_the_module_refuses(bit: int) -> None:
    # RAX, RCX, RSP, RBP (NO_RBP_MOD) and 63:32
    assert bool(RCX_ILLEGAL >> bit & 1) is (bit in (0, 1, 4, 5) or bit >= 32)


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, ""),
        (0xFFCC, "rdx rbx rsi rdi r8 r9 r10 r11 r12 r13 r14 r15"),
        (0x0C00, "r10 r11"),
        (0xFC04, "rdx r10 r11 r12 r13 r14 r15"),
        # XMM selectors above
        (0xFFFF_0800, "r11"),
        # RAX, RSP and RBP never cross
        (0x31, ""),
        (0xFFFF, "rdx rbx rsi rdi r8 r9 r10 r11 r12 r13 r14 r15"),
    ],
)
def test_exposed(mask: int, names: str) -> None:
    seen = exposed(FULL._replace(rcx=mask))
    assert seen.rcx == mask
    for name in REG_NAMES:
        if name != "rcx":
            assert getattr(seen, name) == (getattr(FULL, name) if name in names.split() else 0)


@given(regs)
def test_exposing_twice_changes_nothing(value: Regs) -> None:
    assert exposed(exposed(value)) == exposed(value)
    assert type(exposed(value)) is Regs


@given(regs, st.integers(0, 15), st.integers(0, U64))
def test_replace(value: Regs, number: int, new: int) -> None:
    changed = replace(value, number, new)
    assert type(changed) is Regs
    assert changed == value._replace(**{REG_NAMES[number]: new})
