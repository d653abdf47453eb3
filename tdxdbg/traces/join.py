"""Joins KVM's trace events into rows, thread by thread.

A vCPU is a thread. The kernel prints what an exit was about in several
events: kvm_pio or kvm_mmio with the access, then kvm_userspace_exit; the value
that userspace gave to a read comes when the vCPU runs again. So a record stays
open until no later event can add to it, and records leave in the order in
which they were opened. What no event shows stays unknown.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tdxdbg.abi import regs as r
from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import (
    EXIT_IO_IN,
)
from tdxdbg.abi.kvm import Exit as KvmExit
from tdxdbg.abi.regs import NO_REGS
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.engine.state import (
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
)
from tdxdbg.traces import kvm_text, probes, records
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.kvm_text import Mmio, Pio
from tdxdbg.traces.probes import Event
from tdxdbg.traces.records import Kind, Record
from tdxdbg.traces.seen import SeenExit, io_run, may_read, userspace_step

#: A record waits for later events of its thread until so many others were opened.
MAX_OPEN: Final = 1 << 16


class At(NamedTuple):
    """Where an event comes from: thread, time in ns or None, line number."""

    thread: int
    time: int | None
    line: int


class _Slot:
    """A record that may still change; `finish` makes it."""

    __slots__ = ("finish", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.finish: Callable[[], Record] | None = None


class _Thread:
    """What is going on in one vCPU thread."""

    __slots__ = ("access", "delimited", "exit", "open", "read", "replied", "row", "slots", "vcpu")

    def __init__(self, vcpu: int) -> None:
        self.vcpu = vcpu
        self.row: int | None = None
        #: Whether kvm_exit or kvm_entry show where rows end.
        self.delimited = False
        #: Whether a probe saw the entry whose kvm_entry comes next.
        self.replied = False
        #: The TD exit of the row, until it is closed.
        self.exit: SeenExit | None = None
        #: The last access of the guest that nothing has taken up yet.
        self.access: Pio | Mmio | None = None
        #: The userspace exit that waits for the value of a read.
        self.read: _Slot | None = None
        self.slots: list[_Slot] = []


class EventJoiner(Protocol):
    """What importers need of a joiner."""

    unused: Counter[str]

    def feed(self, at: At, event: Event) -> None:
        """One event; raises ValueError when it is refused."""

    def lost(self) -> None:
        """Events were lost here."""

    def finish(self) -> None:
        """No more events come."""

    def vcpus(self) -> dict[int, int]:
        """The number of the vCPU that each thread is."""

    def close(self) -> None:
        """Nothing more will be asked of it, whatever happened."""


class Joiner:
    """Takes events in the order of the recording and gives records to a builder.

    `unused` counts events that carry nothing for a row, by name.
    """

    def __init__(self, builder: Builder) -> None:
        self.unused: Counter[str] = Counter()
        self._builder = builder
        self._threads: dict[int, _Thread] = {}
        self._vcpus: set[int] = set()
        self._rows = 0
        self._queue: deque[_Slot] = deque()
        self._handlers: dict[type[Event], Callable[[At, Event], None]] = {
            kvm_text.Exit: self._on_exit,
            kvm_text.Entry: self._on_entry,
            kvm_text.UserspaceExit: self._on_userspace_exit,
            kvm_text.Pio: self._on_pio,
            kvm_text.Mmio: self._on_mmio,
            kvm_text.Msr: self._on_msr,
            kvm_text.Hypercall: self._on_hypercall,
            kvm_text.PageFault: self._on_page_fault,
            kvm_text.Instruction: self._on_instruction,
            probes.ProbedExit: self._on_probed_exit,
            probes.ProbedEntry: self._on_probed_entry,
            probes.RunReturned: self._on_run_returned,
            probes.RunDetail: self._on_run_detail,
            probes.Converted: self._on_converted,
        }

    def feed(self, at: At, event: Event) -> None:
        """One event; raises ValueError when there are more threads than vCPU numbers."""
        self._handlers[type(event)](at, event)

    def vcpus(self) -> dict[int, int]:
        """The number of the vCPU that each thread is."""
        return {number: thread.vcpu for number, thread in self._threads.items()}

    def lost(self) -> None:
        """Events were lost: nothing before may be joined with what follows."""
        for thread in self._threads.values():
            self._close(thread)

    def finish(self) -> None:
        """No more events come."""
        self.lost()

    def close(self) -> None:
        """There is nothing to give up."""

    # --- events -------------------------------------------------------------------------

    def _on_exit(self, at: At, event: Event) -> None:
        assert isinstance(event, kvm_text.Exit)
        thread = self._thread(at, event.vcpu)
        self._close(thread)
        thread.delimited = True
        exit_ = thread.exit = SeenExit(event)
        slot = self._open(thread, at, Kind.TD_EXIT, exit_.body(thread.vcpu), 0)
        vcpu = thread.vcpu
        slot.finish = lambda: slot.record._replace(body=exit_.body(vcpu), known=exit_.known)

    def _on_entry(self, at: At, event: Event) -> None:
        assert isinstance(event, kvm_text.Entry)
        thread = self._thread(at, event.vcpu)
        thread.delimited = True
        if thread.replied:
            # The probe of this entry has ended the row.
            thread.replied = False
        elif thread.row is None:
            self.unused["kvm_entry"] += 1
        else:
            self._open(thread, at, Kind.TD_ENTRY, Step(Outcome.REENTER_TD, NO_REGS), 0)
        self._close(thread)

    def _on_userspace_exit(self, at: At, event: Event) -> None:
        assert isinstance(event, kvm_text.UserspaceExit)
        thread = self._thread(at)
        if not thread.delimited:
            access, thread.access = thread.access, None
            self._close(thread)
            thread.access = access
        thread.read = None
        if thread.exit is not None:
            thread.exit.to_userspace = True
        if event.errno:
            run = recorded_run(event.reason, b"", 0) if event.reason else None
            step = Step(Outcome.KVM_ERROR, NO_REGS, run, errno=event.errno)
        else:
            step = userspace_step(event.reason, thread.access, thread.exit)
        known = 0 if step.outcome is Outcome.KVM_ERROR and not step.errno else records.KNOWN_ERRNO
        slot = self._open(thread, at, Kind.USERSPACE_EXIT, step, known)
        if may_read(event.reason, thread.access):
            thread.read = slot
        thread.access = None

    def _on_pio(self, at: At, event: Event) -> None:
        assert isinstance(event, Pio)
        thread = self._thread(at)
        if thread.exit is not None:
            thread.exit.take(event)
        slot, thread.read = thread.read, None
        if event.write or slot is None or _reason(slot) != KvmExit.IO:
            self._access(thread, event if event.write else None, event)
            return
        step = Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, io_run(EXIT_IO_IN, event))
        slot.record = slot.record._replace(body=step)
        data = event.value.to_bytes(4, "little")[: event.size]
        self._answer(thread, at, Reentry(thread.vcpu, IoAnswer(data)))

    def _on_mmio(self, at: At, event: Event) -> None:
        assert isinstance(event, Mmio)
        thread = self._thread(at)
        if thread.exit is not None:
            thread.exit.take(event)
        slot, thread.read = thread.read, None
        if event.kind == "read" and slot is not None and _reason(slot) == KvmExit.MMIO:
            data = event.value.to_bytes(8, "little")[: event.size]
            self._answer(thread, at, Reentry(thread.vcpu, MmioAnswer(data)))
        else:
            self._access(thread, None if event.kind == "read" else event, event)

    def _on_msr(self, at: At, event: Event) -> None:
        assert isinstance(event, kvm_text.Msr)
        exit_ = self._thread(at).exit
        wanted = SubFunction.WRMSR if event.write else SubFunction.RDMSR
        if exit_ is None or exit_.sub_function != wanted:
            self.unused["kvm_msr"] += 1
            return
        exit_.derive(r.R12, event.number)
        if event.write:
            exit_.derive(r.R13, event.value)

    def _on_hypercall(self, at: At, event: Event) -> None:
        assert isinstance(event, kvm_text.Hypercall)
        exit_ = self._thread(at).exit
        if exit_ is None or not exit_.known & records.KNOWN_VP_ENTER_RET:
            self.unused["kvm_hypercall"] += 1
            return
        for register, value in enumerate((event.number, *event.args), r.R10):
            exit_.see(register, value)

    def _on_page_fault(self, at: At, event: Event) -> None:
        assert isinstance(event, kvm_text.PageFault)
        exit_ = self._thread(at).exit
        if exit_ is None or exit_.vp_enter_ret != vmx.EPT_VIOLATION:
            self.unused["kvm_page_fault"] += 1
        else:
            exit_.see(r.R8, event.address)

    def _on_instruction(self, at: At, event: Event) -> None:
        thread = self._threads.get(at.thread)
        self.unused["kvm_emulate_insn"] += 1
        if thread is not None:
            # The access before belongs to another instruction, and no read is outstanding.
            self._drop_access(thread)
            thread.read = None

    # --- events of probes and of a VMM ------------------------------------------------------

    def _on_probed_exit(self, at: At, event: Event) -> None:
        assert isinstance(event, probes.ProbedExit)
        thread = self._thread(at, event.vcpu)
        thread.delimited = True
        thread.replied = False
        if thread.exit is not None and thread.exit.take_probe(event):
            # The registers of the kvm_exit just before.
            return
        self._close(thread)
        exit_ = thread.exit = SeenExit(kvm_text.Exit(event.vcpu, None, 0, 0, 0))
        exit_.take_probe(event)
        vcpu = thread.vcpu
        slot = self._open(thread, at, Kind.TD_EXIT, exit_.body(vcpu), 0)
        slot.finish = lambda: slot.record._replace(body=exit_.body(vcpu), known=exit_.known)

    def _on_probed_entry(self, at: At, event: Event) -> None:
        assert isinstance(event, probes.ProbedEntry)
        thread = self._thread(at, event.vcpu)
        thread.delimited = thread.replied = True
        if thread.row is None:
            self.unused["entries without an exit before"] += 1
        elif thread.exit is not None and thread.exit.is_tdvmcall:
            step = Step(Outcome.REENTER_TD, event.regs)
            self._open(thread, at, Kind.TD_ENTRY, step, event.known & records.KNOWN_REGS)
        else:
            # After any other exit what a probe finds there is not given to the TD.
            self._open(thread, at, Kind.TD_ENTRY, Step(Outcome.REENTER_TD, NO_REGS), 0)
        self._close(thread)

    def _on_run_returned(self, at: At, event: Event) -> None:
        assert isinstance(event, probes.RunReturned)
        thread = self._thread(at, event.vcpu)
        if not thread.delimited:
            self._close(thread)
        if thread.exit is not None:
            thread.exit.to_userspace = True
        self._drop_access(thread)
        thread.read = None
        _, run, errno = event
        outcome = Outcome.EXIT_TO_USERSPACE if errno == 0 else Outcome.KVM_ERROR
        known = 0 if errno is None else records.KNOWN_ERRNO
        step = Step(outcome, NO_REGS, run, errno=errno or 0)
        self._open(thread, at, Kind.USERSPACE_EXIT, step, known)

    def _on_run_detail(self, at: At, event: Event) -> None:
        assert isinstance(event, probes.RunDetail)
        slot = self._last_return(at, event.run.exit_reason)
        if slot is None:
            self.unused["details of no exit"] += 1
            return
        body = slot.record.body
        assert isinstance(body, Step)
        slot.record = slot.record._replace(body=body._replace(run=event.run))
        if event.answer is not None:
            thread = self._threads[at.thread]
            self._answer(thread, at, Reentry(thread.vcpu, event.answer))

    def _on_converted(self, at: At, event: Event) -> None:
        assert isinstance(event, probes.Converted)
        thread = self._threads.get(at.thread)
        if thread is None or thread.row is None:
            self.unused["conversions outside of an exit"] += 1
        else:
            self._open(thread, at, Kind.MEMORY_ATTRIBUTES, SetMemoryAttributes(*event), 0)

    def _last_return(self, at: At, reason: int) -> _Slot | None:
        """The thread's last return to userspace, if it has this exit reason."""
        thread = self._threads.get(at.thread)
        slots = thread.slots if thread is not None else []
        for slot in reversed(slots):
            if slot.record.kind is Kind.USERSPACE_EXIT:
                return slot if _reason(slot) == reason else None
        return None

    # --- rows ---------------------------------------------------------------------------

    def _thread(self, at: At, number: int | None = None) -> _Thread:
        """The vCPU thread; a new one gets its own number, or the next that is free."""
        thread = self._threads.get(at.thread)
        if thread is None:
            vcpu = number
            if vcpu is None or vcpu in self._vcpus or vcpu > records.MAX_VCPU:
                vcpu = len(self._vcpus)
                while vcpu in self._vcpus:
                    vcpu += 1
            if vcpu > records.MAX_VCPU:
                raise ValueError("more threads than vCPU numbers")
            self._vcpus.add(vcpu)
            thread = self._threads[at.thread] = _Thread(vcpu)
        return thread

    def _open(self, thread: _Thread, at: At, kind: Kind, body: records.Body, known: int) -> _Slot:
        if thread.row is None:
            thread.row = self._rows
            self._rows += 1
        slot = _Slot(Record(kind, thread.row, thread.vcpu, at.time, body, known, at.line))
        thread.slots.append(slot)
        self._queue.append(slot)
        if len(self._queue) > MAX_OPEN:
            self._give(self._queue.popleft())
            self._give_done()
        return slot

    def _answer(self, thread: _Thread, at: At, body: Reentry) -> None:
        self._open(thread, at, Kind.ANSWER, body, records.KNOWN_ANSWER)

    def _access(self, thread: _Thread, access: Pio | Mmio | None, event: Pio | Mmio) -> None:
        """Keeps what the guest asked for until an exit takes it up."""
        self._drop_access(thread)
        thread.access = access
        if access is None and thread.exit is None:
            self.unused[_event_name(event)] += 1

    def _drop_access(self, thread: _Thread) -> None:
        if thread.access is not None and thread.exit is None:
            self.unused[_event_name(thread.access)] += 1
        thread.access = None

    def _close(self, thread: _Thread) -> None:
        """Ends the thread's row: its records are as good as they get."""
        self._drop_access(thread)
        for slot in thread.slots:
            if slot.finish is not None:
                slot.record = slot.finish()
            slot.finish = _done
        thread.slots.clear()
        thread.row = thread.exit = thread.read = None
        self._give_done()

    def _give_done(self) -> None:
        queue = self._queue
        while queue and queue[0].finish is _done:
            self._builder.add(queue.popleft().record)

    def _give(self, slot: _Slot) -> None:
        """Gives out a record as it is; its row goes on."""
        if slot.finish is not None and slot.finish is not _done:
            slot.record = slot.finish()
        self._builder.add(slot.record)


def _done() -> Record:
    raise AssertionError("a closed record does not change")


def _event_name(event: Pio | Mmio) -> str:
    return "kvm_pio" if isinstance(event, Pio) else "kvm_mmio"


def _reason(slot: _Slot) -> int:
    body = slot.record.body
    return body.run.exit_reason if isinstance(body, Step) and body.run is not None else 0
