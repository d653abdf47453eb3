"""tdxdbg linux: hostile kernels, and whoever ends first, without a screen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Final

import pytest

from tdxdbg.traces import open_trace
from tests.backends.emulated.test_linux import kernel
from tests.cli.test_record import FULL
from tests.session.support import is_running, until

# Says a text to the serial port, for ever. Assembled from:
#
#   .code64
#   start:
#     lea text(%rip), %rbx
#   1: movzbl (%rbx), %r15d
#     xor %eax, %eax
#     xor %r10d, %r10d
#     mov $30, %r11d
#     mov $1, %r12d
#     mov $1, %r13d
#     mov $0x3f8, %r14d
#     mov $0xfc00, %ecx
#     .byte 0x66, 0x0f, 0x01, 0xcc
#     inc %rbx
#     lea end(%rip), %rax
#     cmp %rax, %rbx
#     jb 1b
#   2: jmp start
#   text: .ascii "\033[2J\377\0\23331m\033]0;x\007\r\b.\n"
#   end:
SAYS: Final = bytes.fromhex(
    "488d1d3b000000440fb63b31c04531d241bb1e00000041bc0100000041bd0100"
    "000041bef8030000b900fc0000660f01cc48ffc3488d051b0000004839c372c7"
    "ebbe1b5b324aff009b33316d1b5d303b78070d082e0a"
)
#: `2: jmp 2b`: says it once and then exits no more.
FALLS_SILENT: Final = SAYS[:65] + b"\xfe" + SAYS[66:]
#: ud2, where no IDT is.
TRIPLE_FAULT: Final = b"\x0f\x0b"

SHOWN: Final = rb"\x1b[2J\xff\x00\x9b31m\x1b]0;x\x07\x0d\x08." + b"\n"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(kernel(SAYS))
    return path


def start(*arguments: str | bytes | Path, room: int = 0) -> subprocess.Popen[bytes]:
    """`room`: bytes that a file can have, as on a disk that gets full."""
    full = ["-c", FULL, str(room)] if room else []
    command: list[str | bytes | Path] = [sys.executable, *full, "-m", "tdxdbg", "linux"]
    return subprocess.Popen(
        [*command, *arguments, "--headless", "--memory", "128"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )


def ends(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    """Exit status, the rest of standard output, and standard error: no traceback."""
    with process:
        output, errors = process.communicate(timeout=60)
        assert b"Traceback" not in errors
        return process.returncode, output, errors.decode()


def stream(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def rows(path: Path) -> int:
    with open_trace(path) as trace:
        assert trace.problems == []
        return len(trace)


def test_a_kernel_that_triple_faults_at_once(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(kernel(TRIPLE_FAULT))
    status, output, errors = ends(start(path))
    assert (status, output) == (0, b"")
    assert errors == (
        "tdxdbg: 1 exits, 0 instructions: KVM_EXIT_SHUTDOWN (triple fault): a TD cannot be reset\n"
    )


@pytest.mark.parametrize("wanted", [b".", b"\xff", b"\x1b]0;x"], ids=["text", "no UTF-8", "escape"])
def test_until_ends_at_the_byte_and_says_so(image: Path, wanted: bytes) -> None:
    status, output, errors = ends(start(image, "--until", wanted))
    assert status == 0
    assert output.rstrip(b"\n") in SHOWN
    assert len(errors.splitlines()) == 1
    assert "the serial port: " in errors
    assert errors.rstrip("\n").isprintable()


def test_until_does_not_come(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(kernel(TRIPLE_FAULT))
    assert ends(start(path, "--until", "caf\u00e9"))[0] == 1


WRONG: Final = [
    (["--append", "x" * 5000], 2, "'xxxx"),
    (["--append", "x" * 3000], 4, "a command line of 3000 bytes: Linux takes 2047"),
    (["--initrd", "/"], 4, "not a regular file: give an initrd"),
    (["--firmware", "/dev/zero"], 4, "not a regular file: give a TDVF image"),
    (["--record", "-"], 2, "--record -"),
    (["--record", "/nowhere/td.tdxt"], 3, "cannot be created"),
    (["--until", "x" * 5000], 2, "a text of 5000 bytes"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), WRONG, ids=lambda item: str(item)[:30])
def test_what_is_wrong_is_one_line(
    image: Path, arguments: list[str], status: int, words: str
) -> None:
    found, output, errors = ends(start(image, *arguments))
    assert (found, output) == (status, b"")
    assert words in errors
    assert len(errors.splitlines()) == 1


def test_a_reader_that_leaves_ends_it_in_silence(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "td.tdxt"
    process = start(image, "--record", path)
    assert stream(process).readline() == SHOWN
    stream(process).close()
    with process:
        _, errors = process.communicate(timeout=60)
    assert errors == b""
    assert rows(path) >= 19


@pytest.mark.parametrize("code", [SAYS, FALLS_SILENT], ids=["many exits", "no more exits"])
def test_ctrl_c_keeps_what_is_recorded(tmp_path: Path, code: bytes) -> None:
    image, path = tmp_path / "vmlinuz", tmp_path / "td.tdxt"
    image.write_bytes(kernel(code))
    process = start(image, "--record", path)
    assert stream(process).readline() == SHOWN
    process.send_signal(signal.SIGINT)
    status, _, errors = ends(process)
    assert status == 130
    assert "interrupted" in errors
    assert rows(path) >= 19


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(number) for number in text.split()]


@pytest.mark.parametrize("killed", ["client", "worker"])
def test_whoever_is_killed_leaves_nobody_and_a_recording(
    image: Path, tmp_path: Path, killed: str
) -> None:
    path = tmp_path / "td.tdxt"
    process = start(image, "--record", path)
    assert stream(process).readline() == SHOWN
    (worker,) = children(process.pid)
    os.kill(process.pid if killed == "client" else worker, signal.SIGKILL)
    status, _, errors = ends(process)
    until(lambda: not is_running(worker), "the worker ends")
    if killed == "worker":
        assert status == 4
        assert "was killed by SIGKILL" in errors
        assert len(errors.splitlines()) == 1
    assert rows(path) > 0


def test_a_full_disk_is_status_3_and_keeps_the_rest(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "td.tdxt"
    status, _, errors = ends(start(image, "--record", path, room=300_000))
    assert status == 3
    assert "make room" in errors
    assert len(errors.splitlines()) == 1
    assert rows(path) > 100
