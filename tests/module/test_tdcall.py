"""The dispatch of TDCALL (facts: ghci_and_guest 1.1, 1.2)."""

from __future__ import annotations

from typing import Any

import pytest

from tdxdbg.abi.tdx_module import TDCALL_LEAVES
from tdxdbg.module import InjectFault, Resume, VeInfo
from tdxdbg.module.tdcall import LEAVES
from tests.module.support import INVALID_RAX, MARKED, OK, call, guest, outputs, running, status_of

GP = InjectFault(13, 0)
VM_RD = 7

#: RAX, status. 1.1: bits 15:0 leaf, 23:16 version, the others 0.
RAX = [
    (0x0000_0000_0000_0001, OK),
    (0x0000_0000_0100_0001, INVALID_RAX),
    (0x0000_0000_8000_0001, INVALID_RAX),
    (0x0000_0001_0000_0001, INVALID_RAX),
    (0x8000_0000_0000_0001, INVALID_RAX),
    # version > 0 is for TDG.VM.RD alone
    (0x0000_0000_0001_0001, INVALID_RAX),
    (0x0000_0000_0001_0003, INVALID_RAX),
    (0x0000_0000_0001_0008, INVALID_RAX),
    (0x0000_0000_0001_000B, INVALID_RAX),
    (0x0000_0000_0001_0007, 0xC000_0C00_0000_0000),
    (0x0000_0000_0002_0007, INVALID_RAX),
    # unknown leaves: the gaps of 1.2, TDX Connect, TDG.DEBUG, the biggest number
    *((leaf, INVALID_RAX) for leaf in (13, 17, 19, 21, 28, 31, 64, 72, 254, 0xFFFF)),
]


@pytest.mark.parametrize(("rax", "status"), RAX)
def test_rax(rax: int, status: int) -> None:
    assert status_of(call(running(), rax, rdx=0x7FFF_FFFF)) == status


@pytest.mark.parametrize("leaf", sorted(set(TDCALL_LEAVES) - set(LEAVES)))
def test_a_leaf_that_is_not_modelled_is_the_modules_own_error(leaf: int) -> None:
    before = MARKED._replace(rax=leaf)
    result = running().tdcall(0, guest(regs=before))
    assert status_of(result) == INVALID_RAX
    assert outputs(before, result) == {}


#: cpl, 64-bit mode: #GP(0), no status
MODES: list[tuple[dict[str, Any], bool]] = [
    ({"cpl": 0, "is_64bit": True}, True),
    ({"cpl": 3, "is_64bit": True}, False),
    ({"cpl": 1, "is_64bit": True}, False),
    ({"cpl": 0, "is_64bit": False}, False),
]


@pytest.mark.parametrize(("mode", "runs"), MODES)
@pytest.mark.parametrize("leaf", [1, 0xFFFF])
def test_only_the_kernel_in_64_bit_mode_may_call(
    mode: dict[str, Any], runs: bool, leaf: int
) -> None:
    result = call(running(), leaf, **mode)
    assert isinstance(result, Resume) if runs else result == GP


def test_a_refused_call_changes_nothing() -> None:
    td = running()
    td.vcpus[0].ve_info = VeInfo(30)
    assert call(td, 3, cpl=3) == GP
    assert td.vcpus[0].ve_info == VeInfo(30)
