"""An initramfs of busybox alone: what a kernel that boots as a TD comes up to.

The archive is made here, without cpio, and is a function of busybox and of the
init script: no time, owner or order of this machine is in it. Format: Linux
Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import Final, NamedTuple

from tdxdbg.backends.elf import HEADER, MAGIC
from tdxdbg.errors import BackendError

#: The line that says that user space is reached.
MARKER: Final = "tdxdbg: user space"
#: On the kernel's command line: halt as soon as it is reached.
POWER_OFF: Final = "tdxdbg.poweroff"

#: The shell's end begins another one, because a kernel whose init ends panics.
_SCRIPT: Final = f"""\
#!/bin/sh
export PATH=/bin HOME=/root TERM=linux PS1='td# '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo "{MARKER}"
read -r options </proc/cmdline
case " $options " in
    *" {POWER_OFF} "*) poweroff -f ;;
esac
cd /root
while :; do
    setsid cttyhack sh
done
"""
INIT: Final = _SCRIPT.encode()

#: Names under which busybox is called; each is in Debian's busybox-static.
APPLETS: Final = (
    *("awk", "base64", "basename", "cat", "chmod", "clear", "cmp", "cp", "cttyhack", "cut"),
    *("date", "dd", "df", "devmem", "diff", "dirname", "dmesg", "du", "echo", "env", "expr"),
    *("false", "find", "free", "grep", "halt", "head", "hexdump", "hostname", "hwclock", "id"),
    *("kill", "less", "ln", "ls", "lsmod", "md5sum", "mkdir", "mknod", "more", "mount", "mv"),
    *("nproc", "od", "pidof", "poweroff", "printf", "ps", "pwd", "readlink", "reboot", "rm"),
    *("rmdir", "sed", "seq", "setsid", "sh", "sha256sum", "sleep", "sort", "stat", "strings"),
    *("stty", "sync", "tail", "taskset", "tee", "test", "time", "top", "touch", "tr", "true"),
    *("tty", "umount", "uname", "uniq", "uptime", "usleep", "vi", "wc", "which", "xargs", "xxd"),
)
#: Mount points, and what tools take for granted.
_FOLDERS: Final = ("bin", "dev", "etc", "proc", "root", "sys", "tmp")
_CONSOLE: Final = (5, 1)

_TRAILER: Final = "TRAILER!!!"
_PT_INTERP: Final = (3).to_bytes(4, "little")
_MACHINE_X86_64: Final = 62


class Entry(NamedTuple):
    """A file of the archive; `mode` has its type too, `device` is (major, minor)."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def newc(entries: Iterable[Entry]) -> bytes:
    """A cpio archive, in the order given, all of it root's and of 1970.

    Folders come before what is in them. A file of 4 GiB or more is no part of the format.
    """
    pieces = [_packed(number, entry) for number, entry in enumerate(entries, 1)]
    return b"".join((*pieces, _packed(0, Entry(_TRAILER, 0))))


def busybox_initramfs(busybox: bytes, init: bytes = INIT) -> bytes:
    """busybox, links to it, and /init; raises BackendError for what would not start.

    It prints MARKER to the console, and then gives a shell there, or ends with
    POWER_OFF on the command line; another `init` does what it does.
    """
    _check(busybox)
    return newc(
        (
            *(Entry(name, stat.S_IFDIR | 0o755) for name in _FOLDERS),
            # What the kernel opens for init, before there is a devtmpfs.
            Entry("dev/console", stat.S_IFCHR | 0o600, device=_CONSOLE),
            Entry("bin/busybox", stat.S_IFREG | 0o755, busybox),
            *(Entry(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox") for name in APPLETS),
            Entry("init", stat.S_IFREG | 0o755, init),
        )
    )


def _packed(number: int, entry: Entry) -> bytes:
    """Magic and 13 numbers, the name, the data; each of the two ends on a multiple of 4."""
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        *(number, entry.mode, 0, 0, links, 0, len(entry.data)),
        *(0, 0, *entry.device, len(name), 0),
    )
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + entry.data + bytes(-len(entry.data) % 4)


def _check(busybox: bytes) -> None:
    """A static program for x86-64; the kernel says no more of another than "error -8"."""
    remedy = "give that of Debian's package busybox-static"
    if not busybox.startswith(MAGIC) or len(busybox) < HEADER.size:
        raise BackendError(f"busybox is no program: {remedy}")
    _, _, machine, _, _, at, _, _, _, size, count, *_ = HEADER.unpack_from(busybox)
    if machine != _MACHINE_X86_64:
        raise BackendError(f"busybox is for machine {machine}, not x86-64: {remedy}")
    if count and size < len(_PT_INTERP):
        raise BackendError(f"busybox has program headers of {size} bytes: {remedy}")
    headers = range(at, at + count * size, size) if count else ()
    if any(busybox[each : each + 4] == _PT_INTERP for each in headers):
        raise BackendError(f"busybox wants a dynamic linker: {remedy}")
