"""What KVM does for an exit without asking anybody: its MMU, and its local APIC.

The engine models what userspace can see of KVM; how a fault is mapped and what
an APIC register holds are part of its input (`InKernel`), and come from here.
"""

from __future__ import annotations

import errno
from typing import Final

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import Regs
from tdxdbg.backends.emulated import apic
from tdxdbg.backends.emulated.memory import PAGE
from tdxdbg.backends.emulated.platform import Platform
from tdxdbg.backends.emulated.vcpu import NO_CALL, HostCall, Vcpu
from tdxdbg.engine.gpa import GpaMap
from tdxdbg.engine.state import InKernel
from tdxdbg.module import LEVEL_2M, LEVEL_4K, SHARED_MMIO, SHARED_RAM, ModuleExit

_LARGE: Final = 2 << 20
_EXT_ACCEPT: Final = 1
_EXT_PENDING: Final = 6


class KvmSide:
    """KVM of one TD, below the engine's border. `gpa_map`: the memory attributes."""

    def __init__(self, platform: Platform, *, large_pages: bool) -> None:
        self._platform = platform
        self._large_pages = large_pages
        self.gpa_map = GpaMap()

    # --- an exit ----------------------------------------------------------------------

    def look_at(self, vcpu: Vcpu, exit_: ModuleExit) -> tuple[InKernel | None, HostCall]:
        """What KVM's inside says of a TD exit, and what is to be done when it is answered."""
        reason = exit_.vp_enter_ret
        if reason & vmx.BASIC_MASK == vmx.TDCALL and reason >> 32 == 0:
            return self._apic_msr(vcpu, exit_.regs)
        if reason == vmx.EPT_VIOLATION:
            return self._violation(exit_.regs)
        return None, NO_CALL

    def _apic_msr(self, vcpu: Vcpu, regs: Regs) -> tuple[InKernel | None, HostCall]:
        """Instruction.RDMSR and WRMSR of a register of the local APIC."""
        if regs.r10 or regs.r11 not in (vmx.MSR_READ, vmx.MSR_WRITE) or not apic.owns(regs.r12):
            return None, NO_CALL
        if regs.r11 == vmx.MSR_WRITE:
            return None, HostCall(msr=regs.r12, value=regs.r13)
        value = vcpu.apic.read(regs.r12, self._platform.clock.tsc)
        return None if value is None else InKernel(value=value), NO_CALL

    def _violation(self, regs: Regs) -> tuple[InKernel | None, HostCall]:
        kind = regs.rdx & 0xF
        if kind == _EXT_PENDING:
            return None, NO_CALL
        if not self._agrees(regs.r8):
            return InKernel(errno=errno.EFAULT), HostCall(gpa=regs.r8)
        level = regs.rdx >> 32 & 7 if kind == _EXT_ACCEPT else LEVEL_4K
        return None, HostCall(gpa=regs.r8, level=level)

    def _agrees(self, gpa: int) -> bool:
        """Whether the access is of the kind that the page is; what is no RAM is shared."""
        mask = self._platform.shared_mask
        plain = gpa & ~mask
        if self._platform.memory.offset(plain) < 0:
            return bool(gpa & mask)
        return self.gpa_map.is_shared(plain) == bool(gpa & mask)

    # --- its answer -------------------------------------------------------------------

    def finish(self, vcpu: Vcpu, regs: Regs, vcpus: tuple[Vcpu, ...]) -> None:
        """The host enters again: what KVM did meanwhile takes effect."""
        call, vcpu.call = vcpu.call, NO_CALL
        if call.msr >= 0 and not regs.r10:
            ipi = vcpu.apic.write(call.msr, call.value, self._platform.clock.tsc)
            if ipi is not None:
                for other in vcpus:
                    if other.apic.accepts(ipi, vcpu.index):
                        other.apic.raise_vector(ipi.vector)
        if call.gpa >= 0 and self._agrees(call.gpa):
            self._map(call)

    def _map(self, call: HostCall) -> None:
        """kvm_mmu_page_fault: a private page that is to be accepted, shared RAM, or MMIO."""
        platform = self._platform
        plain = call.gpa & ~platform.shared_mask
        if call.gpa & platform.shared_mask:
            is_ram = platform.memory.offset(plain) >= 0
            platform.module.map_shared(plain & -PAGE, PAGE, SHARED_RAM if is_ram else SHARED_MMIO)
        elif call.level == LEVEL_2M and self._large_pages and self._is_private(plain & -_LARGE):
            platform.module.map_private(plain & -_LARGE, _LARGE, LEVEL_2M)
        else:
            platform.module.map_private(plain & -PAGE, PAGE, LEVEL_4K)

    def _is_private(self, gpa: int) -> bool:
        """Whether 2 MiB are all RAM and all private."""
        memory = self._platform.memory
        if any(memory.offset(page) < 0 for page in (gpa, gpa + _LARGE - PAGE)):
            return False
        return not any(item.shared for item in self.gpa_map.ranges(gpa, gpa + _LARGE))

    # --- memory attributes ------------------------------------------------------------

    def set_memory_attributes(self, gpa: int, size: int, *, private: bool) -> None:
        """Pages that become shared are other pages: they start as zeroes.

        A page that becomes private is cleared when the guest accepts it.
        """
        platform = self._platform
        if not private:
            for slot in platform.memory.slots:
                low, high = max(gpa, slot.gpa) & -PAGE, min(gpa + size, slot.gpa + slot.size)
                for item in self.gpa_map.ranges(low, high) if low < high else ():
                    if not item.shared:
                        platform.memory.zero(item.start, item.end - item.start)
        self.gpa_map = self.gpa_map.convert(gpa, size, private=private)
        platform.module.convert(gpa, size, private=private)
        platform.nested.forget(gpa, size)
        platform.cpu.flush_tlb()
