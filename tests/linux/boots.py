"""Boots of real kernels, as a person would start them; skipped where none can be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from tdxdbg.backends.bzimage import payload
from tdxdbg.backends.initramfs import MARKER, POWER_OFF, busybox_initramfs
from tests.kernels import fetched

#: Seconds for one boot on a busy machine; alone it takes a tenth.
PATIENCE: Final = 170


class Boot(NamedTuple):
    """A combination. `kernel`: a pick of tools/fetch_kernels; memory in MiB."""

    kernel: str = "cloud"
    form: str = "bzImage"
    kaslr: bool = True
    vcpus: int = 1
    gpaw: int = 48
    memory: int = 512
    firmware: bool = False

    @property
    def name(self) -> str:
        parts = [self.kernel, self.form, "kaslr" if self.kaslr else "nokaslr"]
        parts += [f"{self.vcpus}vcpu", f"gpaw{self.gpaw}", f"{self.memory}MiB"]
        return "-".join(parts + ["firmware"] * self.firmware)

    @property
    def append(self) -> str:
        return f"console=ttyS0 earlyprintk=ttyS0 {POWER_OFF}" + " nokaslr" * (not self.kaslr)

    def options(self, folder: Path) -> list[str]:
        """Of `tdxdbg linux`; files that are made for it go to `folder`."""
        options = [str(self.image(folder)), "--initrd", str(initramfs(folder))]
        options += ["--append", self.append, "--vcpus", str(self.vcpus)]
        options += ["--gpaw", str(self.gpaw), "--memory", str(self.memory)]
        if self.firmware:
            options += ["--firmware", str(fetched("firmware/OVMF.inteltdx.ms.fd"))]
        return options

    def image(self, folder: Path) -> Path:
        packed = fetched(f"{self.kernel}/vmlinuz")
        if self.form == "bzImage":
            return packed
        path = folder / "vmlinux"
        path.write_bytes(payload(packed.read_bytes()))
        return path


def initramfs(folder: Path) -> Path:
    path = folder / "initrd"
    path.write_bytes(busybox_initramfs(fetched("busybox/busybox").read_bytes()))
    return path


class Ended(NamedTuple):
    status: int
    console: str
    said: str
    trace: Path


def tdxdbg(*arguments: str, patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdxdbg", *arguments],
        capture_output=True,
        text=True,
        timeout=patience,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )


def run(boot: Boot, folder: Path, *more: str) -> Ended:
    """Boot it, recorded; it ends by itself, or as `more` says."""
    trace = folder / "boot.tdxt"
    done = tdxdbg("linux", *boot.options(folder), "--headless", "--record", str(trace), *more)
    return Ended(done.returncode, done.stdout, done.stderr, trace)


__all__ = ["MARKER", "Boot", "Ended", "initramfs", "run", "tdxdbg"]
