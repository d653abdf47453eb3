"""What one can do with a boot: have it twice the same, go back in it, and take another future."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tdxdbg.session import Session
from tests.kernels import fetched
from tests.linux.boots import MARKER, PATIENCE, Boot, initramfs

pytestmark = [pytest.mark.linux, pytest.mark.timeout(600)]

EAGAIN = 11
#: Instructions of a boot that has gone wrong, at most.
MOST = 4_000_000_000
APPEND = "console=ttyS0 earlyprintk=ttyS0"


def boot_apart(folder: Path, boot: Boot) -> subprocess.Popen[str]:
    folder.mkdir()
    config = {
        "guest": str(fetched(f"{boot.kernel}/vmlinuz")),
        "linux": True,
        "initrd": str(initramfs(folder)),
        "append": APPEND,
        "vcpus": boot.vcpus,
        "gpaw": boot.gpaw,
        "memory": boot.memory,
        "record": str(folder / "boot.tdxt"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.linux.twice"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(config))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize("vcpus", [1, 2])
def test_two_boots_are_the_same_byte_for_byte(tmp_path: Path, vcpus: int) -> None:
    boot = Boot(vcpus=vcpus, gpaw=52)
    processes = [boot_apart(tmp_path / name, boot) for name in ("one", "other")]
    seen: list[dict[str, Any]] = []
    for process in processes:
        output, _ = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0
        seen.append(json.loads(output))
    assert seen[0] == seen[1]
    assert MARKER in seen[0]["why"]
    one, other = (tmp_path / name / "boot.tdxt" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def open_boot(folder: Path, kernel: str = "7.2") -> Session:
    return Session.open(
        fetched("cloud/vmlinuz"),
        linux=True,
        memory=512,
        kernel=kernel,
        initrd=initramfs(folder),
        append=APPEND + " nokaslr",
        instructions=MOST,
    )


def test_a_refused_swiotlb_conversion_and_the_future_in_which_it_is_not(tmp_path: Path) -> None:
    """The kernel gives up after three retries that got nowhere; go back, answer 0: it boots."""
    with open_boot(tmp_path) as td:
        state = td.cont(until="leaf == MapGPA && size == 64M")
        assert td.held is not None
        before = state.position
        for retry in range(3):
            td.answer(ret=EAGAIN)
            assert td.state.row == state.row + retry
            if retry < 2:
                td.cont(until="leaf == MapGPA && size == 64M")
        td.cont(serial=b"Memory Encryption Features active: Intel TDX")
        text = td.console()
        assert b"CPA VMM failure to convert memory" in text
        assert b"numpages=16384) to shared: -5" in text

        past = td.go_to(steps=before[0], instructions=before[1])
        assert b"CPA VMM failure" not in past.console()
        past.make_live()
        past.answer(ret=0)
        past.cont(serial=MARKER.encode())
        assert b"CPA VMM failure" not in past.console()
        assert MARKER.encode() in past.console()


def test_going_back_in_a_boot(tmp_path: Path) -> None:
    """To an exit, to an instruction, to the #VE before an exit, to the last write of memory."""
    with open_boot(tmp_path) as td:
        end = td.cont(serial=MARKER.encode())
        found = td.last_match("leaf == MapGPA && size == 64M")
        state = found.state
        assert state.answer == {"ret": None}
        held = found.held
        assert held is not None
        gpa = held.get("args", 0)
        assert gpa is not None
        number = td.watch_conversions(gpa, 4096)
        converted = td.reverse_cont()
        assert (converted.state.row, converted.state.breakpoints) == (state.row, (number,))
        td.remove_breakpoint(number)
        written = td.last_write(gpa, 4096)
        assert written.state.position < end.position
        for row in (end.row // 7, end.row // 2, end.row - 1):
            there = td.go_to(row)
            assert there.state.row == row
            same = td.go_to(steps=there.state.steps, instructions=there.state.instructions)
            assert same.registers() == there.registers()
            earlier = there.reverse_step_instruction(3)
            assert earlier.state.position < there.state.position or earlier is there
            same.close()
