"""The initramfs: a cpio archive as the kernel reads it, and what is in it."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tdxdbg.backends.initramfs import (
    APPLETS,
    INIT,
    MARKER,
    POWER_OFF,
    Entry,
    busybox_initramfs,
    newc,
)
from tdxdbg.errors import BackendError
from tests.backends.elves import GUESTS, Load, elf
from tests.kernels import fetched

ROOT: Final = Path(__file__).parents[2]
#: Anything that is a static program.
BUSYBOX: Final = (GUESTS / "mapgpa_retry.elf").read_bytes()


def unpacked(archive: bytes) -> dict[str, Entry]:
    """Reads as Linux init/initramfs.c does: 110 bytes of header; name and data padded to 4."""
    found: dict[str, Entry] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        _, mode, uid, gid, _, mtime, size, _, _, major, minor, name_size, _ = fields
        assert (uid, gid, mtime) == (0, 0, 0)
        name = archive[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        start = -(-(at + 110 + name_size) // 4) * 4
        at = -(-(start + size) // 4) * 4
        if name == b"TRAILER!!!\0":
            assert at == len(archive)
            return found
        entry = Entry(name[:-1].decode(), mode, archive[start : start + size], (major, minor))
        found[entry.name] = entry


def test_an_archive_has_what_was_put_into_it() -> None:
    entries = [
        Entry("a", stat.S_IFDIR | 0o755),
        *(
            Entry(f"a/{'n' * length}", stat.S_IFREG | 0o644, b"x" * length)
            for length in range(1, 9)
        ),
        Entry("a/null", stat.S_IFCHR | 0o666, device=(1, 3)),
    ]
    assert list(unpacked(newc(entries)).values()) == entries


def test_the_kernel_finds_what_it_needs() -> None:
    files = unpacked(busybox_initramfs(BUSYBOX))
    assert files["init"] == Entry("init", stat.S_IFREG | 0o755, INIT)
    assert files["bin/busybox"].data == BUSYBOX
    assert files["dev/console"] == Entry("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1))
    assert files["bin/sh"] == Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox")
    # It is made as it is read: a folder comes before what is in it.
    seen: set[str] = set()
    for name in files:
        assert "/" not in name or name.rpartition("/")[0] in seen
        seen.add(name)


def test_every_program_of_init_is_there() -> None:
    used = {"mount", "poweroff", "setsid", "cttyhack", "sh"}
    assert used <= set(APPLETS)
    assert all(name.encode() in INIT for name in used)
    assert MARKER.encode() in INIT
    assert POWER_OFF.encode() in INIT


def test_another_init() -> None:
    assert unpacked(busybox_initramfs(BUSYBOX, b"\x7fELF\xff"))["init"].data == b"\x7fELF\xff"


REFUSED: Final = {
    "nothing": (b"", "is no program"),
    "a script": (b"#!/bin/sh\n", "is no program"),
    "half a header": (BUSYBOX[:40], "is no program"),
    "for ARM": (elf(Load(0x100000, b"\xf4"), machine=183), "is for machine 183"),
    "dynamic": (elf(Load(0x100000, b"\xf4"), Load(0, b"/lib/ld", kind=3)), "dynamic linker"),
    "headers of no size": (
        elf(Load(0, b"/lib/ld", kind=3), count=0xFFFF, entry_size=0),
        "program headers of 0 bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_start_is_refused(name: str) -> None:
    busybox, reason = REFUSED[name]
    with pytest.raises(BackendError, match=reason) as caught:
        busybox_initramfs(busybox)
    assert "busybox-static" in str(caught.value)


def test_debians_busybox_has_every_name() -> None:
    busybox = fetched("busybox/busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    assert set(APPLETS) <= set(listed.stdout.split())


@pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is not installed")
def test_cpio_reads_it() -> None:
    archive = busybox_initramfs(BUSYBOX)
    done = subprocess.run(["cpio", "-it"], input=archive, capture_output=True, check=True)
    assert done.stdout.decode().split() == list(unpacked(archive))


def make(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "make_initramfs.py", *arguments],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tool_writes_one(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(BUSYBOX)
    (tmp_path / "script").write_bytes(b"#!/bin/sh\n")
    done = make(tmp_path / "out", "--busybox", tmp_path / "busybox", "--init", tmp_path / "script")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").read_bytes() == busybox_initramfs(BUSYBOX, b"#!/bin/sh\n")


@pytest.mark.parametrize("busybox", ["nowhere", "script"])
def test_the_tool_says_in_a_line_what_is_wrong(tmp_path: Path, busybox: str) -> None:
    (tmp_path / "script").write_bytes(b"#!/bin/sh\n")
    done = make(tmp_path / "out", "--busybox", tmp_path / busybox)
    assert done.returncode == 1
    assert done.stderr.startswith("make_initramfs: ")
    assert done.stderr.count("\n") == 1
