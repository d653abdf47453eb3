"""bpftrace: the lines of the project's recipe, as text or with -f json.

A line starts with X (the TD left), R (it is about to be entered) or U (KVM_RUN
returned); facts: kvm_and_traces B3. Lines of short scripts on the tracepoints
themselves are read too: a time, then `name=value` of kvm_userspace_exit,
kvm_pio or kvm_mmio, with the fields' own names and hex where the kernel prints
hex.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final

from tdxdbg.abi import kvm
from tdxdbg.abi.regs import KNOWN_ALL, RAX, RBP, RSP, U64, Regs
from tdxdbg.engine.kvm_run import MMIO, recorded_run
from tdxdbg.traces import kvm_fields
from tdxdbg.traces.kernel_lines import fits
from tdxdbg.traces.meta import load_json
from tdxdbg.traces.native import Trace
from tdxdbg.traces.probes import Event, ProbedEntry, ProbedExit, RunReturned
from tdxdbg.traces.reader import EVERYBODY, Line, Pids, Reader, TextFormat, read_text

_HEX: Final = rb" ([0-9a-f]{1,16})"
#: time, cpu, tid, vcpu, vp_enter_ret; then registers in the order of tdx_module_args.
_REGISTERS: Final = re.compile(
    rb"([XR]) (\d{1,20}) \d{1,6} (\d{1,10}) (\d{1,10})" + _HEX * 14 + rb"\s*$"
)
_KNOWN: Final = KNOWN_ALL & ~(1 << RAX | 1 << RSP | 1 << RBP)
#: time, tid, vcpu, exit_reason, what KVM_RUN returned; then words of the union.
_RETURNED: Final = re.compile(
    rb"U (\d{1,20}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (-?\d{1,10})((?: [0-9a-f]{1,16}){0,32})\s*$"
)
#: A time, numbers or a word, and pairs.
_PAIRS: Final = re.compile(
    rb"(\d{1,20}) ((?:\d{1,10} ){0,4})(?:([a-z]\w{0,31}) )?(\w{1,32}=-?(?:0x)?[0-9a-f].{0,400})$"
)
_EVENT: Final = re.compile(
    rb"[XRU] \d{1,20} \d|\d{6,20} (?:\d{1,10} ){0,4}(?:[a-z]\w{0,31} )?\w{1,32}="
)
_LOST: Final = re.compile(rb"Lost (\d{1,20}) events?")
_STARTED: Final = re.compile(rb"Attach(?:ing|ed) \d{1,6} probes?")
_JSON: Final = re.compile(rb'\{ {0,8}"type" {0,8}: {0,8}"')
_PRINTF: Final = b'{"type": "printf", "data": "'

#: More of them come only from a script that names no thread at all.
_MAX_HOMELESS: Final = 10_000
#: The raw fields by which an event of a short script is known.
_BY_FIELDS: Final = (
    (b"kvm_userspace_exit", frozenset((b"reason", b"errno"))),
    (b"kvm_pio", frozenset((b"rw", b"port", b"size", b"val"))),
    (b"kvm_mmio", frozenset((b"type", b"len", b"gpa", b"val"))),
)


def sniff(head: bytes) -> bool:
    """Whether one of the first lines is as bpftrace or the recipe prints it."""
    return fits(head, (_REGISTERS, _RETURNED, _PAIRS, _STARTED, _JSON)) and b'"tdxt"' not in head


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    return read_text(file, name, pids, _FORMAT)


def _read(reader: Reader, lines: Iterable[Line]) -> None:
    script = _Script(reader)
    for line in _unwrapped(reader, lines):
        take = _TAKERS.get(line[1][:2], _Script.pairs)
        take(script, line)
    script.finish()


def _unwrapped(reader: Reader, lines: Iterable[Line]) -> Iterator[Line]:
    """What the script printed, also out of JSON."""
    for line in lines:
        number, text = line
        if text[:1] != b"{" or not _JSON.match(text):
            yield line
        elif text.startswith(_PRINTF) and text.endswith(b'\\n"}') and text.count(b"\\") == 1:
            yield number, text[len(_PRINTF) : -4]
        else:
            yield from _from_json(reader, line)


def _from_json(reader: Reader, line: Line) -> Iterator[Line]:
    number, text = line
    try:
        value = load_json(text)
    except ValueError:
        reader.bad(line)
        return
    kind = value.get("type") if isinstance(value, dict) else None
    data = value.get("data") if isinstance(value, dict) else None
    if kind == "printf" and isinstance(data, str):
        for part in data.splitlines():
            yield number, part.encode("utf-8", "surrogatepass")
    elif kind == "lost_events" and isinstance(data, dict) and isinstance(data.get("events"), int):
        reader.lost(min(max(data["events"], 0), U64))
    elif isinstance(kind, str):
        name = kind[:32] if kind.isidentifier() and kind.isascii() else "other"
        reader.other(f"{name} objects".encode())
    else:
        reader.bad(line)


class _Script:
    """What one script printed, line by line."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        #: The only thread so far; None before the first, and after a second one.
        self._thread: int | None = None
        self._several = False
        #: Events that name no thread, until the next line that names one.
        self._homeless: list[tuple[Line, int, Event]] = []

    def registers(self, line: Line) -> None:
        """A line of the recipe: X or R."""
        found = _REGISTERS.match(line[1])
        if found is None:
            self._reader.bad(line)
            return
        kind, time, thread, vcpu, ret, *words = found.groups()
        if self._reader.selective and not self._reader.wants(thread):
            return
        rcx, rdx, *others = [int(word, 16) for word in words]
        rbx, rdi, rsi = others[8:]
        regs = Regs._make((0, rcx, rdx, rbx, 0, 0, rsi, rdi, *others[:8]))
        event: Event
        if kind == b"X":
            event = ProbedExit(int(vcpu), int(ret, 16), regs, _KNOWN)
        else:
            event = ProbedEntry(int(vcpu), regs, _KNOWN)
        self._reader.event(line, int(thread), int(time), event)

    def returned(self, line: Line) -> None:
        """A line of the recipe: U."""
        found = _RETURNED.match(line[1])
        if found is None:
            self._reader.bad(line)
            return
        time, thread, vcpu, reason, ret, words = found.groups()
        if self._reader.selective and not self._reader.wants(thread):
            return
        event = _returned(int(vcpu), int(reason), int(ret), words)
        if event is None:
            self._reader.bad(line)
        else:
            self._reader.event(line, int(thread), int(time), event)

    def pairs(self, line: Line) -> None:
        """A line of a short script, or of something else that wrote to the same terminal."""
        found = _PAIRS.match(line[1])
        if found is None:
            self._other(line)
            return
        time, numbers, _, pairs = found.groups()
        # The last number is the thread, as in "cpu tid".
        thread: bytes | None = numbers.split()[-1] if numbers else None
        if self._reader.selective and thread is not None and not self._reader.wants(thread):
            return
        names = {pair.partition(b"=")[0] for pair in pairs.split()}
        for name, wanted in _BY_FIELDS:
            if wanted <= names:
                event = kvm_fields.raw(name, pairs)
                break
        else:
            self._reader.unused(b"lines of no known event")
            return
        if event is None:
            self._reader.bad(line)
        elif thread is None:
            self._of_no_thread(line, int(time), event)
        else:
            self._of_thread(int(thread))
            self._reader.event(line, int(thread), int(time), event)

    def finish(self) -> None:
        """No more lines come."""
        self._of_thread(self._thread or 0)

    def _of_thread(self, thread: int) -> None:
        """The only thread there is has done what names none; of several nobody knows which."""
        if self._thread is None and not self._several:
            self._thread = thread
        elif thread != self._thread:
            self._thread, self._several = None, True
        homeless, self._homeless = self._homeless, []
        for line, time, event in homeless:
            self._give(line, time, event)

    def _of_no_thread(self, line: Line, time: int, event: Event) -> None:
        if not self._several and len(self._homeless) < _MAX_HOMELESS:
            self._homeless.append((line, time, event))
        else:
            self._give(line, time, event)

    def _give(self, line: Line, time: int, event: Event) -> None:
        if self._thread is None:
            self._reader.unused(b"events that name no thread, of several")
        else:
            self._reader.event(line, self._thread, time, event)

    def _other(self, line: Line) -> None:
        text = line[1].strip()
        lost = _LOST.match(text)
        if lost is not None:
            self._reader.lost(int(lost[1]))
        elif _EVENT.match(text):
            self._reader.bad(line)
        elif _STARTED.match(text):
            self._reader.other(b"header lines")
        elif text:
            # The command that was traced, maps of the script, warnings.
            self._reader.other(b"lines of other output")


def _returned(vcpu: int, reason: int, ret: int, words: bytes) -> Event | None:
    if reason > 0xFFFF_FFFF:
        return None
    union = b"".join(int(word, 16).to_bytes(8, "little") for word in words.split())
    errno = -ret if ret < 0 else 0
    if errno and reason not in (kvm.Exit.MEMORY_FAULT, kvm.Exit.INTR):
        # What is in kvm_run belongs to an earlier exit.
        return RunReturned(vcpu, None, errno)
    valid = (1 << len(union)) - 1
    run = recorded_run(reason, union, valid)
    if run.layout is MMIO and run.get("is_write") == 0:
        # A read leaves there what the last access did.
        valid &= ~MMIO.fields[1].mask
        run = recorded_run(reason, union, valid)
    return RunReturned(vcpu, run, errno)


_TAKERS: Final[dict[bytes, Callable[[_Script, Line], None]]] = {
    b"X ": _Script.registers,
    b"R ": _Script.registers,
    b"U ": _Script.returned,
}
_FORMAT: Final = TextFormat(
    "bpftrace",
    "exits as a bpftrace script saw them",
    "record with the script that tdxdbg recipe bpftrace prints",
    _read,
)
