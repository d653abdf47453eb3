"""Engine: inputs in, Steps out.

Theory of operation. A vCPU is in the TD, in userspace, or dead. What enters
KVM is an input: TDH.VP.ENTER returning (`TdExit`, only from the TD), KVM_RUN
again (`Reentry`, only from userspace) or KVM_SET_MEMORY_ATTRIBUTES. `feed`
looks at the phase, lets the generation's handlers change the vCPU, and returns
one frozen `Step`. An input that the phase forbids raises ProtocolError before
anything changed. Nothing else happens in here: no clock, no chance, no I/O, so
the same inputs give the same Steps.

KVM_RUN's protocol (facts: kernel_exits 3): run->flags is cleared; a pending
completion is removed, then called; only then do immediate_exit and signals
count.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple

from tdxdbg.abi.kvm import MEMORY_EXIT_FLAG_PRIVATE, RUN_UNION_OFFSET, Exit
from tdxdbg.abi.regs import NO_REGS, U64
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.generations import NEWEST, Generation
from tdxdbg.engine.gpa import GpaMap
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.state import (
    VM_BUGGED,
    Answer,
    Completer,
    HypercallAnswer,
    Input,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    Outcome,
    Phase,
    ProtocolError,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
    Vcpu,
)

_new = tuple.__new__

_IN_TD: Final = Phase.IN_TD
_IN_USERSPACE: Final = Phase.IN_USERSPACE
_DEAD: Final = Phase.DEAD
_REENTER: Final = Outcome.REENTER_TD
_ERROR: Final = Outcome.KVM_ERROR
_NO_COMPLETER: Final = Completer.NONE
_MEMORY_FAULT: Final = Struct("<QQQ")  # flags, gpa, size


class Checkpoint(NamedTuple):
    """All of an engine's state; immutable by convention, shared between forks."""

    vcpus: tuple[Vcpu, ...]
    gpa_map: GpaMap
    dead: bool


class Engine:
    """KVM for one TD: `td` and `generation` never change, the rest is a checkpoint."""

    __slots__ = ("dead", "generation", "gpa_map", "td", "vcpus")

    def __init__(self, td: Td, generation: Generation = NEWEST, gpa_map: GpaMap | None = None):
        self.td = td
        self.generation = generation
        self.gpa_map = gpa_map or GpaMap()
        self.vcpus: dict[int, Vcpu] = {}
        self.dead = False

    def vcpu(self, index: int) -> Vcpu:
        """The vCPU with this index; a new one is IN_USERSPACE with zeroed state."""
        vcpu = self.vcpus.get(index)
        if vcpu is None:
            vcpu = self.vcpus[index] = Vcpu(index)
        return vcpu

    def phase(self, index: int) -> Phase:
        """Where this vCPU is, without creating it."""
        vcpu = self.vcpus.get(index)
        return _IN_USERSPACE if vcpu is None else vcpu.phase

    # --- time travel ------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """A snapshot that later inputs do not change."""
        vcpus = tuple(self.vcpus[index].copy() for index in sorted(self.vcpus))
        return Checkpoint(vcpus, self.gpa_map, self.dead)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Back to a snapshot, which stays usable."""
        self.vcpus = {vcpu.index: vcpu.copy() for vcpu in checkpoint.vcpus}
        self.gpa_map = checkpoint.gpa_map
        self.dead = checkpoint.dead

    def fork(self, generation: Generation | None = None) -> Engine:
        """An engine in the same state that goes its own way."""
        other = Engine(self.td, generation or self.generation)
        other.restore(self.checkpoint())
        return other

    def force_into_td(self, index: int) -> None:
        """Take the vCPU for being in the TD.

        For a shadow beside a recording: a recorded TD exit proves that the
        real kernel entered the TD, and that the VM was alive, whatever this
        engine believed.
        """
        vcpu = self.vcpu(index)
        if vcpu.phase is not _IN_TD:
            vcpu.phase = _IN_TD
            vcpu.completer = _NO_COMPLETER
            # KVM_RUN was called, which clears run->flags.
            vcpu.run_flags = 0
            self.dead = False

    def converted(self, gpa: int, size: int, *, private: bool) -> None:
        """Userspace's answer says so: `gpa` without the shared bit, `size` in bytes."""
        if self.td.implicit_conversions:
            self.gpa_map = self.gpa_map.convert(gpa, size, private=private)

    # --- inputs -----------------------------------------------------------------------

    def feed(self, event: Input) -> Step:
        """What KVM does with this input.

        Raises ProtocolError, with nothing changed, when the phase forbids it
        or when the answer is not one to the vCPU's exit.
        """
        if type(event) is TdExit:
            return self._td_exit(event)
        if type(event) is Reentry:
            return self._reentry(event)
        assert isinstance(event, SetMemoryAttributes)
        return self._set_memory_attributes(event)

    def _td_exit(self, event: TdExit) -> Step:
        vcpu = self.vcpus.get(event[0])
        if vcpu is None or vcpu.phase is not _IN_TD:
            raise ProtocolError(
                f"vCPU {event.vcpu} cannot exit from the TD: it is {self.phase(event.vcpu).name};"
                " feed a Reentry first"
            )
        vcpu.regs = event.regs
        vcpu.run = None
        vcpu.errno = 0
        vcpu.effects = 0
        vcpu.notes = ()
        outcome = self.generation.handle_exit(self, vcpu, event)
        return self._finish(vcpu, outcome, event.signal_pending)

    def _reentry(self, event: Reentry) -> Step:
        vcpu = self.vcpus.get(event[0]) or Vcpu(event[0])
        if vcpu.phase is _IN_TD:
            raise ProtocolError(
                f"vCPU {event.vcpu} is in the TD: KVM_RUN has not returned; feed a TdExit first"
            )
        complete = self.generation.completers.get(vcpu.completer)
        if complete is None and vcpu.completer is not _NO_COMPLETER:
            raise ProtocolError(
                f"vCPU {event.vcpu} waits for {vcpu.completer.name}, which"
                f" {self.generation.name} does not have; the state is another generation's"
            )
        answer = event[1]
        if answer is not None and not self.dead:
            apply_answer(vcpu, answer)
        # Nothing is refused below, so a vCPU that is new may show itself.
        self.vcpus[event[0]] = vcpu
        if self.dead:
            return self._dead(vcpu)
        vcpu.run = None
        vcpu.errno = 0
        vcpu.effects = 0
        vcpu.run_flags = 0
        if complete is None:
            outcome = _REENTER
            vcpu.notes = (notes.NO_COMPLETER,)
            if vcpu.exit_reason == Exit.MEMORY_FAULT:
                self._implicit_conversion(vcpu)
        else:
            vcpu.notes = ()
            vcpu.completer = _NO_COMPLETER
            outcome = complete(self, vcpu, event)
        if outcome is _REENTER and event[3]:
            vcpu.notes += (notes.IMMEDIATE_EXIT,)
            vcpu.errno = errno.EINTR
            outcome = _ERROR
        return self._finish(vcpu, outcome, event[4])

    def _finish(self, vcpu: Vcpu, outcome: Outcome, signal_pending: bool) -> Step:
        """What KVM's run loop makes of the handler's return value."""
        effects = vcpu.effects
        if outcome is _REENTER:
            vcpu.exit_reason = 0
            if self.dead:
                return self._dead(vcpu)
            if signal_pending:
                outcome = _ERROR
                vcpu.phase = _IN_USERSPACE
                vcpu.errno = errno.EINTR
                vcpu.notes += (notes.SIGNAL,)
                vcpu.exit_reason = Exit.INTR
                vcpu.run = KvmRun(Exit.INTR, kvm_run.EMPTY, vcpu.union, 0, vcpu.valid)
            else:
                vcpu.phase = _IN_TD
        else:
            if effects & VM_BUGGED:
                self.dead = True
            vcpu.phase = _DEAD if self.dead else _IN_USERSPACE
        step: Step = _new(
            Step,
            (
                outcome,
                vcpu.regs,
                vcpu.run,
                vcpu.run_flags,
                vcpu.completer,
                vcpu.errno,
                effects,
                vcpu.notes,
            ),
        )
        return step

    def _dead(self, vcpu: Vcpu) -> Step:
        """kvm_vm_dead: nothing is looked at, nothing changes but the phase."""
        vcpu.phase = _DEAD
        vcpu.completer = _NO_COMPLETER
        return Step(_ERROR, vcpu.regs, errno=errno.EIO, notes=(notes.VM_DEAD,))

    def _implicit_conversion(self, vcpu: Vcpu) -> None:
        """Userspace answers a memory fault by converting, and has no field to say so."""
        flags, gpa, size = _MEMORY_FAULT.unpack_from(vcpu.union)
        self.converted(gpa, size, private=bool(flags & MEMORY_EXIT_FLAG_PRIVATE))
        # Once: a KVM_RUN that now fails with -EINTR leaves the exit reason in kvm_run.
        vcpu.exit_reason = 0
        vcpu.notes += (notes.IMPLICIT_CONVERSION,)

    def _set_memory_attributes(self, event: SetMemoryAttributes) -> Step:
        """kvm_vm_ioctl_set_mem_attributes."""
        if self.dead:
            return Step(_ERROR, NO_REGS, errno=errno.EIO, notes=(notes.VM_DEAD,))
        gpa, size, private = event
        # A range that ends at 2^64 wraps too: its end is 0.
        if not 0 <= gpa < gpa + size <= U64 or (gpa | size) & 0xFFF:
            return Step(_ERROR, NO_REGS, errno=errno.EINVAL, notes=(notes.ATTRIBUTES_INVALID,))
        self.gpa_map = self.gpa_map.convert(gpa, size, private=private)
        return Step(Outcome.IOCTL_DONE, NO_REGS, notes=(notes.ATTRIBUTES_SET,))


# --- what userspace writes ------------------------------------------------------------

_RET: Final = kvm_run.HYPERCALL.fields[2].offset - RUN_UNION_OFFSET
_MMIO_DATA: Final = 8
_MSR_ERROR: Final = 0
_MSR_DATA: Final = 16
#: Offset in the union of each field of an answer, in the order of its type.
_TDX_FIELDS: Final = (16, 32, 40, 48, 56)
_RAW_FIELDS: Final = tuple(range(112, 208, 8))


def apply_answer(vcpu: Vcpu, answer: Answer) -> None:
    """Write what userspace wrote into kvm_run.

    Raises ProtocolError, with nothing written, when the answer belongs to
    another exit or holds a number that its field cannot.
    """
    exits, write = _ANSWERS[type(answer)]
    if vcpu.exit_reason not in exits:
        raise _no_answer(vcpu, answer)
    try:
        write(vcpu, answer)
    except OverflowError as error:
        raise ProtocolError(
            f"a {type(answer).__name__} of vCPU {vcpu.index} holds a number that its field"
            " in struct kvm_run cannot hold; give unsigned numbers of the field's size"
        ) from error


def _no_answer(vcpu: Vcpu, answer: Answer) -> ProtocolError:
    return ProtocolError(
        f"a {type(answer).__name__} does not answer exit reason {vcpu.exit_reason}"
        f" of vCPU {vcpu.index}; give the answer of that exit, or None"
    )


def _write_hypercall(vcpu: Vcpu, answer: HypercallAnswer) -> None:
    if answer.ret is not None:
        _write(vcpu, _RET, answer.ret.to_bytes(8, "little"))


def _write_io(vcpu: Vcpu, answer: IoAnswer) -> None:
    if answer.data is not None:
        data = answer.data[:8]
        vcpu.pio = data + vcpu.pio[len(data) :]


def _write_mmio(vcpu: Vcpu, answer: MmioAnswer) -> None:
    if answer.data is not None:
        _write(vcpu, _MMIO_DATA, answer.data[:8])


def _write_msr(vcpu: Vcpu, answer: MsrAnswer) -> None:
    error = b"" if answer.error is None else answer.error.to_bytes(1, "little")
    _write_numbers(vcpu, (_MSR_DATA,), (answer.data,))
    _write(vcpu, _MSR_ERROR, error)


def _write_tdx(vcpu: Vcpu, answer: TdxAnswer | TdxRawAnswer) -> None:
    # One exit reason, two layouts: v19's raw exit and the decoded one.
    raw = kvm_run.layout_of(Exit.TDX, vcpu.union) is kvm_run.TDX_RAW
    if raw is not isinstance(answer, TdxRawAnswer):
        raise _no_answer(vcpu, answer)
    _write_numbers(vcpu, _RAW_FIELDS if raw else _TDX_FIELDS, answer)


def _write_numbers(vcpu: Vcpu, places: tuple[int, ...], values: tuple[int | None, ...]) -> None:
    """Write u64s; all are packed before the first is written."""
    packed = [
        (at, value.to_bytes(8, "little"))
        for at, value in zip(places, values, strict=True)
        if value is not None
    ]
    for at, data in packed:
        _write(vcpu, at, data)


def _write(vcpu: Vcpu, at: int, data: bytes) -> None:
    size = len(data)
    vcpu.union = vcpu.union[:at] + data + vcpu.union[at + size :]
    vcpu.valid |= ((1 << size) - 1) << at


#: The exits that a type of answer belongs to, and how it is written.
_ANSWERS: Final[dict[type[Answer], tuple[tuple[int, ...], Callable[[Vcpu, Any], None]]]] = {
    HypercallAnswer: ((Exit.HYPERCALL,), _write_hypercall),
    IoAnswer: ((Exit.IO,), _write_io),
    MmioAnswer: ((Exit.MMIO,), _write_mmio),
    MsrAnswer: ((Exit.X86_RDMSR, Exit.X86_WRMSR), _write_msr),
    TdxAnswer: ((Exit.TDX,), _write_tdx),
    TdxRawAnswer: ((Exit.TDX,), _write_tdx),
}
