"""Vendor-specific TDVMCALL (R10 != 0): KVM's hypercalls (facts: kernel_exits 4.1)."""

from __future__ import annotations

from typing import Final

from tdxdbg.abi import kvm
from tdxdbg.decode.node import Node, Operands, node
from tdxdbg.decode.values import hexa, hypercall_name, size_text

#: RCX of a Hyper-V guest's hypercall: RDX, R8, R10, R11 (facts: ghci_and_guest 1.3).
HYPERV_MASK: Final = 0x0D04


def decode_vendor(ops: Operands, rcx: Node, r10: int) -> Node:
    """A call whose R10 is not 0; KVM takes R10 for the hypercall number."""
    kind = ops.row("call type", "r10", "vendor-specific: KVM reads it as a hypercall number")
    if r10 == kvm.HC_MAP_GPA_RANGE:
        args: tuple[Node, ...] = (
            ops.row("GPA", "r11", _alignment),
            ops.row("pages", "r12", lambda pages: size_text(pages * kvm.PAGE_SIZE)),
            ops.row("attributes", "r13", map_gpa_range_attributes),
        )
    else:
        args = tuple(ops.row(f"a{at}", f"r{11 + at}") for at in range(4))
    return node(
        f"TDG.VP.VMCALL<{hypercall_name(r10)}>",
        f"R10={hexa(r10)}",
        _purpose(ops, r10),
        rcx,
        kind,
        *args,
        where=f"r10 == {hexa(r10)}",
    )


def _purpose(ops: Operands, r10: int) -> str:
    if ops.mask == HYPERV_MASK:
        return "a Hyper-V hypercall by its RCX bitmap: R10 control word, RDX and R8 GPAs"
    if r10 in kvm.HYPERCALL_NAMES:
        return "KVM hypercall by TDVMCALL"
    return "no KVM hypercall has this number"


def map_gpa_range_attributes(value: int) -> str:
    """args[2] of KVM_HC_MAP_GPA_RANGE: bit 4 and the page size (facts: kernel_exits 1.5)."""
    wanted = "ENCRYPTED: private" if value & kvm.MAP_GPA_RANGE_ENCRYPTED else "DECRYPTED: shared"
    page = value & kvm.MAP_GPA_RANGE_PAGE_SIZE_MASK
    sizes = {0: "", 1: ", 2 MiB pages", 2: ", 1 GiB pages"}
    other = value & ~(kvm.MAP_GPA_RANGE_ENCRYPTED | kvm.MAP_GPA_RANGE_PAGE_SIZE_MASK)
    tail = f", other bits {hexa(other)}" if other else ""
    return wanted + sizes.get(page, f", page size {page} (none such)") + tail


def _alignment(value: int) -> str:
    return "not a multiple of 4 KiB" if value & (kvm.PAGE_SIZE - 1) else ""
