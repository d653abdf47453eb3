"""A person boots a kernel as a TD, types into its shell, halts it, and looks at its exits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.terminal import Terminal
from tests.e2e.test_hostile_text import unexplained
from tests.kernels import fetched
from tests.linux.boots import MARKER, PATIENCE, initramfs

pytestmark = pytest.mark.xdist_group("linux")

#: Seconds for a command of the shell to say what it says.
ANSWER: Final = 60


@pytest.mark.timeout(400)
def test_a_kernel_boots_to_a_shell_that_is_typed_into(tmp_path: Path) -> None:
    kernel, initrd = fetched("cloud/vmlinuz"), initramfs(tmp_path)
    arguments = ("linux", str(kernel), "--initrd", str(initrd))
    with Terminal(*arguments, columns=120, rows=40) as terminal:
        terminal.wait_for(" IN TD ", "0 exits", timeout=ANSWER)
        terminal.send("c0z")
        terminal.wait_for(" RUNNING ", MARKER, "td# ", timeout=PATIENCE)
        terminal.send("Admesg | grep -i tdx\r")
        terminal.wait_for("tdx: Guest detected", "active: Intel TDX", timeout=ANSWER)
        terminal.send("cat /proc/cpuinfo\r")
        terminal.wait_for(": GenuineIntel", "power management:", timeout=ANSWER)
        terminal.send("halt -f\r")
        terminal.wait_for("reboot: System halted", timeout=ANSWER)
        terminal.wait_for("every vCPU is halted and nothing will wake them", timeout=ANSWER)
        terminal.send("\x1dz")
        # Every byte of the console is an exit of its own, and the queue has them all.
        screen = terminal.wait_for("1 exits", " HLT ", gone="typing")
        shown = re.search(r"exit ([\d,]+)/\1 ", screen)
        assert shown is not None, screen
        assert int(shown[1].replace(",", "")) > 20_000
        terminal.send("g")
        terminal.wait_for(" PAST ", " exit 0/", "out port 0x3fb 1B", timeout=ANSWER)
        terminal.send("q")
        assert terminal.wait_for_end() == 0
        assert unexplained(bytes(terminal.output)) == []
