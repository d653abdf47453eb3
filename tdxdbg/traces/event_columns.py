"""Events of a binary recording, as columns: each field taken from where its format says.

What does not fit what an event of this kind can say is left out and counted,
as it is when it is text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tdxdbg.abi.vmx import NO_EXIT_REASON, NO_EXIT_REASON_7_3
from tdxdbg.traces import columns
from tdxdbg.traces.columns import I64, NONE, TIME_LIMIT, U64, Block, Mask
from tdxdbg.traces.event_format import EventFormat, Field
from tdxdbg.traces.kvm_fields import FAILED_RUNS
from tdxdbg.traces.layout import NO_TIME

#: Of an event that stands without its thread.
NO_THREAD: Final = -1 << 32
#: Greater than the number of any event, which has 16 bits.
_NO_EVENT: Final = 1 << 16
_U32: Final = 0xFFFF_FFFF
_ISA_VMX: Final = 1

Bytes = npt.NDArray[np.uint8]


class Raw(NamedTuple):
    """Where the events of a stretch lie in `data`, and what is known of them beside.

    `thread` is None, or NO_THREAD for some, where the events themselves have to say.
    """

    data: Bytes
    at: I64
    length: I64
    time: U64
    source: U64
    thread: I64 | None = None

    def take(self, which: I64) -> Raw:
        """These events."""
        return Raw(
            self.data,
            self.at[which],
            self.length[which],
            self.time[which],
            self.source[which],
            None if self.thread is None else self.thread[which],
        )


class Found(NamedTuple):
    """What raw events say: `where` is the place of each entry of `block` among them.

    `bad` are those that could not be read; `unused` counts the others, by
    their event's number.
    """

    block: Block
    where: I64
    bad: Mask
    unused: dict[int, int]


class _Reader:
    """Fields of events of one format."""

    def __init__(self, data: Bytes, at: I64, fields: Mapping[str, Field]) -> None:
        self._data = data
        self._at = at
        self._fields = fields

    def has(self, name: str) -> bool:
        return name in self._fields

    def __call__(self, name: str, default: int = 0) -> U64:
        """The field in 64 bits, sign-extended if it has a sign; `default` if there is none."""
        field = self._fields.get(name)
        if field is None:
            return np.full(len(self._at), default, np.uint64)
        return gather(self._data, self._at + field.offset, field.size, signed=field.signed)


def gather(data: Bytes, at: I64, size: int, *, signed: bool = False) -> U64:
    """Little-endian numbers of `size` bytes that lie anywhere in `data`."""
    code = f"<{'i' if signed else 'u'}{size}"
    words = np.ndarray(len(data) - size + 1, np.dtype(code), data, strides=(1,))
    values = words[at]
    return values.astype(np.int64).view(np.uint64) if signed else values.astype(np.uint64)


class Columns:
    """Makes blocks out of raw events, by the formats of the file."""

    def __init__(self, formats: Iterable[EventFormat]) -> None:
        self._makers: list[tuple[EventFormat, _Maker]] = []
        self._names: dict[int, str] = {}
        self._common: dict[str, Field] = {}
        for item in formats:
            self._names.setdefault(item.number, item.name)
            maker = _MAKERS.get(item.name) if item.system == "kvm" else None
            if maker is None or not _is_usable(item, maker):
                continue
            self._common = dict(item.fields)
            self._makers.append((item, maker))
        self.has_exits = any(item.name in _EXITS for item, _ in self._makers)

    def name(self, number: int) -> str:
        """The name of an event number."""
        return self._names.get(number, f"events of number {number}")

    def threads(self, raw: Raw) -> I64:
        """The threads of events; NO_THREAD of one that is too short to tell."""
        pid = self._common.get("common_pid")
        told = np.full(len(raw.at), NO_THREAD, np.int64)
        if pid is not None:
            whole = np.flatnonzero(raw.length >= pid.offset + pid.size)
            values = gather(raw.data, raw.at[whole] + pid.offset, pid.size, signed=pid.signed)
            told[whole] = values.view(np.int64)
        if raw.thread is None:
            return told
        return np.where(raw.thread == NO_THREAD, told, raw.thread)

    def block(self, raw: Raw) -> Found:
        """The events that say something of exits, in order."""
        count = len(raw.at)
        bad = np.zeros(count, np.bool_)
        type_field = self._common.get("common_type")
        if not count or type_field is None or type_field.size != 2:
            return Found(columns.empty(), np.empty(0, np.int64), ~bad, {})
        bad |= raw.length < type_field.offset + 2
        number = gather(raw.data, np.where(bad, 0, raw.at) + type_field.offset, 2).view(np.int64)
        number[bad] = _NO_EVENT
        kind = np.zeros(count, np.uint8)
        thread = np.zeros(count, np.int64)
        numbers = {name: np.zeros(count, np.uint64) for name in "abcde"}
        unused = np.bincount(number, minlength=_NO_EVENT + 1)
        unused[_NO_EVENT] = 0
        for item, maker in self._makers:
            which = np.flatnonzero(number == item.number)
            if not len(which) or not unused[item.number]:
                continue
            unused[item.number] = 0
            good = raw.length[which] >= _size(item, maker)
            if not good.all():
                bad[which[~good]] = True
                which = which[good]
            read = _Reader(raw.data, raw.at[which], item.fields)
            made, good = maker.make(read)
            kind[which] = np.where(good, np.uint8(maker.kind), np.uint8(0))
            bad[which] = ~good
            thread[which] = read("common_pid").view(np.int64)
            for name, values in made.items():
                numbers[name][which] = values
        if raw.thread is not None:
            thread = np.where(raw.thread == NO_THREAD, thread, raw.thread)
        time = np.where(raw.time >= TIME_LIMIT, np.uint64(NO_TIME), raw.time)
        block = Block(kind, thread, time, raw.source, *numbers.values())
        where = np.flatnonzero(kind)
        if len(where) < count:
            block = block.take(where)
        others = np.flatnonzero(unused)
        counts = zip(others.tolist(), unused[others].tolist(), strict=True)
        return Found(block, where, bad, dict(counts))


def _is_usable(item: EventFormat, maker: _Maker) -> bool:
    """Whether the event has the fields that it cannot do without, and numbers in them."""
    needed = {"common_type", "common_pid", *maker.needed}
    return item.fields.keys() >= needed and all(
        field.size in (1, 2, 4, 8) for field in _used(item, maker)
    )


def _used(item: EventFormat, maker: _Maker) -> list[Field]:
    names = ("common_pid", *maker.fields)
    return [item.fields[name] for name in names if name in item.fields]


def _size(item: EventFormat, maker: _Maker) -> int:
    """How long an event is at least, in bytes."""
    return max(field.offset + field.size for field in _used(item, maker))


# --- the events -------------------------------------------------------------------------

_Made = tuple[dict[str, U64], Mask]


class _Maker(NamedTuple):
    """How one event becomes numbers; it is not read when a field of `needed` is missing."""

    kind: int
    make: Callable[[_Reader], _Made]
    needed: tuple[str, ...]
    more: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        return self.needed + self.more


def _all(values: U64) -> Mask:
    return np.ones(len(values), np.bool_)


def _exit(read: _Reader) -> _Made:
    reason = read("exit_reason")
    known = (reason < NO_EXIT_REASON) & (reason != NO_EXIT_REASON_7_3)
    known &= read("isa", _ISA_VMX) == _ISA_VMX
    return {
        "a": np.where(known, reason, np.uint64(NONE)),
        "b": read("info1"),
        "c": read("info2"),
        "d": read("intr_info") & np.uint64(_U32),
        "e": read("vcpu_id", NONE),
    }, _all(reason)


def _entry(read: _Reader) -> _Made:
    vcpu = read("vcpu_id", NONE)
    return {"e": vcpu}, _all(vcpu)


def _userspace_exit(read: _Reader) -> _Made:
    reason = read("reason")
    result = read("errno").view(np.int64)
    errno = np.where(result < 0, -result, 0).astype(np.uint64)
    stale = (errno > 0) & ~np.isin(reason, FAILED_RUNS)
    reason = np.where(stale, np.uint64(0), reason)
    return {"a": reason, "b": errno}, (reason <= _U32) & (errno <= _U32)


def _pio(read: _Reader) -> _Made:
    size, port, count, value = read("size"), read("port"), read("count"), read("val")
    good = (size == 1) | (size == 2) | (size == 4)
    good &= (port <= 0xFFFF) & (count <= _U32) & (value <= _U32)
    write = (read("rw") != 0).astype(np.uint64)
    return {"a": write, "b": port, "c": size, "d": count, "e": value}, good


def _mmio(read: _Reader) -> _Made:
    kind, size = read("type"), read("len")
    good = (size >= 1) & (size <= 8) & (kind < len(columns.MMIO_KINDS))
    return {"a": kind, "b": read("gpa"), "c": size, "e": read("val")}, good


def _msr(read: _Reader) -> _Made:
    number = read("ecx")
    write = (read("write") != 0).astype(np.uint64)
    return {"a": write, "b": number, "e": read("data")}, number <= _U32


def _hypercall(read: _Reader) -> _Made:
    number = read("nr")
    return {
        "a": number, "b": read("a0"), "c": read("a1"), "d": read("a2"), "e": read("a3"),
    }, _all(number)  # fmt: skip


def _page_fault(read: _Reader) -> _Made:
    address = read("fault_address")
    return {"b": address}, _all(address)


def _instruction(read: _Reader) -> _Made:
    return {}, _all(read("common_pid"))


_EXITS: Final = frozenset({"kvm_exit", "kvm_userspace_exit"})
_MAKERS: Final = {
    "kvm_exit": _Maker(
        columns.EXIT,
        _exit,
        ("exit_reason",),
        ("isa", "info1", "info2", "intr_info", "vcpu_id"),
    ),
    "kvm_entry": _Maker(columns.ENTRY, _entry, (), ("vcpu_id",)),
    "kvm_userspace_exit": _Maker(columns.USERSPACE_EXIT, _userspace_exit, ("reason", "errno")),
    "kvm_pio": _Maker(columns.PIO, _pio, ("rw", "port", "size", "count", "val")),
    "kvm_mmio": _Maker(columns.MMIO, _mmio, ("type", "len", "gpa", "val")),
    "kvm_msr": _Maker(columns.MSR, _msr, ("write", "ecx", "data")),
    "kvm_hypercall": _Maker(columns.HYPERCALL, _hypercall, ("nr", "a0", "a1", "a2", "a3")),
    "kvm_page_fault": _Maker(columns.PAGE_FAULT, _page_fault, ("fault_address",)),
    "kvm_emulate_insn": _Maker(columns.INSTRUCTION, _instruction, ()),
}
