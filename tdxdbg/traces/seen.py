"""What KVM's trace events show of an exit: registers of the TD, and fields of kvm_run.

What no event shows stays unknown; what follows from what is shown is marked
as derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from errno import EINTR
from typing import Final

from tdxdbg.abi import regs as r
from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import (
    EXIT_IO_OUT,
    HC_MAP_GPA_RANGE,
    RUN_UNION_OFFSET,
    RUN_UNION_SIZE,
)
from tdxdbg.abi.kvm import Exit as KvmExit
from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import KvmRun, Layout, recorded_run
from tdxdbg.engine.state import InKernel, Outcome, Step, TdExit
from tdxdbg.traces import kvm_text, records
from tdxdbg.traces.kvm_text import Mmio, Pio
from tdxdbg.traces.probes import ProbedExit

#: Reasons that KVM shows instead of TDCALL, and the sub-function behind (facts: kernel_exits 3).
FOLDED: Final[dict[int, int | None]] = {
    vmx.CPUID: SubFunction.CPUID,
    vmx.HLT: SubFunction.HLT,
    vmx.IO_INSTRUCTION: SubFunction.IO,
    vmx.MSR_READ: SubFunction.RDMSR,
    vmx.MSR_WRITE: SubFunction.WRMSR,
    vmx.EPT_MISCONFIG: SubFunction.MMIO,
    vmx.VMCALL: None,
    vmx.TDCALL: None,
}
#: KVM_EXIT_* of a KVM_RUN that failed, and its errno where there is but one.
FAILED: Final[dict[int, int]] = {KvmExit.INTR: EINTR, KvmExit.MEMORY_FAULT: 0}
#: A TDVMCALL exposes R10 and R11; no VMX exit qualification has these bits for such a reason.
TDVMCALL_MASK: Final = 1 << r.R10 | 1 << r.R11


class SeenExit:
    """A kvm_exit, and what later events say of its registers."""

    def __init__(self, event: kvm_text.Exit) -> None:
        self.regs = [0] * 16
        self.known = 0
        self.vp_enter_ret = 0
        self.sub_function: int | None = None
        self.in_kernel: InKernel | None = None
        self.to_userspace = False
        #: Whether a probe has told its registers.
        self.probed = False
        reason = event.reason
        if reason is None:
            return
        self.vp_enter_ret = reason
        self.known = records.KNOWN_REASON
        self.see(r.RCX, event.info1)
        self.see(r.RDX, event.info2)
        self.regs[r.R9] = event.intr_info
        if reason in FOLDED and event.info1 & TDVMCALL_MASK == TDVMCALL_MASK:
            self.vp_enter_ret = vmx.TDCALL
            self.known |= records.KNOWN_VP_ENTER_RET
            self.sub_function = FOLDED[reason]
            if reason != vmx.VMCALL:
                self.derive(r.R10, 0)
            if self.sub_function is not None:
                self.derive(r.R11, self.sub_function)

    def see(self, register: int, value: int) -> None:
        """The register was printed."""
        self.regs[register] = value
        self.known |= 1 << register

    def derive(self, register: int, value: int) -> None:
        """The register follows from what was printed, unless it was printed itself."""
        if self.known >> register & 1 and not self.known >> (records.DERIVED_SHIFT + register) & 1:
            return
        self.see(register, value)
        self.known |= 1 << (records.DERIVED_SHIFT + register)

    @property
    def is_tdvmcall(self) -> bool:
        """Whether it is known to be one."""
        seen = self.known & records.KNOWN_VP_ENTER_RET
        return bool(seen) and self.vp_enter_ret & vmx.BASIC_MASK == vmx.TDCALL

    def take_probe(self, event: ProbedExit) -> bool:
        """The registers that a probe saw; False when this exit has got them already."""
        if self.probed:
            return False
        self.probed = True
        for register, value in enumerate(event.regs):
            if event.known >> register & 1:
                self.see(register, value)
        self.known &= ~((event.known & records.KNOWN_REGS) << records.DERIVED_SHIFT)
        if event.ret is not None:
            self.vp_enter_ret = event.ret
            self.known |= records.KNOWN_VP_ENTER_RET | records.KNOWN_REASON
        named = event.known >> r.R10 & 0b11 == 0b11 and not self.regs[r.R10]
        if self.is_tdvmcall and named:
            self.sub_function = self.regs[r.R11]
        return True

    def take(self, event: Pio | Mmio) -> None:
        """The access that the guest asked for: its arguments (GHCI: R12 size, R13 direction)."""
        if isinstance(event, Pio):
            if self.sub_function != SubFunction.IO:
                return
            self.derive(r.R14, event.port)
            write = event.write
        else:
            if self.sub_function != SubFunction.MMIO:
                return
            write = event.kind == "write"
        self.derive(r.R12, event.size)
        self.derive(r.R13, int(write))
        if write:
            self.derive(r.R15, event.value)
        self.in_kernel = InKernel(True, 0 if write else event.value)

    def body(self, vcpu: int) -> TdExit:
        in_kernel = None if self.to_userspace else self.in_kernel
        known = self.known & records.KNOWN_REGS
        return TdExit(vcpu, self.vp_enter_ret, Regs._make(self.regs), known, in_kernel)


def may_read(reason: int, access: Pio | Mmio | None) -> bool:
    """Whether the exit may be a read, whose value comes when the vCPU runs again."""
    if reason == KvmExit.IO:
        return not isinstance(access, Pio)
    return reason == KvmExit.MMIO and not (isinstance(access, Mmio) and access.kind == "write")


def userspace_step(reason: int, access: Pio | Mmio | None, exit_: SeenExit | None) -> Step:
    """KVM_RUN returned with this KVM_EXIT_*, after this access in this exit.

    Two of them come with an errno: of KVM_EXIT_INTR it can only be EINTR, of
    KVM_EXIT_MEMORY_FAULT it is not known (0 here).
    """
    run = recorded_run(reason, b"", 0)
    if reason in FAILED:
        return Step(Outcome.KVM_ERROR, NO_REGS, run, errno=FAILED[reason])
    if reason == KvmExit.IO and isinstance(access, Pio):
        run = io_run(EXIT_IO_OUT, access)
    elif reason == KvmExit.MMIO and isinstance(access, Mmio):
        run = mmio_run(access)
    elif reason == KvmExit.HYPERCALL and exit_ is not None:
        seen = exit_.known >> r.R10 & 0b1111 == 0b1111
        if seen and exit_.regs[r.R10] == HC_MAP_GPA_RANGE:
            args = exit_.regs[r.R11 : r.R14]
            run = known_run(reason, kvm_run.HYPERCALL, {"nr": HC_MAP_GPA_RANGE, "args": args})
    return Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, run)


def io_run(direction: int, event: Pio) -> KvmRun:
    """KVM_EXIT_IO of this access; of a string only the first element was printed."""
    values: dict[str, int | list[int]] = {
        "direction": direction,
        "size": event.size,
        "port": event.port,
    }
    if event.elements:
        values["count"] = event.elements
    data = event.value.to_bytes(4, "little")[: event.size] if direction == EXIT_IO_OUT else b""
    return known_run(KvmExit.IO, kvm_run.IO, values, data)


def mmio_run(event: Mmio) -> KvmRun:
    """KVM_EXIT_MMIO of this access."""
    write = event.kind == "write"
    values: dict[str, int | list[int]] = {
        "phys_addr": event.gpa,
        "len": event.size,
        "is_write": int(write),
    }
    if write:
        values["data"] = list(event.value.to_bytes(8, "little")[: event.size])
    return known_run(KvmExit.MMIO, kvm_run.MMIO, values)


def known_run(
    reason: int,
    layout: Layout,
    values: Mapping[str, int | list[int]],
    pio: bytes = b"",
) -> KvmRun:
    """A run of which only these fields are known."""
    union = bytearray(RUN_UNION_SIZE)
    valid = 0
    for field in layout.fields:
        value = values.get(field.name)
        if value is None:
            continue
        items = [value] if isinstance(value, int) else value
        start = field.offset - RUN_UNION_OFFSET
        for index, item in enumerate(items):
            at = start + index * field.size
            union[at : at + field.size] = item.to_bytes(field.size, "little")
        valid |= ((1 << (field.size * len(items))) - 1) << start
    return recorded_run(reason, bytes(union), valid, pio)
