"""An engine checkpoint as JSON, for the checkpoint records of a trace."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from tdxdbg.abi.kvm import RUN_UNION_SIZE
from tdxdbg.abi.regs import REG_NAMES, U64, Regs
from tdxdbg.engine.engine import Checkpoint
from tdxdbg.engine.gpa import MAX_PAGE, GpaMap
from tdxdbg.engine.kvm_run import ALL_BYTES
from tdxdbg.engine.state import Completer, Phase, Vcpu

_NUMBERS: Final = {
    "exit_reason": 0xFFFF_FFFF,
    "pio_size": 4,
    "mmio_len": 8,
    "map_gpa_next": 2 * U64,
    "map_gpa_end": U64,
    "vmx_exit_reason": 0xFFFF_FFFF,
}


def dump(checkpoint: Checkpoint) -> dict[str, Any]:
    """A JSON object; 64-bit values stay integers and are plain ones, bytes become hex text."""
    return {
        "vcpus": [_dump_vcpu(vcpu) for vcpu in checkpoint.vcpus],
        "gpa_map": list(checkpoint.gpa_map.edges),
        "dead": checkpoint.dead,
    }


def _dump_vcpu(vcpu: Vcpu) -> dict[str, Any]:
    return {
        "index": vcpu.index,
        "phase": int(vcpu.phase),
        "completer": int(vcpu.completer),
        # A reply's status is a member of an enum.
        "regs": dict(zip(REG_NAMES, map(int, vcpu.regs), strict=True)),
        "union": vcpu.union.rstrip(b"\0").hex(),
        "valid": f"{vcpu.valid:x}",
        "pio": vcpu.pio.hex(),
        "msrs": {f"{index:x}": value for index, value in sorted(vcpu.msrs.items())},
        **{name: int(getattr(vcpu, name)) for name in _NUMBERS},
    }


def load(data: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a JSON object.

    Raises ValueError when it is not one: a trace can hold anything.
    """
    try:
        edges = tuple(data["gpa_map"])
        if not all(type(edge) is int and 0 <= edge < MAX_PAGE for edge in edges) or not all(
            low < high for low, high in pairwise(edges)
        ):
            raise ValueError("gpa_map is not an ascending list of pages")
        vcpus = tuple(_load_vcpu(item) for item in data["vcpus"])
        return Checkpoint(vcpus, GpaMap(edges), bool(data["dead"]))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an engine checkpoint: {type(error).__name__}: {error}") from error


def _load_vcpu(data: Mapping[str, Any]) -> Vcpu:
    vcpu = Vcpu(_number(data["index"], 0xFFFF))
    vcpu.phase = Phase(data["phase"])
    vcpu.completer = Completer(data["completer"])
    vcpu.regs = Regs(**{name: _number(data["regs"][name], U64) for name in REG_NAMES})
    union = bytes.fromhex(data["union"])
    if len(union) > RUN_UNION_SIZE:
        raise ValueError("union is longer than 256 bytes")
    vcpu.union = union.ljust(RUN_UNION_SIZE, b"\0")
    vcpu.valid = _number(int(data["valid"], 16), ALL_BYTES)
    vcpu.pio = bytes.fromhex(data["pio"])[:8].ljust(8, b"\0")
    vcpu.msrs = {
        _number(int(index, 16), 0xFFFF_FFFF): _number(value, U64)
        for index, value in data["msrs"].items()
    }
    for name, limit in _NUMBERS.items():
        setattr(vcpu, name, _number(data[name], limit))
    if vcpu.completer is Completer.MAP_GPA and vcpu.map_gpa_next >= vcpu.map_gpa_end:
        raise ValueError("a MapGPA is pending, but nothing of it is left")
    return vcpu


def _number(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{value!r} is not a number from 0 to {limit:#x}")
    return value
