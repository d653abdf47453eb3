"""Where a trace leaves out what happened, and the state behind the gap.

An excerpt of a recording has only some of its exits. What the others did to the
state of KVM stands in checkpoints with a key `gap`, before the first input that
needs it. Who reads such a trace in order takes the state over there; a usual
checkpoint is a place to start from, and changes nothing for who has come the
whole way.

`gap` has the number of the next exit in the recording that the excerpt was made
of (`row`), the records left out since the one before (`left_out`) and the
generation whose engine made the state. A full one has the keys of
`engine.snapshot`. The others have `base`, the place of the newest full one (-1: the
beginning), and only what changed: `vcpus`, and `converted`, a list of [GPA, bytes,
private].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tdxdbg.engine import Engine, Generation, GpaMap
from tdxdbg.engine.engine import Checkpoint
from tdxdbg.engine.gpa import MAX_PAGE, PAGE_SHIFT
from tdxdbg.engine.snapshot import dump
from tdxdbg.engine.snapshot import load as load_checkpoint
from tdxdbg.engine.state import Completer, Phase, Vcpu
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind

GAP: Final = "gap"
BASE: Final = "base"
#: How often a base may itself have one, in a file that nobody of us wrote.
_MOST_BASES: Final = 8

Converted = tuple[int, int, bool]


class Gap(NamedTuple):
    """State behind a gap: all of it, or (`gpa_map` is None) what changed."""

    generation: str
    vcpus: tuple[Vcpu, ...]
    gpa_map: GpaMap | None
    converted: tuple[Converted, ...]
    dead: bool

    def resume(self, engine: Engine) -> None:
        """Take the engine over the gap."""
        vcpus = (vcpu.copy() for vcpu in self.vcpus)
        if self.generation != engine.generation.name:
            vcpus = (_elsewhere(vcpu) for vcpu in vcpus)
        if self.gpa_map is not None:
            engine.vcpus.clear()
        engine.vcpus.update({vcpu.index: vcpu for vcpu in vcpus})
        gpa_map = engine.gpa_map if self.gpa_map is None else self.gpa_map
        for gpa, size, private in self.converted:
            gpa_map = gpa_map.convert(gpa, size, private=private)
        engine.gpa_map = gpa_map
        engine.dead = self.dead


def _elsewhere(vcpu: Vcpu) -> Vcpu:
    """Of another generation's vCPU what every one has: what this one left is not known."""
    vcpu.valid = 0
    vcpu.phase = Phase.IN_TD
    vcpu.completer = Completer.NONE
    return vcpu


# --- written --------------------------------------------------------------------------


def full_gap(state: Checkpoint, row: int, left_out: int, generation: Generation) -> dict[str, Any]:
    """The body of a checkpoint with all of the state."""
    return {**dump(state), GAP: _gap(row, left_out, generation)}


def changed_gap(
    vcpus: Sequence[Vcpu],
    maps: tuple[GpaMap, GpaMap],
    dead: bool,
    base: int,
    gap: tuple[int, int, Generation],
) -> dict[str, Any]:
    """The body of a checkpoint with these vCPUs and what lies between two maps."""
    body = dump(Checkpoint(tuple(vcpus), GpaMap(), dead))
    del body["gpa_map"]
    converted = [list(item) for item in conversions(*maps)]
    return {**body, "converted": converted, BASE: base, GAP: _gap(*gap)}


def _gap(row: int, left_out: int, generation: Generation) -> dict[str, Any]:
    return {"row": row, "left_out": left_out, "generation": generation.name}


def conversions(before: GpaMap, after: GpaMap) -> list[Converted]:
    """Ranges (GPA and size in bytes) that, converted, make one map of the other."""
    flips = sorted(set(before.edges) ^ set(after.edges))
    if len(flips) % 2:
        flips.append(MAX_PAGE)
    return [
        (item.start, item.end - item.start, not item.shared)
        for low, high in zip(flips[::2], flips[1::2], strict=True)
        for item in after.ranges(low << PAGE_SHIFT, high << PAGE_SHIFT)
    ]


# --- read -------------------------------------------------------------------------------


def load_gap(body: object) -> Gap | None:
    """What a checkpoint's body says of a gap; None when it is a usual one.

    Raises ValueError when it is not well-formed: a trace can hold anything.
    """
    if not isinstance(body, Mapping) or GAP not in body:
        return None
    gap = body[GAP]
    if not isinstance(gap, Mapping):
        raise ValueError("gap is not an object")
    is_full = BASE not in body
    state = load_checkpoint(body if is_full else {**body, "gpa_map": ()})
    converted = () if is_full else tuple(_converted(item) for item in _list(body, "converted"))
    gpa_map = state.gpa_map if is_full else None
    return Gap(str(gap.get("generation")), state.vcpus, gpa_map, converted, state.dead)


def _list(body: Mapping[str, object], name: str) -> list[object]:
    value = body.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")
    return value


def _converted(item: object) -> Converted:
    if isinstance(item, list) and len(item) == 3:
        gpa, size, private = item
        numbers = type(gpa) is int and type(size) is int and type(private) is bool
        if numbers and gpa >= 0 and 0 <= size <= 1 << 52:
            return gpa, size, private
    raise ValueError("converted lists [GPA, bytes, private]")


def full_place(trace: Trace, newest: int) -> int:
    """The place of the newest full checkpoint, where `newest` is that of the newest at all."""
    for _ in range(_MOST_BASES):
        found = trace.checkpoint_before(newest) if newest >= 0 else None
        if found is None:
            return -1
        place, body = found
        base = body.get(BASE)
        if base is None:
            return place
        if type(base) is not int or not 0 <= base < place:
            return -1
        newest = base
    return -1


def gaps_before(trace: Trace, row: int) -> list[Gap]:
    """The gaps between the beginnings of the row before this one and of this one, in order."""
    at = trace.first_record(row)
    start = trace.first_record(row - 1) if row else -1
    found: list[Gap] = []
    place = trace.newest_checkpoint(at)
    while place > start:
        body = next((record.body for _, record in trace.records(place, place + 1)
                     if record.kind is Kind.CHECKPOINT), None)  # fmt: skip
        try:
            gap = load_gap(body)
        except ValueError:
            gap = None
        if gap is not None:
            found.append(gap)
        if not place:
            break
        place = min(trace.newest_checkpoint(place - 1), place - 1)
    return found[::-1]
