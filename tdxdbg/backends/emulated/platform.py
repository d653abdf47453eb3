"""What the vCPUs of one machine share, and how one of them reaches memory and events."""

from __future__ import annotations

from typing import Final

from tdxdbg.abi import vmx
from tdxdbg.abi.vmx_instructions import VE_VECTOR
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.clock import Clock, Random
from tdxdbg.backends.emulated.cpu import Cpu
from tdxdbg.backends.emulated.deliver import Done, Waiting, combine, deliver
from tdxdbg.backends.emulated.memory import PAGE, PAGE_SHIFT, Memory
from tdxdbg.backends.emulated.module_api import Module
from tdxdbg.backends.emulated.nested import AROUND, NestedTable
from tdxdbg.backends.emulated.space import CodeReader, Space, Walks
from tdxdbg.backends.emulated.vcpu import Event, Vcpu
from tdxdbg.backends.emulated.watched import WatchedError
from tdxdbg.module.results import Guest, Kind, ModuleExit, Result

IA32_XSS: Final = 0xDA0
#: No XSAVE (`handler`): x87 state, which is always on.
_XCR0: Final = 1
_FAULT_RETRIES: Final = 8


class Platform:
    """RAM, nested page table, CPU, TDX module, time."""

    def __init__(
        self,
        memory: Memory,
        nested: NestedTable,
        cpu: Cpu,
        module: Module,
        shared_mask: int,
        seed: int,
    ) -> None:
        self.memory = memory
        self.nested = nested
        self.cpu = cpu
        self.module = module
        self.shared_mask = shared_mask
        self.clock = Clock()
        self.random = Random(seed)
        self.code = CodeReader(memory, shared_mask)
        self._walks = Walks(memory)

    def guest(self, vcpu: Vcpu, length: int = 0) -> Guest:
        """The vCPU as the TDX module sees it, stopped at an instruction of `length` bytes."""
        context = vcpu.context
        q = context.q
        hflags = context.d[ctx.HFLAGS]
        # A positional tuple: keywords cost more than everything else here.
        return tuple.__new__(
            Guest,
            (
                context.regs,
                q[ctx.RIP],
                length,
                hflags & ctx.HF_CPL,
                bool(hflags & ctx.HF_CS64),
                q[ctx.CR0],
                q[ctx.CR4],
                q[ctx.EFER],
                _XCR0,
                vcpu.msrs.get(IA32_XSS, 0),
                self.clock.tsc,
                bool(vcpu.apic.irr) and vcpu.apic.pending() >= 0 and context.can_interrupt,
            ),
        )

    # --- memory -----------------------------------------------------------------------

    def reach(self, vcpu: Vcpu, gpa: int, kind: int, gla: int) -> Result | None:
        """Make a page reachable for an access (vmx.EPT_VIOLATION_ACC_*).

        `gpa` has the shared bit. None: it is; else what the TDX module says.
        """
        write = bool(kind & vmx.EPT_VIOLATION_ACC_WRITE)
        private = not gpa & self.shared_mask
        if private and self.nested.is_present(gpa):
            self._open_for(gpa, write=write)
            return None
        if not (private and self.module.is_mapped(gpa)):
            result = self.module.access(vcpu.index, self.guest(vcpu), gpa, kind, gla)
            if result.kind != Kind.NATIVE:
                return result
        if self.memory.offset(gpa & ~self.shared_mask) < 0:
            # A page that the module knows and that has no memory: only a host's mistake.
            return self.module.event(vcpu.index, self.guest(vcpu), vmx.TRIPLE_FAULT)
        if private:
            self._enter_around(gpa & -PAGE)
            self._open_for(gpa, write=write)
        return None

    def _enter_around(self, gpa: int) -> None:
        """Enter the page at `gpa`, and what the module would let through beside it.

        It saves a fault for each of them, and the guest cannot tell.
        """
        first, is_mapped = gpa & -AROUND, self.module.is_mapped
        pages = range(first, first + AROUND, PAGE)
        self.nested.enter([page for page in pages if page == gpa or is_mapped(page)])

    def _open_for(self, gpa: int, *, write: bool) -> None:
        if write:
            page = self.memory.offset(gpa) >> PAGE_SHIFT
            if not (self.nested.writable[page] or self.nested.code[page]):
                self.nested.allow_write_around(gpa)

    def has_code(self, gpa: int) -> bool:
        """Whether translated code was made of the page of a private GPA."""
        return bool(self.nested.code[self.memory.offset(gpa) >> PAGE_SHIFT])

    def space(self, vcpu: Vcpu) -> Space:
        """The vCPU's linear addresses, as its CPU would access them."""

        def reach(gpa: int, write: int, gla: int) -> Result | None:
            kind = vmx.EPT_VIOLATION_ACC_WRITE if write else vmx.EPT_VIOLATION_ACC_READ
            return self.reach(vcpu, gpa, kind, gla)

        return Space(self.memory, vcpu.context, self.shared_mask, self._walks, reach)

    # --- events -----------------------------------------------------------------------

    def deliver(self, vcpu: Vcpu, event: Event) -> ModuleExit | None:
        """Let the guest take an event.

        A TD exit on the way leaves it in `vcpu.event`, and so does a frame
        that would go to watched memory (WatchedError).
        """
        vcpu.event = None
        space = self.space(vcpu)
        for _ in range(_FAULT_RETRIES):
            try:
                outcome = deliver(self.memory, vcpu.context, space, event)
            except WatchedError:
                vcpu.event = event
                raise
            if outcome is Done.DELIVERED:
                return None
            if outcome is Done.TRIPLE_FAULT:
                break
            assert isinstance(outcome, Waiting)
            result = outcome.result
            if isinstance(result, ModuleExit):
                vcpu.event = outcome.event
                return result
            second = combine(outcome.event, event_of(result))
            if second is None:
                break
            event = second
        return self.module.event(vcpu.index, self.guest(vcpu), vmx.TRIPLE_FAULT)


def event_of(result: Result) -> Event:
    """The exception that the module injects."""
    if result.kind == Kind.INJECT_VE:
        return Event(VE_VECTOR)
    assert result.kind == Kind.INJECT_FAULT
    return Event(result.vector, result.error_code, cr2=result.cr2)
