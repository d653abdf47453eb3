"""Takes out of records what is not to leave the house, before anything is made of them.

Two levels. `TEXT`: what a guest or a device writes as data: the message of
ReportFatalError, bytes of port I/O and MMIO. `REGISTERS`: that, and every
register value and what is derived from one: GPAs, ports, MSR and CPUID numbers,
interrupt vectors. What stays says of which kind an exit is: the exit reason and
status of TDH.VP.ENTER, RCX where it is the mask of a TDVMCALL, the sub-function or
KVM hypercall where it has a name, size and direction, the KVM_EXIT_*, errno and
status of its answers, and times, vCPUs and the order.

Both name what stays, never what goes: a register that is no operand of the call,
and bytes of struct kvm_run that KVM left stale or that belong to no member, may
hold anything, and go. What went is unknown (`known` and `valid` are clear) and
its bytes are zeros. What cannot be said to be unknown is left out: with
REGISTERS the ioctls that convert pages, and so the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from tdxdbg.abi.kvm import RUN_UNION_OFFSET
from tdxdbg.abi.regs import KNOWN_ALL, REG_NAMES, U64, Regs
from tdxdbg.decode.known import Seen, seen
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.recorded import DERIVED_SHIFT
from tdxdbg.engine.state import (
    Answer,
    InKernel,
    IoAnswer,
    MmioAnswer,
    Msr,
    Reentry,
    Step,
    TdExit,
    TdxRawAnswer,
)
from tdxdbg.export.staying import (
    DATA,
    DATA_CALLS,
    KIND_FIELDS,
    TEXT_FREE,
    UNKNOWN,
    Call,
    asked,
    call_of,
    given,
    is_status,
    kinds,
    reply,
)
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.records import KNOWN_ANSWER, Kind, Record


class Level(IntEnum):
    """How much goes; the greater one takes all that the smaller does."""

    TEXT = 1
    REGISTERS = 2


#: By the name on the command line and in a trace's metadata.
LEVELS: Final = {"text": Level.TEXT, "registers": Level.REGISTERS}

#: Bits of TDH.VP.ENTER's return value that were seen.
_SEEN_BITS: Final = {Seen.NOTHING: 0, Seen.REASON: 0xFFFF_FFFF, Seen.ALL: U64}


class Redaction:
    """Fed with records in journal order (or row by row); what is unsure goes."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self._calls: dict[int, tuple[int, Call]] = {}

    def row(self, records: list[Record]) -> list[Record]:
        """The records of one row as they may leave."""
        found = (self.record(record) for record in records)
        return [record for record in found if record is not None]

    def record(self, record: Record) -> Record | None:
        """The record as it may leave; None: not at all. Checkpoints are for `state`."""
        body = record.body
        if isinstance(body, TdExit):
            call = call_of(body, record.known)
            self._calls[record.vcpu] = record.row, call
            return self._td_exit(record, body, call)
        row, call = self._calls.get(record.vcpu, (-1, UNKNOWN))
        if row != record.row:
            call = UNKNOWN
        if isinstance(body, Step):
            return self._step(record, body, call)
        if isinstance(body, Reentry):
            return self._reentry(record, body, call)
        if record.kind is Kind.MEMORY_ATTRIBUTES and self.level is Level.TEXT:
            return record
        return None

    def _td_exit(self, record: Record, body: TdExit, call: Call) -> Record:
        stays = asked(call) if self.level is Level.TEXT else kinds(call, body.regs)
        known = _only(record.known, stays)
        body = body._replace(
            vp_enter_ret=body.vp_enter_ret & _SEEN_BITS[seen(known)],
            regs=_kept(body.regs, known),
            known=known & KNOWN_ALL,
            in_kernel=self._in_kernel(body.in_kernel, call),
        )
        return record._replace(body=body, known=known)

    def _in_kernel(self, found: InKernel | None, call: Call) -> InKernel | None:
        """Its value is what a device gave."""
        if found is None or not found.value:
            return found
        is_data = not call.known or call.leaf in DATA_CALLS or self.level is Level.REGISTERS
        return None if is_data else found

    def _step(self, record: Record, step: Step, call: Call) -> Record:
        is_entry = record.kind is Kind.TD_ENTRY
        if self.level is Level.TEXT:
            stays = given(call) if is_entry else asked(call)
        else:
            stays = reply(step.regs.r10, call) if is_entry else 0
        known = _only(record.known, stays)
        run = None if step.run is None else self._run(step.run, asked(call))
        step = step._replace(regs=_kept(step.regs, known), run=run, notes=())
        return record._replace(body=step, known=known)

    def _run(self, run: KvmRun, asked: int) -> KvmRun:
        """Of its member only what KVM wrote and what may stay."""
        rules = TEXT_FREE if self.level is Level.TEXT else KIND_FIELDS
        stays = rules.get(run.layout.member)
        mask = 0
        for field in run.layout.fields if stays is not None else ():
            for index in range(field.count or 1):
                value = run.value(field, index)
                if value is None or not run.was_written(field, index):
                    continue
                name = f"{field.name}[{index}]" if field.count else field.name
                if stays is not None and stays(name, value, run, asked):
                    start = field.offset - RUN_UNION_OFFSET + index * field.size
                    mask |= ((1 << field.size) - 1) << start
        union = bytes(byte if mask >> at & 1 else 0 for at, byte in enumerate(run.union))
        if kvm_run.layout_of(run.exit_reason, union) is not run.layout:
            # What told the members of KVM_EXIT_TDX apart is gone.
            return kvm_run.recorded_run(run.exit_reason, b"", 0)
        return KvmRun(run.exit_reason, run.layout, union, mask, mask)

    def _reentry(self, record: Record, body: Reentry, call: Call) -> Record:
        if body.answer is None:
            return record
        known = record.known
        if known & KNOWN_ANSWER and self._may_leave(body.answer, call):
            return record
        return record._replace(body=body._replace(answer=None), known=known & ~KNOWN_ANSWER)

    def _may_leave(self, answer: Answer, call: Call) -> bool:
        if isinstance(answer, IoAnswer | MmioAnswer):
            return answer.data is None
        if self.level is Level.TEXT:
            plain = call.known and call.leaf not in DATA
            return plain or not isinstance(answer, TdxRawAnswer)
        if isinstance(answer, TdxRawAnswer):
            return False
        first, *others = answer
        no_data = all(value is None for value in others)
        return no_data and (first is None or is_status(first))

    # --- everything else of a trace -----------------------------------------------------

    def state(self, state: Mapping[str, object]) -> Mapping[str, object] | None:
        """The state of the engine (`engine.snapshot`) as it may leave; None: not at all.

        Of a vCPU only its MSRs stay; it is taken for being in the TD, so that
        nobody goes on with registers that are not there.
        """
        vcpus = state.get("vcpus")
        if self.level is Level.REGISTERS or not isinstance(vcpus, list):
            return None
        return {**state, "vcpus": [_blank_vcpu(vcpu) for vcpu in vcpus]}

    def meta(self, meta: TraceMeta) -> TraceMeta:
        """The metadata, without what others wrote freely, and without values of the TD."""
        td = meta.td
        if self.level is Level.REGISTERS:
            none: Mapping[int, Msr] = MappingProxyType({})
            td = replace(td, msrs=none, memslots=(), mmio_devices=(), fast_mmio=())
        return replace(meta, td=td, extra=MappingProxyType({}))


def _only(known: int, stays: int) -> int:
    """`known` without the registers that go."""
    gone = KNOWN_ALL & ~stays
    return known & ~(gone | gone << DERIVED_SHIFT)


def _kept(regs: Regs, known: int) -> Regs:
    return Regs._make(value if known >> at & 1 else 0 for at, value in enumerate(regs))


def _blank_vcpu(vcpu: object) -> object:
    if not isinstance(vcpu, dict):
        return vcpu
    numbers = {name: 0 for name, value in vcpu.items() if isinstance(value, int)}
    return {
        **numbers,
        "index": vcpu.get("index"),
        "phase": 1,
        "regs": dict.fromkeys(REG_NAMES, 0),
        "union": "",
        "valid": "0",
        "pio": "",
        "msrs": vcpu.get("msrs"),
    }
