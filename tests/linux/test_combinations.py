"""Every two choices of a boot together: kernel, form, KASLR, vCPUs, GPA width, firmware."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Final

import pytest

from tests.linux.boots import MARKER, Boot, run, tdxdbg

PAIRWISE: Final = (
    Boot("cloud", "bzImage", True, 2, 52),
    Boot("cloud", "vmlinux", False, 1, 48),
    Boot("generic", "bzImage", True, 1, 48),
    Boot("generic", "vmlinux", False, 2, 52),
    Boot("cloud", "bzImage", False, 2, 48, memory=2048),
    Boot("generic", "vmlinux", False, 1, 52),
)
#: A newer kernel, and the way through the TDX firmware.
MORE: Final = (
    Boot("newer", "bzImage", True, 2, 52),
    Boot("newer", "vmlinux", False, 1, 48),
    Boot("cloud", "bzImage", True, 1, 52, firmware=True),
    Boot("cloud", "bzImage", False, 2, 48, firmware=True),
)
CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "kernel": ("cloud", "generic"),
    "form": ("bzImage", "vmlinux"),
    "kaslr": (True, False),
    "vcpus": (1, 2),
    "gpaw": (48, 52),
}


def test_every_two_choices_meet() -> None:
    """But a vmlinux and KASLR: it is the decompressor that moves a kernel."""
    missing = [
        (one, first, other, second)
        for one, other in combinations(CHOICES, 2)
        for first in CHOICES[one]
        for second in CHOICES[other]
        if not any(
            (getattr(boot, one), getattr(boot, other)) == (first, second) for boot in PAIRWISE
        )
    ]
    assert missing == [("form", "vmlinux", "kaslr", True)]


@pytest.mark.linux
@pytest.mark.timeout(600)
@pytest.mark.parametrize("boot", [*PAIRWISE, *MORE], ids=lambda boot: boot.name)
def test_it_reaches_user_space_and_turns_itself_off(boot: Boot, tmp_path: Path) -> None:
    ended = run(boot, tmp_path)
    assert ended.status == 0, ended.said
    assert "tdx: Guest detected" in ended.console
    assert MARKER in ended.console
    assert "power off" in ended.said
    if boot.vcpus > 1:
        assert f"Brought up 1 node, {boot.vcpus} CPUs" in ended.console
    checked = tdxdbg("check", str(ended.trace))
    assert checked.returncode == 0, checked.stdout
