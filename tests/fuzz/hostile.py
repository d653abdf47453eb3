"""Files made by hand to be slow or large: each is small, and good JSON Lines or text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

Line = dict[str, object]

_SHARED: Final = 1 << 47
_ENTRY: Final[Line] = {"kind": "td_entry", "regs": {"rcx": "0xfc00", "r11": "0x10001"}}
_ANSWER: Final[Line] = {"kind": "answer", "type": "hypercall", "ret": 0}


def _map_gpa(row: int, gpa: int, size: int, vcpu: int = 0) -> Line:
    regs = {"rcx": "0xfc00", "r11": "0x10001", "r12": hex(gpa), "r13": hex(size)}
    return {"kind": "td_exit", "row": row, "vcpu": vcpu, "vp_enter_ret": "0x4d", "regs": regs}


def _exit(row: int, gpa: int, pages: int = 1) -> Line:
    run = {"nr": 12, "args": [hex(gpa), pages, 0], "ret": 0, "flags": 1}
    return {"kind": "userspace_exit", "row": row, "exit": "KVM_EXIT_HYPERCALL", "run": run}


def _vcpus() -> Iterator[Line]:
    """Thousands of vCPUs, each with a row that never ends."""
    for row in range(12_000):
        yield _map_gpa(row, _SHARED, 4096, vcpu=row)


def _asks() -> Iterator[Line]:
    """Rows that ask for the same thing again and again, and never for what they should."""
    for row in range(2):
        yield _map_gpa(row, _SHARED, 4 << 30)
        for _ in range(1900):
            yield _exit(row, 0x77000)
            yield {**_ANSWER, "row": row}


def _fragments() -> Iterator[Line]:
    """A map of thousands of ranges, then rows of millions of chunks."""
    for row in range(1000):
        gpa = 0x1000_0000 + row * 0x2000
        yield _map_gpa(row, gpa | _SHARED, 4096)
        yield _exit(row, gpa)
        yield {**_ANSWER, "row": row}
        yield {**_ENTRY, "row": row}
    for row in range(1000, 1080):
        yield _map_gpa(row, _SHARED, 1 << 46)


def _gib8() -> Iterator[Line]:
    """A real MapGPA of 8 GiB: more records than are read of one row."""
    yield _map_gpa(0, _SHARED, 8 << 30)
    for chunk in range(4096):
        gpa = chunk << 21
        yield _exit(0, gpa, 512) | {"completer": "map_gpa"}
        yield {
            "kind": "memory_attributes",
            "row": 0,
            "gpa": hex(gpa),
            "size": "0x200000",
            "private": False,
        }
        yield {**_ANSWER, "row": 0}
    yield {**_ENTRY, "row": 0}
    yield _map_gpa(1, _SHARED | 9 << 30, 4096)
    yield _exit(1, 9 << 30)


def _checkpoint(state: Line) -> Iterator[Line]:
    yield {"kind": "checkpoint", "state": state}
    for row in range(2000):
        regs = {"rcx": "0xfc00", "r11": "0xc"}
        yield {"kind": "td_exit", "row": row, "vp_enter_ret": "0x4d", "regs": regs}
        yield {"kind": "td_entry", "row": row, "regs": {"rcx": "0xfc00"}}


def _edges() -> Iterator[Line]:
    """A checkpoint with a map of a hundred thousand ranges."""
    return _checkpoint({"vcpus": [], "gpa_map": [*range(1, 200_001, 2)], "dead": False})


def _text() -> Iterator[Line]:
    """A checkpoint of megabytes that is none."""
    return _checkpoint({"vcpus": "x" * 3_000_000, "gpa_map": [], "dead": False})


def _lists() -> Iterator[Line]:
    """A checkpoint of a million empty lists."""
    return _checkpoint({"a": [[]] * 900_000})


def _backwards() -> Iterator[Line]:
    """Rows and vCPUs in no order."""
    yield _map_gpa(0, _SHARED, 4096)
    yield _map_gpa(1, _SHARED, 4096, 1)
    yield {"kind": "td_entry", "row": 0, "regs": {"r10": 1}}
    yield _map_gpa(0, _SHARED, 4096)
    yield {"kind": "answer", "row": 1, "vcpu": 1}
    yield _map_gpa(1, _SHARED, 8192, 1)
    yield {"kind": "answer", "row": 0, "vcpu": 5}
    yield {"kind": "answer", "row": 7, "vcpu": 5}
    yield _map_gpa(3, 0, 0)


HOSTILE: Final[dict[str, Callable[[], Iterator[Line]]]] = {
    "vcpus": _vcpus,
    "asks": _asks,
    "fragments": _fragments,
    "gib8": _gib8,
    "edges": _edges,
    "text": _text,
    "lists": _lists,
    "backwards": _backwards,
}

#: What a pattern might try in a thousand ways, after a start that fits it.
_PIECES: Final = (
    b" ", b"1 ", b"1 1/", b"a-1 ", b"[0] ", b"(", b"a=1 ", b"<", b"\\", b'"', b"kvm:", b"a:a: ",
    b") = ", b"d..1. ", b"1us : ", b" resumed>", b"0x1 ", b"= ", b"=> ", b"1@1.000000:",
)  # fmt: skip
_EVENT: Final = b" CPU 0/KVM-4100 [000] d..1. 5.000001: "
_TEXT_STARTS: Final[dict[str, tuple[bytes, ...]]] = {
    "tracefs": (_EVENT + b"kvm_exit: ", _EVENT + b"exit: (", b" a-1 0d..1. ", b""),
    "trace-cmd": (b" a-1 [000] 5.000001: kvm_mmio:  ", b" a-1 [000] 5.000001: (+1) ", b""),
    "perf": (b" a 1 [000] 5.000001: kvm:kvm_exit: ", b" a 1/1 ", b""),
    "strace": (b"1 ioctl(5, KVM_RUN", b"ioctl(5<", b"[pid 1] ", b"1.000001 x(", b""),
    "qemu": (b"1@1.000001:kvm_run_exit ", b"memory_region_ops_read cpu 0 mr 0x1 ", b""),
    "bpftrace": (b"X 1 1 1 1 ", b"1000000 ", b'{"type": "printf", "data": "', b'{"type": ', b""),
}
_TEXT_GOOD: Final = {
    "tracefs": _EVENT + b"kvm_userspace_exit: reason KVM_EXIT_IO (2)",
    "trace-cmd": b" a-1 [000] 5.000001: kvm_userspace_exit:   reason KVM_EXIT_IO (2)",
    "perf": b" a 1 [000] 5.000001: kvm:kvm_userspace_exit: reason KVM_EXIT_IO (2)",
    "strace": b"1 ioctl(5, KVM_RUN, 0) = 0 (KVM_EXIT_IO)",
    "qemu": b"kvm_run_exit cpu_index 0, reason 2",
    "bpftrace": b"U 1 1 0 2 0 0 0 0 0",
}
#: Names of text formats, each for a file of lines as long as they are looked at.
TEXTS: Final = tuple(_TEXT_GOOD)
_LONG: Final = 15_000


def _text_lines(name: str) -> bytes:
    lines = [_TEXT_GOOD[name]]
    for start in _TEXT_STARTS[name]:
        lines += [start + piece * (_LONG // len(piece)) + b"z" for piece in _PIECES]
    return b"\n".join(lines)


def hostile(name: str) -> bytes:
    """One of them as a file."""
    if name in TEXTS:
        return _text_lines(name)
    meta = {"generation": "6.16", "td": {"maxphyaddr": 52}}
    lines = [{"tdxt": 1, "meta": meta}, *HOSTILE[name]()]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
