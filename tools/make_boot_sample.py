"""Writes sample_traces/linux_boot.tdxt.zst: what a distribution's kernel asks as it boots as a TD.

    python -m tools.make_boot_sample

The kernel and busybox are those of tools/fetch_kernels. Without them, or where the boot
does not come to its end, the sample is left as it is and a line says why: an older one is
as good. The same kernel, busybox and tdxdbg give the same bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tdxdbg.backends.initramfs import MARKER, POWER_OFF, busybox_initramfs
from tdxdbg.errors import TdxdbgError
from tdxdbg.traces import open_trace
from tdxdbg.traces.archive import ArchiveWriter
from tdxdbg.traces.header import pack_header
from tools.make_initramfs import CACHE, ROOT

SAMPLE: Final = ROOT / "sample_traces" / "linux_boot.tdxt.zst"
KERNEL: Final = CACHE / "cloud" / "vmlinuz"
BUSYBOX: Final = CACHE / "busybox" / "busybox"
APPEND: Final = f"console=ttyS0 earlyprintk=ttyS0 {POWER_OFF}"
#: Two vCPUs convert and wait for each other; 52 bits is what QEMU gives a TD.
OPTIONS: Final = ("--append", APPEND, "--vcpus", "2", "--gpaw", "52", "--headless")
#: Seconds, on a busy machine; alone it takes a tenth.
PATIENCE: Final = 300


class NoBootError(Exception):
    """Why there is no boot; one line."""


def boot(folder: Path) -> tuple[Path, str]:
    """The recording of a boot to user space and power off, and the kernel's release."""
    for path in (KERNEL, BUSYBOX):
        if not path.is_file():
            raise NoBootError(f"no {path}: tools/fetch_kernels {path.parent.name}")
    initrd, trace = folder / "initrd", folder / "boot.tdxt"
    initrd.write_bytes(busybox_initramfs(BUSYBOX.read_bytes()))
    command = [sys.executable, "-m", "tdxdbg", "linux", str(KERNEL), "--initrd", str(initrd)]
    done = subprocess.run(
        [*command, *OPTIONS, "--record", str(trace)],
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    release = re.search(r"Linux version (\S+)", said)
    if done.returncode != 0 or MARKER not in said or release is None:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NoBootError(f"the boot ended before user space: {' '.join(last)}")
    return trace, release[1]


def write_sample(recording: Path, release: str, target: Path) -> None:
    """The recording as an archive with a title, over an older one."""
    with open_trace(recording) as trace:
        meta = replace(
            trace.meta,
            title=f"Debian's Linux {release} boots as a TD with two vCPUs, to user space and off",
            # The path is this machine's.
            extra=MappingProxyType({**trace.meta.extra, "guest": KERNEL.name}),
        )
        fresh = recording.with_name(target.name)
        with fresh.open("wb") as file:
            writer = ArchiveWriter(file.write)
            writer.write(pack_header(meta))
            for piece in trace.pieces():
                writer.write(piece)
            writer.finish()
    fresh.replace(target)


def main(target: Path = SAMPLE) -> int:
    """Write the sample; 0 also when it is left alone."""
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            write_sample(*boot(Path(scratch)), target)
    except (NoBootError, TdxdbgError, OSError, subprocess.TimeoutExpired) as problem:
        print(f"{target.name} is left as it is: {problem}", file=sys.stderr)
        return 0
    print(f"{target}: {target.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
