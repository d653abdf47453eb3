"""The engine against test vectors made with the kernel's own handlers.

A vector is one TD exit with what userspace answers, and the steps that the
real kernel took. It becomes a journal: preludes, one TdExit, then a Reentry
for each answer; an element of `pending` is used up only when the Step says
that KVM looked for events.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import EXPOSABLE, REG_NAMES, Regs, exposed
from tdxdbg.engine import BY_NAME, Engine, Outcome, ProtocolError, Reentry, Step, Td, TdExit
from tdxdbg.engine.kvm_run import ALL_BYTES, TDX_RAW
from tdxdbg.engine.state import (
    EVENTS_CHECKED,
    HALTED,
    VM_BUGGED,
    WARNED,
    Answer,
    Completer,
    HypercallAnswer,
    InKernel,
    IoAnswer,
    MmioAnswer,
    Msr,
    MsrAnswer,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.errors import BackendError, TraceError
from tdxdbg.traces.meta import load_json

Vector = Mapping[str, Any]

TDCALL: Final = 77
_EFAULT: Final = 14
_EFFECTS: Final = {
    "warn": WARNED,
    "vm_bugged": VM_BUGGED,
    "events_checked": EVENTS_CHECKED,
    "halted": HALTED,
}


#: What a vector that is no vector makes of the code below.
_MALFORMED: Final = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    struct.error,
    ProtocolError,
)
#: KVM_RUNs of one prelude: a MapGPA of 32 GiB.
_MAX_PRELUDE: Final = 1 << 14
#: In bytes; the longest vectors, of preludes, are some 100 KiB. A few KiB of gzip can
#: hold a line of gigabytes.
_MAX_LINE: Final = 1 << 20


class Failure(NamedTuple):
    """A vector that the engine does not pass, and the first thing that differs."""

    vector: str
    what: str


class Tally(NamedTuple):
    """How many vectors passed, and those that did not."""

    passed: int
    failures: list[Failure]


def read_vectors(path: Path) -> Iterator[Vector]:
    """The vectors of a JSON Lines file, plain or gzip.

    Raises TraceError when the file cannot be read or a line is no vector, and
    BackendError when the file may not be read.
    """
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE):
                number += 1
                if line.strip():
                    yield _parse(path, number, line)
    except FileNotFoundError:
        raise TraceError(
            f"{path}: cannot read vectors: no such file; give a .jsonl or .jsonl.gz file of them"
        ) from None
    except IsADirectoryError:
        raise TraceError(
            f"{path}: cannot read vectors: is a directory; give the files in it"
        ) from None
    except PermissionError:
        raise BackendError(f"{path}: no permission to read it; see its owner and mode") from None
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise TraceError(f"{path}: cannot read vectors: {why}; make or fetch it again") from None


def _parse(path: Path, number: int, line: bytes) -> Vector:
    if len(line) == _MAX_LINE:
        raise TraceError(
            f"{path}:{number}: not a test vector: longer than {_MAX_LINE >> 20} MiB; take it out"
        )
    try:
        vector = load_json(line)
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}:{number}: column {error.start + 1}: not UTF-8") from None
    except ValueError as error:
        raise TraceError(f"{path}:{number}: not a line of JSON: {error}") from error
    if not isinstance(vector, dict) or not {"id", "generation", "input", "expected"} <= set(vector):
        raise TraceError(f"{path}:{number}: not a test vector: id, generation, input, expected?")
    generation = vector["generation"]
    if not isinstance(generation, str) or generation not in BY_NAME:
        raise TraceError(
            f"{path}:{number}: unknown generation {generation!r}; known are {', '.join(BY_NAME)}"
        )
    return vector


def verify(vectors: Iterable[Vector]) -> Tally:
    """Run every vector."""
    passed = 0
    failures: list[Failure] = []
    for vector in vectors:
        try:
            what = check(vector)
        except _MALFORMED as error:
            what = f"the vector is malformed: {type(error).__name__}: {error}"
        if what is None:
            passed += 1
        else:
            failures.append(Failure(f"{vector['generation']} {vector['id']}", what))
    return Tally(passed, failures)


def check(vector: Vector) -> str | None:
    """None when the engine does what the vector expects, else the first difference."""
    run = _Run(vector["input"], vector["generation"])
    # The kernel read bytes that it never wrote: these vectors ran on a page of zeros.
    zero_page = bool(vector.get("depends_on_stale_memory"))
    for at, expected in enumerate(vector["expected"]):
        what = _compare(expected, run.step, run.asked, zero_page)
        if what is not None:
            return f"step {at}: {what}"
        if at + 1 < len(vector["expected"]):
            if run.step.outcome is Outcome.REENTER_TD:
                return (
                    f"step {at}: the guest runs, but {len(vector['expected'])} steps are expected"
                )
            run.next()
    for name, count in vector["effects"].items():
        if run.effects[name] != count:
            return f"effect {name}: engine {run.effects[name]}, kernel {count}"
    return None


class _Run:
    """One vector's journal, fed to an engine."""

    def __init__(self, given: Mapping[str, Any], generation: str) -> None:
        env = given.get("env", {})
        self.engine = Engine(make_td(given), BY_NAME[generation])
        self.effects = dict.fromkeys(_EFFECTS, 0)
        self.answers = list(given.get("answers", ()))
        self.default = given.get("default_answer")
        self.pending = list(given.get("pending", ()))
        self.exits = 0
        self.engine.feed(Reentry(0))
        for registers in given.get("prelude", ()):
            self._prelude(exposed(Regs(**registers)))
        ret = given.get("vp_enter_ret", TDCALL)
        regs = Regs(**given["regs"])
        self.asked = exposed(regs) if ret & 0xFFFF == TDCALL else regs
        in_kernel = InKernel(errno=_EFAULT) if env.get("memfault") else None
        self.feed(TdExit(0, ret, self.asked, in_kernel=in_kernel))

    def _prelude(self, regs: Regs) -> None:
        step = self.engine.feed(TdExit(0, TDCALL, regs))
        for _ in range(_MAX_PRELUDE):
            if step.outcome is Outcome.REENTER_TD:
                return
            step = self.engine.feed(Reentry(0))
        raise ValueError("a prelude does not come back to the guest")

    def feed(self, event: TdExit | Reentry) -> None:
        self.step = self.engine.feed(event)
        for name, bit in _EFFECTS.items():
            self.effects[name] += bool(self.step.effects & bit)
        if self.step.effects & EVENTS_CHECKED and self.pending:
            self.pending.pop(0)

    def next(self) -> None:
        answer = None
        if self.step.outcome is Outcome.EXIT_TO_USERSPACE and self.step.run is not None:
            given = self.answers[self.exits] if self.exits < len(self.answers) else self.default
            self.exits += 1
            answer = make_answer(given, self.step)
        self.feed(Reentry(0, answer, has_events=bool(self.pending and self.pending[0])))


def make_td(given: Mapping[str, Any]) -> Td:
    """The TD of a vector's input; ValueError for a GPA width that no TD has."""
    if given["gpaw"] not in (48, 52):
        raise ValueError(f"gpaw is {given['gpaw']!r}, not 48 or 52")
    env = given.get("env", {})
    slot = env.get("slot")
    return Td(
        gpaw=given["gpaw"],
        maxphyaddr=given["maxphyaddr"],
        exit_hypercall=given["cap_exit_hypercall"],
        user_space_msr_mask=env.get("user_msr_mask", 0),
        pv_features=env.get("pv_features", 0),
        cpuid={(leaf, sub): (a, b, c, d) for leaf, sub, a, b, c, d in env.get("cpuid", ())},
        msrs={
            index: Msr(data, bool(flags & 1), bool(flags & 2), bool(flags & 4))
            for index, flags, data in env.get("msrs", ())
        },
        memslots=((slot[0], slot[1]),) if slot else (),
    )


def make_answer(given: Mapping[str, Any] | None, step: Step) -> Answer | None:
    """What userspace writes at this exit; keys that do not belong to it are ignored."""
    if given is None or step.run is None:
        return None
    reason = step.run.exit_reason
    if reason == Exit.HYPERCALL:
        return HypercallAnswer(given.get("ret"))
    if reason in (Exit.IO, Exit.MMIO):
        data = bytes.fromhex(given["data"]) if given.get("data") is not None else None
        return IoAnswer(data) if reason == Exit.IO else MmioAnswer(data)
    if reason in (Exit.X86_RDMSR, Exit.X86_WRMSR):
        return MsrAnswer(given.get("error"), given.get("data"))
    if reason != Exit.TDX:
        return None
    if step.run.layout is TDX_RAW:
        return TdxRawAnswer(**given.get("out", {}))
    if step.completer is Completer.GET_TD_VM_CALL_INFO:
        return TdxAnswer(*(given.get(name) for name in TdxAnswer._fields))
    return TdxAnswer(given.get("ret"))


def _compare(expected: Mapping[str, Any], step: Step, asked: Regs, zero_page: bool) -> str | None:
    kind = expected["kind"]
    if kind != _KINDS[step.outcome]:
        return f"engine {_KINDS[step.outcome]}, kernel {kind}"
    if kind == "guest":
        return _compare_guest(expected, step.regs, asked)
    if kind == "error" and step.errno != expected["errno"]:
        return f"errno: engine {step.errno}, kernel {expected['errno']}"
    if "exit_reason" not in expected:
        return None
    run = step.run
    if run is None or run.exit_reason != expected["exit_reason"]:
        got = run.exit_reason if run else None
        return f"exit_reason: engine {got}, kernel {expected['exit_reason']}"
    values = (run._replace(valid=ALL_BYTES) if zero_page else run).values()
    for name, value in expected["run"].items():
        if values.get(name, "absent") != value:
            return f"{expected['name']}.{name}: engine {values.get(name)}, kernel {value}"
    for name, got in (
        ("has_completion", step.completer is not Completer.NONE),
        ("run_flags", step.run_flags),
    ):
        if name in expected and got != expected[name]:
            return f"{name}: engine {got}, kernel {expected[name]}"
    return None


_KINDS: Final = {
    Outcome.REENTER_TD: "guest",
    Outcome.EXIT_TO_USERSPACE: "exit",
    Outcome.KVM_ERROR: "error",
}


def _compare_guest(expected: Mapping[str, Any], regs: Regs, asked: Regs) -> str | None:
    for name, value in expected.get("regs", {}).items():
        if getattr(regs, name) != value:
            return f"{name}: engine {getattr(regs, name):#x}, kernel {value:#x}"
    if "guest" not in expected:
        return None
    mask = asked.rcx & EXPOSABLE
    seen = {
        name: regs[number]
        for number, name in enumerate(REG_NAMES)
        if mask >> number & 1 and regs[number] != asked[number]
    }
    if seen != expected["guest"]:
        return f"the guest sees {_hex(seen)} changed, kernel {_hex(expected['guest'])}"
    return None


def _hex(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value:#x}" for name, value in sorted(values.items())) or "nothing"
