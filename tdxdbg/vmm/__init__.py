"""Above KVM: who answers KVM_EXIT_*.

A `Vmm` gives a `Reply` to each exit: as QEMU does, from devices of its own, and
changed by named policies. It is pure: what it writes into guest memory and the
interrupts it raises go through `GuestMemory` and `Events`, conversions are part
of the reply, and all of its state is a value.
"""

from tdxdbg.vmm.ask import Ask, Board, Chipset, Events, GuestMemory, Reply
from tdxdbg.vmm.policies import POLICIES, Policy
from tdxdbg.vmm.vmm import Vmm, VmmCheckpoint

__all__ = [
    "POLICIES",
    "Ask",
    "Board",
    "Chipset",
    "Events",
    "GuestMemory",
    "Policy",
    "Reply",
    "Vmm",
    "VmmCheckpoint",
]
