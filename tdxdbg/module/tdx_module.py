"""The TDX module of one TD.

Theory of operation. A vCPU runs guest code until something stops it; what
stopped it goes in here with the guest's state (`tdcall`, `instruction`,
`access`, `event`), and the answer says what comes next (`results`). After a
`ModuleExit` the host has the vCPU; `vp_enter` takes it back into the TD. The
host's side of the TD's memory are the methods from `page_add` on. There is no
clock, no chance and no I/O in here, so the same calls give the same answers,
and every field of the state is an immutable value: a checkpoint is a copy.
"""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.regs import Regs
from tdxdbg.module import access, exits, host, instructions, tdcall, vp_enter
from tdxdbg.module.operand import SHARED_ABSENT
from tdxdbg.module.results import Entered, Guest, GuestMemory, ModuleExit, Result
from tdxdbg.module.sept import LEVEL_4K
from tdxdbg.module.state import TdParams, TdState, VcpuState
from tdxdbg.module.vp_enter import FINE, Host


class ModuleCheckpoint(NamedTuple):
    """All that the module remembers; immutable by convention, shared between forks."""

    td: TdState
    vcpus: tuple[VcpuState, ...]


class TdxModule:
    """`params` never change, `memory` is the machine's; the rest is a checkpoint."""

    __slots__ = ("memory", "params", "td", "vcpus")

    params: TdParams
    memory: GuestMemory
    td: TdState
    vcpus: tuple[VcpuState, ...]

    def __init__(self, params: TdParams, memory: GuestMemory) -> None:
        self.params = params
        self.memory = memory
        self.td = TdState(params)
        self.vcpus = tuple(VcpuState(index) for index in range(params.num_vcpus))

    # --- time travel ------------------------------------------------------------------

    def checkpoint(self) -> ModuleCheckpoint:
        """A snapshot that later calls do not change."""
        return ModuleCheckpoint(self.td.copy(), tuple(vcpu.copy() for vcpu in self.vcpus))

    def restore(self, checkpoint: ModuleCheckpoint) -> None:
        """Back to a snapshot, which stays usable."""
        self.td = checkpoint.td.copy()
        self.vcpus = tuple(vcpu.copy() for vcpu in checkpoint.vcpus)

    # --- a vCPU stopped ---------------------------------------------------------------

    def tdcall(self, vcpu: int, guest: Guest) -> Result:
        """TDCALL (66 0F 01 CC)."""
        return tdcall.tdcall(self, self.vcpus[vcpu], guest)

    def instruction(
        self, vcpu: int, guest: Guest, reason: int, qualification: int = 0, info: int = 0
    ) -> Result:
        """Another intercepted instruction, by VMX exit reason."""
        return instructions.instruction(self, self.vcpus[vcpu], guest, reason, qualification, info)

    def access(self, vcpu: int, guest: Guest, gpa: int, kind: int, gla: int) -> Result:
        """A memory access; `gpa` with the shared bit, `kind` of READ, WRITE, FETCH."""
        return access.access(self, self.vcpus[vcpu], guest, gpa, kind, gla)

    def event(
        self, vcpu: int, guest: Guest, reason: int, qualification: int = 0, intr_info: int = 0
    ) -> ModuleExit:
        """An interrupt, an NMI, a triple fault...: always a TD exit."""
        return exits.event(self, self.vcpus[vcpu], guest, reason, qualification, intr_info)

    def bus_lock(self, vcpu: int) -> None:
        """A bus lock was pre-empted; the next TDVMCALL reports it (RAX bit 26)."""
        self.vcpus[vcpu].bus_lock = True

    # --- the host ---------------------------------------------------------------------

    def start(self, vcpu: int, regs: Regs, rip: int) -> None:
        """TDH.VP.INIT: the registers and RIP with which the first entry begins."""
        self.vcpus[vcpu].regs = regs
        self.vcpus[vcpu].rip = rip

    def finalize(self) -> None:
        """TDH.MR.FINALIZE: from now on vCPUs run and pages have to be accepted."""
        self.td.finalized = True

    def vp_enter(self, vcpu: int, regs: Regs, host_state: Host = FINE) -> Entered | ModuleExit:
        """TDH.VP.ENTER with the host's registers."""
        return vp_enter.vp_enter(self, self.vcpus[vcpu], regs, host_state)

    def pend_nmi(self, vcpu: int) -> None:
        """TDH.VP.WR of PEND_NMI: an NMI for the guest."""
        self.vcpus[vcpu].pend_nmi = True

    def take_nmi(self, vcpu: int) -> bool:
        """Whether to deliver the pending NMI now; the vCPU asks when NMIs are not blocked.

        It waits until the guest has read VE_INFO (facts: ghci_and_guest 3.6).
        """
        state = self.vcpus[vcpu]
        if not state.pend_nmi or state.ve_info is not None:
            return False
        state.pend_nmi = False
        return True

    def lock_entry(self, gpa: int) -> None:
        """A SEAMCALL holds the SEPT entry of `gpa` with host priority, until `unlock_entry`."""
        self.td.host_locked |= {gpa}

    def unlock_entry(self, gpa: int) -> None:
        """The SEAMCALL is done."""
        self.td.host_locked -= {gpa}

    def page_add(self, gpa: int) -> int:
        """TDH.MEM.PAGE.ADD; returns the status."""
        return host.page_add(self, gpa)

    def page_aug(self, gpa: int, level: int = LEVEL_4K) -> int:
        """TDH.MEM.PAGE.AUG; returns the status."""
        return host.page_aug(self, gpa, level)

    def range_block(self, gpa: int, level: int = LEVEL_4K) -> int:
        """TDH.MEM.RANGE.BLOCK; returns the status."""
        return host.range_block(self, gpa, level)

    def range_unblock(self, gpa: int, level: int = LEVEL_4K) -> int:
        """TDH.MEM.RANGE.UNBLOCK; returns the status."""
        return host.range_unblock(self, gpa, level)

    def page_remove(self, gpa: int, level: int = LEVEL_4K) -> int:
        """TDH.MEM.PAGE.REMOVE; returns the status."""
        return host.page_remove(self, gpa, level)

    def page_demote(self, gpa: int) -> int:
        """TDH.MEM.PAGE.DEMOTE; returns the status."""
        return host.page_demote(self, gpa)

    def map_private(self, gpa: int, size: int, level: int = LEVEL_4K) -> None:
        """Map what is absent of a private range (bytes), as KVM does before or on a fault."""
        host.map_private(self, gpa, size, level)

    def map_shared(self, gpa: int, size: int, kind: int = SHARED_ABSENT) -> None:
        """Set what the shared EPT has for a range (bytes)."""
        host.map_shared(self, gpa, size, kind)

    def convert(self, gpa: int, size: int, *, private: bool) -> None:
        """Memory attributes of a range (bytes) changed."""
        host.convert(self, gpa, size, private=private)
