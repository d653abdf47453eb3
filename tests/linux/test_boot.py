"""A kernel of the distribution becomes a TD and reaches user space; what it did is right."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.linux.boots import MARKER, Boot, run, tdxdbg

BOOT: Final = Boot(vcpus=2, gpaw=52)

pytestmark = pytest.mark.xdist_group("linux")


@pytest.mark.timeout(400)
def test_a_kernel_boots_as_a_td_and_its_trace_is_what_kvm_does(tmp_path: Path) -> None:
    """KASLR, its own decompressor, two vCPUs, to user space and off."""
    ended = run(BOOT, tmp_path)
    assert ended.status == 0, ended.said
    assert "tdx: Guest detected" in ended.console
    assert "Memory Encryption Features active: Intel TDX" in ended.console
    assert "smp: Brought up 1 node, 2 CPUs" in ended.console
    assert MARKER in ended.console
    assert "ACPI S5: power off" in ended.said
    checked = tdxdbg("check", str(ended.trace))
    assert checked.returncode == 0, checked.stdout
    asked = tdxdbg("print", str(ended.trace), "--filter", "leaf == MapGPA", "--format", "json")
    assert asked.returncode == 0
    # The bounce buffers of swiotlb, and the pools of atomic DMA.
    assert '"size": "0x4000000"' in asked.stdout or "67108864" in asked.stdout
