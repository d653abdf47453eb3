"""Where a TDX host's kernel keeps what the recipes read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from tdxdbg.errors import BackendError
from tdxdbg.recipes.btf import Btf

#: The registers of struct tdx_module_args, in its order (facts: kvm_and_traces B3).
REGISTERS: Final = (
    "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rbx", "rdi", "rsi",
)  # fmt: skip
#: Where a running kernel shows its BTF.
BTF_FOLDER: Final = "/sys/kernel/btf"


class Offsets(NamedTuple):
    """Bytes from a vCPU's struct: `registers` in the order of REGISTERS."""

    vcpu_id: int
    vp_enter_ret: int
    registers: tuple[int, ...]
    #: Whose they are, for a comment.
    source: str


def read_offsets(folder: str) -> Offsets:
    """The offsets by the BTF of a kernel, files `vmlinux` and `kvm_intel`.

    Raises BackendError, one line, when it is not there or has no TDX.
    """
    base = Btf(_read(Path(folder, "vmlinux")), f"{folder}/vmlinux")
    module = Path(folder, "kvm_intel")
    # Built into the kernel it has no file of its own.
    btf = Btf(_read(module), str(module), base) if module.exists() else base
    args = btf.offset("vcpu_tdx", "vp_enter_args")
    return Offsets(
        btf.offset("kvm_vcpu", "vcpu_id"),
        btf.offset("vcpu_tdx", "vp_enter_ret"),
        tuple(args + btf.offset("tdx_module_args", name) for name in REGISTERS),
        f"kernel {os.uname().release}" if folder == BTF_FOLDER else f"the BTF in {folder}",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise BackendError(f"{path}: cannot be read: {problem.strerror}") from None
