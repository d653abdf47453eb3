"""What a trace says about itself, as JSON: where it comes from, and its TD.

The metadata is a number-free zone for memory: every value is checked before
anything is made from it. Keys that this version does not know are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

from tdxdbg.abi.regs import U64
from tdxdbg.engine.state import Msr, Td
from tdxdbg.errors import TraceError

#: Where the TD exits of a trace come from.
ORIGINS: Final = ("hardware", "emulated", "synthetic", "imported")
#: Widths of a guest physical address that a TD can have, in bits.
GPA_WIDTHS: Final = (48, 52)

#: Lists and objects inside each other. Far more than a trace needs, and less than
#: what the JSON reader of any Python takes.
MAX_DEPTH: Final = 100

Json = Mapping[str, object]
_TEXTS: Final = ("source", "kernel", "generation", "origin", "title", "created")


@dataclass(frozen=True, slots=True)
class TraceMeta:
    """The metadata of a trace.

    `source` is the tool that recorded it, `kernel` the recorded kernel's
    release, `generation` the name of its generation ("" when not known),
    `title` one line about what it shows, `created` an ISO 8601 time or "".
    `extra` is free JSON, and holds what a newer version wrote.
    """

    source: str = ""
    kernel: str = ""
    generation: str = ""
    origin: str = "synthetic"
    title: str = ""
    created: str = ""
    td: Td = field(default_factory=Td)
    extra: Json = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.origin not in ORIGINS:
            raise ValueError(f"origin {self.origin!r} is none of {', '.join(ORIGINS)}")

    @property
    def remarks(self) -> list[str]:
        """What whoever wrote the trace says was left out of it, a line each."""
        return _lines(self.extra.get("remarks"))

    @property
    def redacted(self) -> list[str]:
        """What was taken out of the records: `registers`, `text`."""
        return _lines(self.extra.get("redacted"))

    @property
    def is_excerpt(self) -> bool:
        """Whether exits are missing between those that are there (`timeline.gaps`)."""
        return "excerpt" in self.extra

    def to_json(self) -> dict[str, object]:
        """A JSON object; empty texts are left out."""
        result: dict[str, object] = {
            name: getattr(self, name) for name in _TEXTS if getattr(self, name)
        }
        result["td"] = td_to_json(self.td)
        result.update(self.extra)
        return result

    @classmethod
    def from_json(cls, data: object) -> TraceMeta:
        """The metadata of a JSON object; raises TraceError naming the bad key."""
        items = _object(data, "metadata")
        texts: dict[str, str] = {}
        for name in _TEXTS:
            value = items.get(name, "synthetic" if name == "origin" else "")
            if not isinstance(value, str):
                raise TraceError(f"metadata: {name} must be a text")
            texts[name] = value
        if texts["origin"] not in ORIGINS:
            raise TraceError(
                f"metadata: origin {texts['origin']!r} is unknown; use {', '.join(ORIGINS)}"
            )
        known = {*_TEXTS, "td"}
        extra = {name: value for name, value in items.items() if name not in known}
        return cls(**texts, td=td_from_json(items.get("td", {})), extra=MappingProxyType(extra))


def _lines(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def dump_json(value: object) -> str:
    """Compact JSON in ASCII, always the same text for the same value; no NaN."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def load_json(text: str | bytes, depth: int = MAX_DEPTH) -> object:
    """Strict JSON in UTF-8: no NaN or Infinity; raises ValueError.

    Also when more than `depth` lists and objects lie inside each other: how
    many Python itself takes differs from version to version.
    """
    if isinstance(text, bytes):
        text = text.decode()
    if _is_deeper(text, depth):
        raise ValueError("nested too deep")
    return cast(object, json.loads(text, parse_constant=_no_constant))


#: A text in JSON, also one that does not end.
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")


def _is_deeper(text: str, most: int) -> bool:
    if text.count("[") + text.count("{") <= most:
        return False
    depth = 0
    for bracket in _BRACKET.finditer(_TEXT.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if not 0 <= depth <= most:
            # Below 0 it is no JSON, which is for its reader to say.
            return depth > most
    return False


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number that a trace can hold")


# --- the TD ---------------------------------------------------------------------------

_PAIRS: Final = ("memslots", "pio_devices", "mmio_devices")
_NUMBERS: Final = ("attributes", "user_space_msr_mask", "pv_features")
_FLAGS: Final = ("exit_hypercall", "notify_user")


def td_to_json(td: Td) -> dict[str, object]:
    """What `td_from_json` reads; empty tables are left out."""
    result: dict[str, object] = {"gpaw": td.gpaw, "maxphyaddr": td.maxphyaddr}
    for name in _NUMBERS:
        result[name] = hex(getattr(td, name))
    for name in _FLAGS:
        result[name] = getattr(td, name)
    if not td.implicit_conversions:
        result["implicit_conversions"] = False
    if td.cpuid:
        result["cpuid"] = [
            [*map(hex, leaf), *map(hex, values)] for leaf, values in td.cpuid.items()
        ]
    if td.msrs:
        result["msrs"] = [_msr_to_json(index, msr) for index, msr in td.msrs.items()]
    for name in _PAIRS:
        pairs = getattr(td, name)
        if pairs:
            result[name] = [[hex(first), hex(end)] for first, end in pairs]
    if td.fast_mmio:
        result["fast_mmio"] = [hex(gpa) for gpa in td.fast_mmio]
    return result


def td_from_json(data: object) -> Td:
    """A TD of a JSON object; raises TraceError naming the bad key."""
    items = _object(data, "metadata: td")
    unknown = [name for name in items if name not in _READERS]
    if unknown:
        raise TraceError(f"metadata: td has no {unknown[0]!r}; known are {', '.join(_READERS)}")
    values: dict[str, Any] = {name: _READERS[name](name, value) for name, value in items.items()}
    return Td(**values)


def number(value: object) -> int | None:
    """An integer written as such or as "0x..." text, of 64 bits; None for anything else."""
    if isinstance(value, str) and len(value) <= 20:
        try:
            value = int(value, 0)
        except ValueError:
            return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= U64:
        return value
    return None


def _object(data: object, where: str) -> Json:
    if not isinstance(data, dict):
        raise TraceError(f"{where} must be a JSON object")
    return data


def _number(name: str, value: object) -> int:
    result = number(value)
    if result is None:
        raise TraceError(f"metadata: td.{name} must be a 64-bit number")
    return result


def _gpaw(name: str, value: object) -> int:
    result = number(value)
    if result is None or result not in GPA_WIDTHS:
        raise TraceError(f"metadata: td.{name} must be 48 or 52")
    return result


def _maxphyaddr(name: str, value: object) -> int:
    result = number(value)
    if result is None or result > 64:
        raise TraceError(f"metadata: td.{name} must be a number of bits, at most 64")
    return result


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TraceError(f"metadata: td.{name} must be true or false")
    return value


def _rows(name: str, value: object, width: int) -> list[tuple[int, ...]]:
    if not isinstance(value, list):
        raise TraceError(f"metadata: td.{name} must be a list")
    rows = []
    for row in value:
        if not isinstance(row, list) or len(row) != width:
            raise TraceError(f"metadata: each entry of td.{name} must be {width} numbers")
        rows.append(tuple(_number(name, item) for item in row))
    return rows


def _pairs(name: str, value: object) -> tuple[tuple[int, ...], ...]:
    return tuple(_rows(name, value, 2))


def _gpas(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise TraceError(f"metadata: td.{name} must be a list")
    return tuple(_number(name, item) for item in value)


def _cpuid(name: str, value: object) -> Mapping[tuple[int, ...], tuple[int, ...]]:
    return MappingProxyType({row[:2]: row[2:] for row in _rows(name, value, 6)})


def _msr_to_json(index: int, msr: Msr) -> dict[str, object]:
    result: dict[str, object] = {"index": hex(index), "data": hex(msr.data)}
    default = Msr()
    for flag in ("readable", "writable", "filtered"):
        if getattr(msr, flag) != getattr(default, flag):
            result[flag] = getattr(msr, flag)
    return result


def _msrs(name: str, value: object) -> Mapping[int, Msr]:
    if not isinstance(value, list):
        raise TraceError(f"metadata: td.{name} must be a list")
    result: dict[int, Msr] = {}
    for item in value:
        entry = _object(item, f"metadata: td.{name}[]")
        flags = {
            flag: _flag(f"{name}[].{flag}", entry.get(flag, getattr(Msr(), flag)))
            for flag in ("readable", "writable", "filtered")
        }
        index = _number(f"{name}[].index", entry.get("index"))
        result[index] = Msr(_number(f"{name}[].data", entry.get("data", 0)), **flags)
    return MappingProxyType(result)


_READERS: Final[dict[str, Callable[[str, object], object]]] = {
    "gpaw": _gpaw,
    "maxphyaddr": _maxphyaddr,
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys((*_FLAGS, "implicit_conversions"), _flag),
    "cpuid": _cpuid,
    "msrs": _msrs,
    **dict.fromkeys(_PAIRS, _pairs),
    "fast_mmio": _gpas,
}
