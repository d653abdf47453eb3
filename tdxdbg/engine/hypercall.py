"""Vendor-specific TDVMCALL (R10 != 0): KVM hypercalls (facts: kernel_exits 4.1).

nr = R10, arguments R11..R14, always 64-bit and CPL 0. In the posted v1 and
later every result that the kernel computes is also left in
run->hypercall.ret; in v19 it is not.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import kvm as uapi
from tdxdbg.abi.regs import R10, R11, R12, R13, RAX, U64, replace
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import set_status, to_userspace
from tdxdbg.engine.state import Completer, Input, Outcome, Reentry, TdExit, Vcpu
from tdxdbg.engine.tdvmcall.map_gpa import WRITTEN_WITH_RET

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_HEAD: Final = Struct("<4Q")
_RET_MASK: Final = 0xFF << 56
_WRITTEN: Final = WRITTEN_WITH_RET & ~_RET_MASK
_FLAGS: Final = uapi.HYPERCALL_LONG_MODE.to_bytes(8, "little")
_GFN_MASK: Final = U64

_ENOSYS: Final = -uapi.KVM_ENOSYS & U64
_EINVAL: Final = -uapi.KVM_EINVAL & U64
_EOPNOTSUPP: Final = -uapi.KVM_EOPNOTSUPP & U64

#: Hypercalls that need a paravirtual feature, and its bit.
_FEATURES: Final = {
    uapi.HC_KICK_CPU: uapi.FEATURE_PV_UNHALT,
    uapi.HC_SEND_IPI: uapi.FEATURE_PV_SEND_IPI,
    uapi.HC_SCHED_YIELD: uapi.FEATURE_PV_SCHED_YIELD,
}


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_emulate_vmcall since v1: R10 = the result, also left in hypercall.ret."""
    result = _emulate(kvm, vcpu, event)
    if result is None:
        ret, written = kvm.generation.hypercall_ret(vcpu)
        return _exit(vcpu, ret, written)
    union = vcpu.union
    vcpu.union = union[:56] + result.to_bytes(8, "little") + union[64:]
    vcpu.valid |= _RET_MASK
    set_status(vcpu, result)
    return Outcome.REENTER_TD


def handle_v19(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_emulate_vmcall of v19: R10 = 0 already at the exit; hypercall.ret is never written."""
    result = _emulate(kvm, vcpu, event)
    if result is None:
        set_status(vcpu, 0)
        return _exit(vcpu, vcpu.union[56:64], _WRITTEN)
    set_status(vcpu, result)
    return Outcome.REENTER_TD


def ret_zero(vcpu: Vcpu) -> tuple[bytes, int]:
    """6.16: ret is set to 0 at the exit, because QEMU up to 9.2 never writes it."""
    return bytes(8), WRITTEN_WITH_RET


def ret_stale(vcpu: Vcpu) -> tuple[bytes, int]:
    """v1: the exit leaves ret as it is."""
    return vcpu.union[56:64], _WRITTEN


def _emulate(kvm: Engine, vcpu: Vcpu, event: Input) -> int | None:
    """kvm_emulate_hypercall: the result, or None for an exit to userspace."""
    td = kvm.td
    nr = vcpu.regs[R10]
    vcpu.notes += (notes.VENDOR,)
    feature = _FEATURES.get(nr)
    if feature is not None and not td.pv_features >> feature & 1:
        vcpu.notes += (notes.HYPERCALL_NO_FEATURE,)
        return _ENOSYS
    if nr in (uapi.HC_VAPIC_POLL_IRQ, uapi.HC_KICK_CPU, uapi.HC_SCHED_YIELD):
        vcpu.notes += (notes.HYPERCALL_DONE,)
        return 0
    if nr in (uapi.HC_CLOCK_PAIRING, uapi.HC_SEND_IPI):
        vcpu.notes += (notes.HYPERCALL_DONE,)
        return _known_result(event, nr)
    if nr == uapi.HC_MAP_GPA_RANGE:
        return _map_gpa_range(kvm, vcpu)
    vcpu.notes += (notes.HYPERCALL_UNKNOWN,)
    return _ENOSYS


def _known_result(event: Input, nr: int) -> int:
    """What the recording knows; without it, what a host without the device answers."""
    if type(event) is TdExit and event.in_kernel is not None:
        return event.in_kernel.value
    return _EOPNOTSUPP if nr == uapi.HC_CLOCK_PAIRING else 0


def _map_gpa_range(kvm: Engine, vcpu: Vcpu) -> int | None:
    if not kvm.td.exit_hypercall:
        vcpu.notes += (notes.HYPERCALL_NOT_ENABLED,)
        return _ENOSYS
    gpa, pages = vcpu.regs[R11], vcpu.regs[R12]
    gfn = gpa >> 12
    if gpa & 0xFFF or not pages or (gfn + pages) & _GFN_MASK <= gfn:
        vcpu.notes += (notes.HYPERCALL_BAD_RANGE,)
        return _EINVAL
    return None


def _exit(vcpu: Vcpu, ret: bytes, written: int) -> Outcome:
    """KVM_EXIT_HYPERCALL: arguments as the guest gave them, shared bit and all; no chunks."""
    regs = vcpu.regs
    union = vcpu.union
    head = _HEAD.pack(uapi.HC_MAP_GPA_RANGE, regs[R11], regs[R12], regs[R13])
    vcpu.notes += (notes.HYPERCALL_EXIT,)
    return to_userspace(
        vcpu,
        uapi.Exit.HYPERCALL,
        kvm_run.HYPERCALL,
        head + union[32:56] + ret + _FLAGS + union[72:],
        written,
        Completer.HYPERCALL,
    )


def complete(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """R10 = hypercall.ret, any 64-bit value."""
    ret = int.from_bytes(vcpu.union[56:64], "little")
    _convert(kvm, vcpu, ret)
    set_status(vcpu, ret)
    vcpu.notes += (notes.HYPERCALL_COMPLETE,)
    return Outcome.REENTER_TD


def complete_v19(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """v19: the result goes to RAX and is lost on the way to the guest."""
    ret = int.from_bytes(vcpu.union[56:64], "little")
    _convert(kvm, vcpu, ret)
    vcpu.regs = replace(vcpu.regs, RAX, ret)
    vcpu.notes += (notes.HYPERCALL_COMPLETE_RAX,)
    return Outcome.REENTER_TD


def _convert(kvm: Engine, vcpu: Vcpu, ret: int) -> None:
    """Userspace said that it converted the range; the GPA may carry the shared bit."""
    if ret:
        return
    gpa, pages, attributes = _HEAD.unpack_from(vcpu.union)[1:]
    kvm.converted(
        gpa & ~kvm.td.shared_mask,
        pages << 12,
        private=bool(attributes & uapi.MAP_GPA_RANGE_ENCRYPTED),
    )
