"""struct kvm_run in JSON: the fields of the exit's member by name.

null is a field that KVM did not write (nothing is known of it). A field whose
value is known but which KVM did not write at this exit is listed in `stale`.
Bytes outside the member stand in `bytes`: [offset in kvm_run, hex, state].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tdxdbg.abi.kvm import RUN_UNION_OFFSET, RUN_UNION_SIZE, Exit
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import Field, KvmRun, Layout, layout_of
from tdxdbg.traces.json_fields import FieldError, Fields, checked_hex, checked_number, shown

#: By (written, valid).
_STATES: Final = {
    (True, True): "written",
    (False, True): "stale",
    (False, False): "unknown",
    (True, False): "written-unknown",
}
_BY_STATE: Final = {name: state for state, name in _STATES.items()}
_MAX_PIO: Final = 0xFFFF


def run_to_json(run: KvmRun) -> dict[str, object]:
    """What `run_from_json` reads back, bit by bit."""
    result: dict[str, object] = {}
    stale: list[str] = []
    covered = 0
    for field in run.layout.fields:
        if field.count and field.size == 1:
            result[field.name], mask = _leading(run, field)
            covered |= mask
            continue
        values: list[object] = []
        for index in range(field.count or 1):
            mask = _mask(field, index)
            value: object = None
            if run.valid & mask == mask and run.written & mask in (0, mask):
                value = shown(int.from_bytes(_bytes(run.union, field, index), "little"))
                covered |= mask
                if not run.written & mask:
                    stale.append(_label(field, index))
            values.append(value)
        while field.count and values and values[-1] is None:
            values.pop()
        result[field.name] = values if field.count else values[0]
    if run.pio:
        result["data" if run.layout is kvm_run.IO else "pio"] = run.pio.hex()
    if stale:
        result["stale"] = stale
    rest = _rest(run, covered)
    if rest:
        result["bytes"] = rest
    return result


def run_from_json(exit_reason: int, items: Mapping[str, object]) -> KvmRun:
    """The run of an exit; raises FieldError."""
    fields = Fields(items)
    image = _Image()
    image.take_bytes(fields)
    layout = _layout(exit_reason, items, image)
    stale = _stale(fields)
    for field in layout.fields:
        value = fields.raw(field.name)
        if value is None:
            continue
        if field.count and field.size == 1:
            data = checked_hex(field.name, value, field.count)
            image.put(field.offset - RUN_UNION_OFFSET, data, "written")
        elif field.count:
            if not isinstance(value, list) or len(value) > field.count:
                raise FieldError(
                    field.name, f"{field.name} must be a list of at most {field.count} numbers"
                )
            for index, item in enumerate(value):
                if item is not None:
                    image.put_number(field, index, item, stale)
        else:
            image.put_number(field, 0, value, stale)
    pio = fields.data("data" if layout is kvm_run.IO else "pio", _MAX_PIO) or b""
    if stale:
        raise FieldError("stale", f"stale names {min(stale)!r}, which has no value here")
    fields.done()
    union = bytes(image.union)
    if layout_of(exit_reason, union) is not layout:
        raise FieldError("run", "flags, nr or type belong to another kind of KVM_EXIT_TDX")
    return KvmRun(exit_reason, layout, union, image.written, image.valid, pio)


class _Image:
    """The union while it is put together."""

    def __init__(self) -> None:
        self.union = bytearray(RUN_UNION_SIZE)
        self.written = 0
        self.valid = 0

    def put(self, start: int, data: bytes, state: str) -> None:
        mask = ((1 << len(data)) - 1) << start
        self.union[start : start + len(data)] = data
        written, valid = _BY_STATE[state]
        self.written = self.written | mask if written else self.written & ~mask
        self.valid = self.valid | mask if valid else self.valid & ~mask

    def put_number(self, field: Field, index: int, value: object, stale: set[str]) -> None:
        item = checked_number(field.name, value, (1 << (8 * field.size)) - 1)
        label = _label(field, index)
        state = "stale" if label in stale else "written"
        stale.discard(label)
        start = field.offset - RUN_UNION_OFFSET + index * field.size
        self.put(start, item.to_bytes(field.size, "little"), state)

    def take_bytes(self, fields: Fields) -> None:
        entries = fields.raw("bytes") or []
        if not isinstance(entries, list):
            raise FieldError("bytes", "bytes must be a list of [offset, hex, state]")
        for entry in entries:
            if not isinstance(entry, list) or len(entry) != 3 or entry[2] not in [*_BY_STATE]:
                raise FieldError(
                    "bytes", f"bytes lists [offset, hex, state]; states are {', '.join(_BY_STATE)}"
                )
            last = RUN_UNION_OFFSET + RUN_UNION_SIZE
            offset = checked_number("bytes", entry[0], last)
            if offset < RUN_UNION_OFFSET:
                raise FieldError("bytes", f"the union starts at offset {RUN_UNION_OFFSET}")
            data = checked_hex("bytes", entry[1], last - offset)
            self.put(offset - RUN_UNION_OFFSET, data, entry[2])


def _layout(exit_reason: int, items: Mapping[str, object], image: _Image) -> Layout:
    """The member of the exit; KVM_EXIT_TDX is told apart by `type`, or by `nr`."""
    if exit_reason != Exit.TDX:
        return layout_of(exit_reason, bytes(image.union))
    if "type" in items:
        return kvm_run.TDX_RAW
    head = bytearray(image.union)
    for at, name in ((0, "flags"), (8, "nr")):
        if items.get(name) is not None:
            head[at : at + 8] = checked_number(name, items[name]).to_bytes(8, "little")
    return layout_of(exit_reason, bytes(head))


def _stale(fields: Fields) -> set[str]:
    value = fields.raw("stale") or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FieldError("stale", "stale must be a list of field names")
    return set(value)


def _label(field: Field, index: int) -> str:
    return f"{field.name}[{index}]" if field.count else field.name


def _mask(field: Field, index: int) -> int:
    start = field.offset - RUN_UNION_OFFSET + index * field.size
    return ((1 << field.size) - 1) << start


def _bytes(union: bytes, field: Field, index: int) -> bytes:
    start = field.offset - RUN_UNION_OFFSET + index * field.size
    return union[start : start + field.size]


def _leading(run: KvmRun, field: Field) -> tuple[str | None, int]:
    """The first bytes of a byte array, as far as KVM wrote them, and their mask."""
    start = field.offset - RUN_UNION_OFFSET
    both = (run.written & run.valid) >> start
    length = 0
    while length < field.count and both >> length & 1:
        length += 1
    if not length:
        return None, 0
    return run.union[start : start + length].hex(), ((1 << length) - 1) << start


def _rest(run: KvmRun, covered: int) -> list[list[object]]:
    """Runs of bytes that no field stands for and that are not simply unknown zeros."""
    used = run.written | run.valid
    for at, byte in enumerate(run.union):
        if byte:
            used |= 1 << at
    used &= ~covered
    rest: list[list[object]] = []
    at = 0
    while used >> at:
        if not used >> at & 1:
            at += 1
            continue
        state = bool(run.written >> at & 1), bool(run.valid >> at & 1)
        end = at
        while (
            used >> end & 1 and (bool(run.written >> end & 1), bool(run.valid >> end & 1)) == state
        ):
            end += 1
        rest.append([RUN_UNION_OFFSET + at, run.union[at:end].hex(), _STATES[state]])
        at = end
    return rest
