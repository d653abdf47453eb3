"""The way through the TDX firmware: what it does before a kernel runs, and going back in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdxdbg.session import Session
from tests.kernels import fetched
from tests.linux.boots import Boot, run, tdxdbg

pytestmark = [pytest.mark.linux, pytest.mark.timeout(600)]

BOOT = Boot(vcpus=2, gpaw=52, firmware=True)
FIRMWARE = "firmware/OVMF.inteltdx.ms.fd"
STUB = "EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path"


def rows(trace: Path, condition: str) -> list[dict[str, object]]:
    done = tdxdbg("print", str(trace), "--filter", condition, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = [json.loads(line) for line in done.stdout.splitlines()]
    return found


def test_firmware_hands_over_to_the_kernel(tmp_path: Path) -> None:
    ended = run(BOOT, tmp_path, "--until", "tdx: Guest detected")
    assert ended.status == 0, ended.said
    assert STUB in ended.console
    checked = tdxdbg("check", str(ended.trace))
    assert checked.returncode == 0, checked.stdout
    # It shares the holes below and above 4 GiB, where devices will be.
    assert len(rows(ended.trace, "leaf == MapGPA")) > 1000
    # The waiting vCPU asked who it is, and has left the TD for nothing else since.
    assert rows(ended.trace, "vcpu == 1 && leaf == CPUID")


def test_secure_boot_refuses_a_kernel_that_it_has_no_key_for(tmp_path: Path) -> None:
    refused = "Secure boot image verification failed"
    ended = run(BOOT._replace(vcpus=1), tmp_path, "--keep-variables", "--until", refused)
    assert ended.status == 0, ended.said
    assert STUB not in ended.console


def test_going_back_to_protected_mode() -> None:
    """From long mode to the reset vector: instructions, breakpoints, the last write."""
    with Session.open(
        fetched("cloud/vmlinuz"), linux=True, memory=256, firmware=fetched(FIRMWARE)
    ) as td:
        assert td.registers().rip == 0xFFFF_FFF0
        td.step_instruction(20)
        early = td.registers()
        assert early.cr0 & 1
        assert not early.cr0 >> 31
        end = td.step()
        assert td.registers().cr0 >> 31
        back = td.go_to(steps=0, instructions=20)
        assert back.registers() == early
        first = back.reverse_step_instruction(20)
        assert first.registers().rip == 0xFFFF_FFF0
        first.add_breakpoint(address=early.rip)
        assert first.cont().instructions <= 20
        # The bottom of memory that the host added before the TD ran.
        written = td.last_write(0x81_0000, 8)
        assert 0 < written.state.instructions < end.instructions
