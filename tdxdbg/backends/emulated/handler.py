"""What becomes of each exit of the CPU.

A table by exit code, with one method for each; the TDX module decides what the
guest sees, this file does it. `None` says that the vCPU can go on, a
`ModuleExit` that the host has it.

The emulated CPU has no XSAVE, SMEP, SMAP, FSGSBASE and later features:
CR4 bits of those are a #GP, which is what a CPU without them does, and
XSETBV stays a #UD.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdxdbg.abi import vmx
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.abi.regs import RAX, RCX, RDX, U64
from tdxdbg.backends.emulated import (
    apic,
    clock,
    decode,
    gla,
    paging,
    pcid,
    shared,
    system_calls,
    vmcb,
)
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.decode import What
from tdxdbg.backends.emulated.exits import Exit
from tdxdbg.backends.emulated.exits import Kind as End
from tdxdbg.backends.emulated.platform import Platform, event_of
from tdxdbg.backends.emulated.space import GuestFaultError
from tdxdbg.backends.emulated.vcpu import Event, Origin, Vcpu
from tdxdbg.backends.emulated.watched import WatchedError
from tdxdbg.module.results import Kind, ModuleExit, Result

_EFER: Final = 0xC000_0080
_TSC: Final = 0x10
_TSC_AUX: Final = 0xC000_0103
_CR4_POSSIBLE: Final = 0x7FF | ins.CR4_PCIDE
_DR6_BS: Final = 1 << 14
_DEBUG_STATUS: Final = 0xE00F
_DR7_GD: Final = 1 << 13

_RESUME: Final = Kind.RESUME
_MODULE_EXIT: Final = Kind.MODULE_EXIT
_TDCALL: Final = What.TDCALL

_DB: Final = 1
_UD: Final = Event(ins.UD_VECTOR)
_GP: Final = Event(ins.GP_VECTOR, 0)
_WITH_ERROR_CODE: Final = frozenset({8, 10, 11, 12, 13, 14, 17})


class Handler:
    """Reacts to exits of vCPUs of one platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._table: dict[int, Callable[[Vcpu, Exit], ModuleExit | None]] = {
            vmcb.RDPMC: self._simple(ins.RDPMC, 2),
            vmcb.RDTSC: self._read_tsc,
            vmcb.RDTSCP: self._read_tsc,
            vmcb.CPUID: self._simple(vmx.CPUID, 2),
            vmcb.SOFTWARE_INTERRUPT: self._software_interrupt,
            vmcb.INVD: self._simple(ins.INVD, 2),
            vmcb.WBINVD: self._wbinvd,
            vmcb.PAUSE: self._pause,
            vmcb.HLT: self._simple(vmx.HLT, 1),
            vmcb.MSR: self._msr,
            vmcb.SHUTDOWN: self._shutdown,
            vmcb.VMMCALL: self._undefined,
            vmcb.WRITE_CR0: self._write_cr,
            vmcb.WRITE_CR3: self._write_cr3,
            vmcb.WRITE_CR4: self._write_cr,
            vmcb.READ_CR8: self._cr8,
            vmcb.WRITE_CR8: self._cr8,
            vmcb.EXCEPTION + _DB: self._debug,
            vmcb.EXCEPTION + ins.UD_VECTOR: self._undefined,
            vmcb.EXCEPTION + vmx.PF_VECTOR: self._page_fault,
            vmcb.NESTED_PAGE_FAULT: self._nested_fault,
            End.IO: self._io,
            End.SYSTEM_CALL: self._system_call,
            End.BREAKPOINT: self._window,
            End.WATCHPOINT: self._watchpoint,
        }

    def handle(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """React to anything but the end of a slice and a broken CPU.

        Raises WatchedError where a write to watched memory comes next.
        """
        try:
            return self._table.get(end.code, self._other)(vcpu, end)
        except GuestFaultError as fault:
            self._platform.cpu.flush_tlb()
            return self._deliver(vcpu, fault.event)

    def _other(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """MOV of a debug register, and exceptions that are the guest's own affair."""
        if vmcb.READ_DR0 <= end.code < vmcb.EXCEPTION:
            return self._mov_dr(vcpu, end)
        vector = end.code - vmcb.EXCEPTION
        if not 0 <= vector < 32:
            return self._shutdown(vcpu, end)
        code = vcpu.context.d[ctx.ERROR_CODE] if vector in _WITH_ERROR_CODE else None
        return self._deliver(vcpu, Event(vector, code))

    # --- doing what was decided ---------------------------------------------------------

    def _deliver(self, vcpu: Vcpu, event: Event) -> ModuleExit | None:
        return self._platform.deliver(vcpu, event)

    def _code(self, vcpu: Vcpu) -> bytes:
        """The instruction's bytes.

        The CPU may have run it from a stale translation; then it is fetched
        again, and the page is not there.
        """
        code = self._platform.code.read(vcpu.context)
        if not code:
            user = paging.USER if vcpu.context.cpl == 3 else 0
            fault = Event(vmx.PF_VECTOR, paging.FETCH | user, cr2=vcpu.context.rip)
            raise GuestFaultError(fault)
        return code

    def _advance(self, vcpu: Vcpu, length: int, ticks: int = clock.EMULATED) -> None:
        """The instruction is done; with RFLAGS.TF a #DB follows it."""
        context = vcpu.context
        q, d = context.q, context.d
        rip, hflags, eflags = q[ctx.RIP] + length, d[ctx.HFLAGS], q[ctx.EFLAGS]
        q[ctx.RIP] = rip & (U64 if hflags & ctx.HF_CS64 else 0xFFFF_FFFF)
        d[ctx.HFLAGS] = hflags & ~ctx.HF_INHIBIT_IRQ
        q[ctx.EFLAGS] = eflags & ~ctx.RFLAGS_RF
        self._platform.clock.retire(1, ticks)
        if eflags & ctx.RFLAGS_TF:
            self._set_dr(vcpu, 6, vcpu.debug_registers[6] | _DR6_BS)
            vcpu.event = Event(_DB)

    def _apply(self, vcpu: Vcpu, result: Result, length: int) -> ModuleExit | None:
        """What the module said of an instruction of `length` bytes."""
        if result.kind == _RESUME:
            vcpu.context.regs = result.regs
            self._advance(vcpu, length)
            return None
        if result.kind == _MODULE_EXIT:
            if result.advance:
                self._advance(vcpu, length, 0)
            return result
        if result.kind == Kind.RETRY:
            return None
        if result.kind == Kind.NATIVE:
            # Nothing that the CPU could do by itself: WBINVD with coherent caches, say.
            self._advance(vcpu, length)
            return None
        return self._deliver(vcpu, event_of(result))

    # --- instructions -------------------------------------------------------------------

    def _simple(self, reason: int, size: int) -> Callable[[Vcpu, Exit], ModuleExit | None]:
        """An instruction whose opcode has `size` bytes and that the module knows by reason."""

        def handle(vcpu: Vcpu, end: Exit) -> ModuleExit | None:
            is_64bit = vcpu.context.is_64bit
            length = decode.length_of(self._code(vcpu), size, is_64bit=is_64bit)
            return self._ask(vcpu, reason, length)

        return handle

    def _ask(
        self, vcpu: Vcpu, reason: int, length: int, qualification: int = 0, info: int = 0
    ) -> ModuleExit | None:
        platform = self._platform
        guest = platform.guest(vcpu, length)
        result = platform.module.instruction(vcpu.index, guest, reason, qualification, info)
        return self._apply(vcpu, result, length)

    def _wbinvd(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """Unicorn reports INVD as WBINVD."""
        code = self._code(vcpu)
        at = decode.prefixes(code, is_64bit=vcpu.context.is_64bit).at
        reason = ins.INVD if code[at : at + 2] == b"\x0f\x08" else ins.WBINVD
        return self._ask(vcpu, reason, at + 2)

    def _undefined(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """A #UD: perhaps an instruction that the CPU model does not know."""
        context = vcpu.context
        code = self._platform.code.read(context) or self._code(vcpu)
        found = decode.undefined(code, context.is_64bit)
        if found.what is _TDCALL:
            platform = self._platform
            guest = platform.guest(vcpu, found.length)
            return self._apply(vcpu, platform.module.tdcall(vcpu.index, guest), found.length)
        if found.what is What.EXITING:
            return self._ask(vcpu, found.reason, found.length)
        if found.what is What.RANDOM:
            return self._random(vcpu, found)
        if found.what is What.INT1:
            return self._deliver(vcpu, Event(_DB, return_rip=context.rip + found.length))
        if found.what is What.RDTSCP:
            return self._read_tsc(vcpu, end)
        if found.what is What.RDPID:
            context.q[ctx.GPRS + found.register] = context.q[ctx.TSC_AUX] & 0xFFFF_FFFF
            self._advance(vcpu, found.length)
            return None
        if found.what is What.SYSENTER and context.d[ctx.HFLAGS] & ctx.HF_LMA:
            return self._or_fault(vcpu, system_calls.sysenter(context))
        if found.what is What.SYSEXIT and context.d[ctx.HFLAGS] & ctx.HF_LMA:
            return self._or_fault(vcpu, system_calls.sysexit(context, found.bits))
        return self._deliver(vcpu, _UD)

    def _or_fault(self, vcpu: Vcpu, event: Event | None) -> ModuleExit | None:
        """The end of a system call: done, or an exception."""
        if event is not None:
            return self._deliver(vcpu, event)
        self._platform.clock.retire(1)
        return None

    def _random(self, vcpu: Vcpu, found: decode.Undefined) -> ModuleExit | None:
        """RDRAND and RDSEED: CF = 1, the other arithmetic flags 0."""
        context = vcpu.context
        word = ctx.GPRS + found.register
        value = self._platform.random.next()
        if found.bits == 16:
            value = context.q[word] & ~0xFFFF | value & 0xFFFF
        elif found.bits == 32:
            value &= 0xFFFF_FFFF
        context.q[word] = value
        context.rflags = context.rflags & ~0x8D5 | ctx.RFLAGS_CF
        self._advance(vcpu, found.length)
        return None

    def _read_tsc(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        context = vcpu.context
        code = self._code(vcpu)
        at = decode.prefixes(code, is_64bit=context.is_64bit).at
        with_aux = code[at + 1 : at + 2] == b"\x01"
        tsc = self._platform.clock.tsc
        context.q[ctx.GPRS + RAX] = tsc & 0xFFFF_FFFF
        context.q[ctx.GPRS + RDX] = tsc >> 32
        if with_aux:
            context.q[ctx.GPRS + RCX] = context.q[ctx.TSC_AUX] & 0xFFFF_FFFF
        self._advance(vcpu, at + (3 if with_aux else 2), clock.READ_TSC)
        return None

    def _pause(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        length = decode.length_of(self._code(vcpu), 1, is_64bit=vcpu.context.is_64bit)
        self._advance(vcpu, length, clock.PAUSE)
        return None

    def _software_interrupt(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        context = vcpu.context
        vector, length = decode.software_interrupt(self._code(vcpu), is_64bit=context.is_64bit)
        event = Event(vector, None, Origin.SOFTWARE, context.rip + length)
        clock = self._platform.clock
        clock.retire(1)
        try:
            return self._deliver(vcpu, event)
        except WatchedError:
            if vcpu.event is event:
                # Nothing has come of it yet, so it can be executed again.
                vcpu.event = None
                clock.retire(-1)
            raise

    def _system_call(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """SYSCALL; SYSENTER gets here outside 64-bit mode."""
        context = vcpu.context
        code = self._code(vcpu)
        at = decode.prefixes(code, is_64bit=context.is_64bit).at
        if code[at + 1 : at + 2] == b"\x05":
            return self._or_fault(vcpu, system_calls.syscall(context, at + 2))
        if not context.d[ctx.HFLAGS] & ctx.HF_LMA:
            return self._deliver(vcpu, _UD)
        return self._or_fault(vcpu, system_calls.sysenter(context))

    def _io(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        form = decode.io(self._code(vcpu), is_64bit=vcpu.context.is_64bit)
        flags = form.flags | (ins.IO_IN if end.is_in else 0)
        qualification = end.size - 1 | flags | end.detail << ins.IO_PORT_SHIFT
        length = end.next_rip - vcpu.context.rip
        if length <= 0 or form.flags & ins.IO_STRING:
            length = form.length
        return self._ask(vcpu, vmx.IO_INSTRUCTION, length, qualification, form.information)

    # --- registers ------------------------------------------------------------------------

    def _msr(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        platform, context = self._platform, vcpu.context
        code = self._code(vcpu)
        at = decode.prefixes(code, is_64bit=context.is_64bit).at
        is_write = code[at + 1 : at + 2] == b"\x30"
        length = at + 2
        reason = vmx.MSR_WRITE if is_write else vmx.MSR_READ
        guest = platform.guest(vcpu, length)
        result = platform.module.instruction(vcpu.index, guest, reason)
        if result.kind != Kind.NATIVE:
            return self._apply(vcpu, result, length)
        q = context.q
        index = q[ctx.GPRS + RCX] & 0xFFFF_FFFF
        if is_write:
            value = q[ctx.GPRS + RAX] & 0xFFFF_FFFF | (q[ctx.GPRS + RDX] & 0xFFFF_FFFF) << 32
            self._write_native(vcpu, index, value)
        else:
            value = self._read_native(vcpu, index)
            q[ctx.GPRS + RAX] = value & 0xFFFF_FFFF
            q[ctx.GPRS + RDX] = value >> 32
        self._advance(vcpu, length)
        return None

    def _read_native(self, vcpu: Vcpu, index: int) -> int:
        """An MSR that the module leaves to the CPU; one that it does not have is 0."""
        if index == _TSC:
            return self._platform.clock.tsc
        if index == _EFER:
            return vcpu.context.q[ctx.EFER]
        if index == _TSC_AUX:
            return vcpu.context.q[ctx.TSC_AUX] & 0xFFFF_FFFF
        if apic.owns(index):
            return vcpu.apic.read(index, self._platform.clock.tsc) or 0
        return vcpu.msrs.get(index, 0)

    def _write_native(self, vcpu: Vcpu, index: int, value: int) -> None:
        if index == _EFER:
            efer = vcpu.context.q[ctx.EFER]
            vcpu.context.q[ctx.EFER] = efer & ~ins.EFER_SCE | value & ins.EFER_SCE
        elif index == _TSC_AUX:
            vcpu.context.q[ctx.TSC_AUX] = value & 0xFFFF_FFFF
        elif apic.owns(index):
            vcpu.apic.write(index, value, self._platform.clock.tsc)
        else:
            vcpu.msrs[index] = value

    def _write_cr(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """MOV to CR0 or CR4, CLTS, LMSW."""
        platform, context = self._platform, vcpu.context
        number = end.code - vmcb.WRITE_CR0
        code = self._code(vcpu)
        mov = decode.mov_special(code, is_64bit=context.is_64bit)
        if mov is not None:
            qualification = number | ins.CR_MOV_TO << 4 | mov.general << 8
            guest = platform.guest(vcpu, mov.length)
            result = platform.module.instruction(vcpu.index, guest, ins.CR_ACCESS, qualification)
            if result.kind != Kind.NATIVE:
                return self._apply(vcpu, result, mov.length)
            value = context.q[ctx.GPRS + mov.general]
            if (number == 4 and value & ~_CR4_POSSIBLE) or pcid.is_refused(context, number, value):
                return self._deliver(vcpu, _GP)
        exit_ = self._natively(vcpu, 0, 1 << 16 + number)
        pcid.follow(context)
        return exit_

    def _write_cr3(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        context = vcpu.context
        mov = decode.mov_special(self._code(vcpu), is_64bit=context.is_64bit)
        if mov is None:
            return self._deliver(vcpu, _UD)
        pcid.load_cr3(context, context.q[ctx.GPRS + mov.general])
        self._platform.cpu.flush_tlb()
        self._advance(vcpu, mov.length, 0)
        return None

    def _natively(self, vcpu: Vcpu, intercept: int, mask: int) -> ModuleExit | None:
        """Let the CPU do it; another exit of the same instruction is handled as such."""
        return self._continue(vcpu, self._platform.cpu.step_native(vcpu.context, intercept, mask))

    def _continue(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """After one instruction that was run in its own way."""
        self._platform.clock.retire(end.retired)
        return None if end.code == End.COUNT else self.handle(vcpu, end)

    def _cr8(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """CR8 is bits 7:4 of the TPR."""
        context = vcpu.context
        mov = decode.mov_special(self._code(vcpu), is_64bit=context.is_64bit)
        if mov is None:
            return self._deliver(vcpu, _UD)
        word = ctx.GPRS + mov.general
        if end.code == vmcb.READ_CR8:
            context.q[word] = vcpu.apic.tpr >> 4
        elif context.q[word] > 15:
            return self._deliver(vcpu, _GP)
        else:
            vcpu.apic.tpr = context.q[word] << 4
        self._advance(vcpu, mov.length, 1)
        return None

    def _mov_dr(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """The guest's debug registers are kept here: DR0 and DR7 trap its I/O."""
        context = vcpu.context
        mov = decode.mov_special(self._code(vcpu), is_64bit=context.is_64bit)
        number = end.code & 7
        if context.cpl:
            return self._deliver(vcpu, _GP)
        if mov is None or number in (4, 5):
            return self._deliver(vcpu, _UD)
        word = ctx.GPRS + mov.general
        if end.code < vmcb.WRITE_DR0:
            context.q[word] = vcpu.debug_registers[number]
        elif number >= 6 and context.q[word] >> 32:
            return self._deliver(vcpu, _GP)
        else:
            self._set_dr(vcpu, number, context.q[word])
        self._advance(vcpu, mov.length, 1)
        return None

    @staticmethod
    def _set_dr(vcpu: Vcpu, number: int, value: int) -> None:
        if number == 6:
            value = value & _DEBUG_STATUS | 0xFFFF_0FF0
        elif number == 7:
            value = value & ~_DR7_GD & 0xFFFF_2FFF | 0x400
        old = vcpu.debug_registers
        vcpu.debug_registers = (*old[:number], value, *old[number + 1 :])

    # --- exceptions and memory ------------------------------------------------------------

    def _debug(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """#DB: a single step of the guest's own."""
        status = vcpu.context.q[ctx.DR6] & _DEBUG_STATUS
        self._set_dr(vcpu, 6, vcpu.debug_registers[6] | status)
        vcpu.context.q[ctx.DR6] = 0xFFFF_0FF0
        return self._deliver(vcpu, Event(_DB))

    def _window(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """The guest can take an interrupt now; the machine looks at that by itself.

        So it does at a breakpoint.
        """
        return None

    def _watchpoint(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        raise WatchedError(end.detail, end.size)

    def _shutdown(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        platform = self._platform
        return platform.module.event(vcpu.index, platform.guest(vcpu), vmx.TRIPLE_FAULT)

    def _page_fault(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        error_code = vcpu.context.d[ctx.ERROR_CODE]
        if not error_code & paging.RESERVED:
            return self._deliver(vcpu, Event(vmx.PF_VECTOR, error_code, cr2=end.detail))
        outcome = shared.reserved_fault(self._platform, vcpu, end)
        if isinstance(outcome, Event):
            return self._deliver(vcpu, outcome)
        if not isinstance(outcome, Exit):
            return self._apply(vcpu, outcome, 0)
        if outcome.code == end.code:
            # The same instruction wants yet another page: from the start again.
            return None
        return self._continue(vcpu, outcome)

    def _nested_fault(self, vcpu: Vcpu, end: Exit) -> ModuleExit | None:
        """A private page: new to the CPU, clean, or not there."""
        platform, gpa = self._platform, end.detail
        kind = shared.kind_of(vcpu.context.d[ctx.ERROR_CODE])
        linear = 0
        if not platform.nested.is_present(gpa) and not platform.module.is_mapped(gpa):
            linear = gla.find(platform.memory, vcpu.context, platform.shared_mask, gpa)
        result = platform.reach(vcpu, gpa, kind, linear)
        if result is not None:
            return self._apply(vcpu, result, 0)
        if kind & vmx.EPT_VIOLATION_ACC_WRITE and platform.has_code(gpa):
            return self._continue(vcpu, platform.cpu.store_over_code(vcpu.context, gpa))
        return None
