"""The language of the sample descriptions: lines of text to the records of a trace.

A journal is the conversation of the three parties, one event a line (a
backslash at its end continues it):

    +MICROSECONDS [cpuN] VERB ...

    guest NAME [reg=..]     TDG.VP.VMCALL: a sub-function or its number, or a KVM_HC_*; RCX is
                            0xffcc unless given; rax= is what TDH.VP.ENTER returns (77)
    vp_enter RAX [reg=..]   TDH.VP.ENTER returned for another reason; errno= says how the MMU
                            ended with an EPT violation
    exit KVM_EXIT_.. [..]   KVM_RUN returned 0: the fields of struct kvm_run that KVM wrote;
                            `name~value` is a known value that it left there, callback= the
                            armed complete_userspace_io, `r10:=..` a register changed so far
    error ERRNO [KVM_EXIT_.. ..]  KVM_RUN returned -1
    convert GPA SIZE private|shared  userspace calls KVM_SET_MEMORY_ATTRIBUTES
    run [name=..]           userspace calls KVM_RUN again; what it wrote before; events= when
                            KVM looked for pending events there, and what it found
    enter [reg=..]          KVM enters the TD: the registers that it changed since the exit

Shorthands stand for such lines: `serial "text"` for a byte of OUT to port 0x3f8
each; `chunks GPA COUNT PAGES private|shared events=..` for chunks of a MapGPA that
are converted and answered with 0; `guest ... text="..."` for the registers that
carry the text of ReportFatalError, and `fatal` for its exit.

Nothing in here knows what KVM would do: what it did is in the descriptions,
written by hand from its documented behaviour, so `tdxdbg check` compares two
opinions.
"""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Callable
from typing import Any, Final

from tdxdbg.abi import kvm, vmx
from tdxdbg.abi.ghci import FATAL_TEXT_REGISTERS, SUB_FUNCTION_SHORT, Status
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, NO_REGS, REG_NAMES, Regs
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import Field, KvmRun, Layout, layout_of
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
    MsrAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.traces import records
from tdxdbg.traces.records import Record

NAMES: Final[dict[str, int]] = {
    **{member.name: int(member) for member in Status},
    **{f"KVM_EXIT_{member.name}": int(member) for member in kvm.Exit},
    **{name: number for number, name in errno.errorcode.items()},
    **{name: number for number, name in kvm.HYPERCALL_NAMES.items()},
    **{member.name: int(member) for member in Completer},
    "KVM_SYSTEM_EVENT_TDX_FATAL": kvm.SYSTEM_EVENT_TDX_FATAL,
    "-KVM_ENOSYS": 2**64 - kvm.KVM_ENOSYS,
    "-KVM_EINVAL": 2**64 - kvm.KVM_EINVAL,
}
SUB_FUNCTIONS: Final = {name: number for number, name in SUB_FUNCTION_SHORT.items()}
UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
EFFECTS: Final = {"halted": HALTED, "warned": WARNED, "bugged": VM_BUGGED}
ANSWERS: Final[dict[int, Callable[..., Answer]]] = {
    kvm.Exit.HYPERCALL: HypercallAnswer,
    kvm.Exit.X86_RDMSR: MsrAnswer,
    kvm.Exit.X86_WRMSR: MsrAnswer,
    kvm.Exit.TDX: TdxAnswer,
}
CHUNK: Final = 2 << 20
_PAIR: Final = re.compile(r"(\w+)(~|:=|=)(.*)", re.DOTALL)


class DescriptionError(Exception):
    """A description says something that this script does not understand."""


def number(text: str) -> int:
    """A decimal or hex number, with a K, M or G suffix, or one of NAMES."""
    if text in NAMES:
        return NAMES[text]
    unit = UNITS.get(text[-1:], 1)
    return int(text.rstrip("KMG") if unit > 1 else text, 0) * unit


def text_bytes(text: str) -> bytes:
    """Text with Python's escapes: below 0x100 a byte each, above it UTF-8."""
    characters = text.encode("latin-1").decode("unicode_escape")
    return b"".join(c.encode("latin-1" if ord(c) < 0x100 else "utf-8") for c in characters)


class Words:
    """The words of a line: `name=value` by name, `name~value` and `name:=value`, and the rest."""

    def __init__(self, words: list[str]) -> None:
        self.plain: list[str] = []
        self.fields: dict[str, str] = {}
        self.stale: dict[str, str] = {}
        self.changed: dict[str, int] = {}
        for word in words:
            found = _PAIR.fullmatch(word)
            if found is None:
                self.plain.append(word)
            elif found[2] == ":=":
                self.changed[found[1]] = number(found[3])
            else:
                (self.stale if found[2] == "~" else self.fields)[found[1]] = found[3]

    def take(self, name: str) -> str | None:
        return self.fields.pop(name, None)

    def registers(self) -> dict[str, int]:
        """What is left, as register values."""
        unknown = set(self.fields) - set(REG_NAMES)
        if unknown:
            raise DescriptionError(f"no register {sorted(unknown)[0]}")
        return {name: number(value) for name, value in self.fields.items()}

    def effects(self) -> int:
        found = [word for word in self.plain if word in EFFECTS]
        self.plain = [word for word in self.plain if word not in EFFECTS]
        return sum(EFFECTS[word] for word in found)


# --- struct kvm_run -------------------------------------------------------------------


def make_run(words: Words) -> KvmRun:
    """struct kvm_run of an exit as described; what is not named is not known."""
    reason = number(words.plain.pop(0))
    fields, stale = words.fields, words.stale
    data = fields.pop("data", None) if reason in (kvm.Exit.IO, kvm.Exit.MMIO) else None
    union = bytearray(kvm.RUN_UNION_SIZE)
    layout = _layout(reason, fields)
    written = _put_all(union, layout, fields)
    valid = written | _put_all(union, layout, stale)
    pio = b""
    if data is not None and reason == kvm.Exit.IO:
        pio = bytes.fromhex(data)
    elif data is not None:
        listed = ",".join(str(byte) for byte in bytes.fromhex(data))
        valid = written = written | _put_all(union, layout, {"data": listed})
    return KvmRun(reason, layout, bytes(union), written, valid, pio)


def _layout(reason: int, fields: dict[str, str]) -> Layout:
    """The union's member; of KVM_EXIT_TDX there is one for each kind of call."""
    first = number(fields.get("type") or fields.get("flags") or "0")
    head = first.to_bytes(8, "little") + number(fields.get("nr", "0")).to_bytes(8, "little")
    layout = layout_of(reason, head)
    if layout is kvm_run.TDX_RAW:
        for name in kvm_run.RAW_REGISTERS:
            # v19 presets out_* to the inputs.
            given = fields.setdefault(f"in_{name}", "0")
            fields.setdefault(f"out_{name}", given)
    return layout


def _put_all(union: bytearray, layout: Layout, values: dict[str, str]) -> int:
    known = {field.name: field for field in layout.fields}
    mask = 0
    for name, text in values.items():
        if name not in known:
            raise DescriptionError(f"the {layout.member or 'empty'} member has no field {name}")
        for at, item in enumerate(text.split(",")):
            mask |= _put(union, known[name], at, number(item))
    return mask


def _put(union: bytearray, field: Field, at: int, value: int) -> int:
    start = field.offset - kvm.RUN_UNION_OFFSET + at * field.size
    union[start : start + field.size] = value.to_bytes(field.size, "little")
    return ((1 << field.size) - 1) << start


# --- the journal ----------------------------------------------------------------------


class Journal:
    """Turns the lines of a description into records."""

    def __init__(self, start: float) -> None:
        self.records: list[Record] = []
        self.time = round(start * 1e9)
        self.cpu = 0
        self.rows: dict[int, int] = {}
        self.regs: dict[int, Regs] = {}
        self.exit: dict[int, KvmRun | None] = {}
        #: Effects that the answer's `events=` says the next step has.
        self.looked: dict[int, int] = {}

    def line(self, text: str) -> None:
        words = shlex.split(text, comments=True)
        if not words:
            return
        if not words[0].startswith("+"):
            raise DescriptionError("a line starts with the microseconds since the one before")
        self.time += round(float(words.pop(0)) * 1000)
        self.cpu = int(words.pop(0)[3:]) if words[0].startswith("cpu") else 0
        verb = words.pop(0)
        if verb not in VERBS:
            raise DescriptionError(f"no verb {verb}; use {', '.join(VERBS)}")
        VERBS[verb](self, words)

    def lines(self, *lines: str) -> None:
        """Lines of a shorthand; they keep the vCPU."""
        cpu = self.cpu
        for text in lines:
            at, rest = text.split(" ", 1)
            self.line(f"{at} cpu{cpu} {rest}")

    @property
    def row(self) -> int:
        if self.cpu not in self.rows:
            raise DescriptionError(f"vCPU {self.cpu} has not left the TD")
        return self.rows[self.cpu]

    def td_exit(self, ret: int, regs: Regs, in_kernel: InKernel | None = None) -> None:
        if self.cpu in self.rows:
            raise DescriptionError(f"vCPU {self.cpu} is not in the TD")
        row = 1 + max((record.row for record in self.records), default=-1)
        self.rows[self.cpu] = row
        self.regs[self.cpu] = regs
        self.looked[self.cpu] = 0
        body = TdExit(self.cpu, ret, regs, in_kernel=in_kernel)
        self.records.append(records.td_exit(row, body, self.time))

    def step(self, outcome: Outcome, words: Words, run: KvmRun | None = None, **more: Any) -> None:
        row = self.row
        regs = self.regs[self.cpu] = self.regs[self.cpu]._replace(**words.changed)
        effects = words.effects() | self.looked[self.cpu]
        self.looked[self.cpu] = 0
        if words.plain:
            raise DescriptionError(f"what is {words.plain[0]!r}?")
        self.exit[self.cpu] = run
        body = Step(outcome, regs, run, effects=effects, **more)
        self.records.append(records.step_record(row, self.cpu, body, self.time))


def guest(journal: Journal, words: list[str]) -> None:
    """TDG.VP.VMCALL."""
    given = Words(words[1:])
    ret = number(given.take("rax") or str(vmx.TDCALL))
    regs = _with_text(Regs(rcx=LINUX_EXPOSE_MASK), text_bytes(given.take("text") or ""))
    name = words[0]
    if name.startswith("KVM_HC_"):
        regs = regs._replace(r10=number(name))
    else:
        regs = regs._replace(r11=SUB_FUNCTIONS[name] if name in SUB_FUNCTIONS else number(name))
    journal.td_exit(ret, regs._replace(**given.registers()))


def _with_text(regs: Regs, text: bytes) -> Regs:
    """The text of ReportFatalError in its registers."""
    if len(text) > 64:
        raise DescriptionError(f"{len(text)} bytes of text are more than 64")
    parts = (text[at : at + 8] for at in range(0, 64, 8))
    values = (int.from_bytes(part, "little") for part in parts)
    return regs._replace(**dict(zip(FATAL_TEXT_REGISTERS, values, strict=True)))


def vp_enter(journal: Journal, words: list[str]) -> None:
    """TDH.VP.ENTER returned, not by TDCALL."""
    given = Words(words[1:])
    error = given.take("errno")
    in_kernel = InKernel(errno=number(error)) if error else None
    journal.td_exit(number(words[0]), NO_REGS._replace(**given.registers()), in_kernel)


def exit_to_userspace(journal: Journal, words: list[str]) -> None:
    """KVM_RUN returned 0."""
    given = Words(words)
    callback = Completer[given.take("callback") or "NONE"]
    flags = number(given.take("run_flags") or "0")
    run = make_run(given)
    journal.step(Outcome.EXIT_TO_USERSPACE, given, run, completer=callback, run_flags=flags)


def error(journal: Journal, words: list[str]) -> None:
    """KVM_RUN returned -1 with an errno."""
    given = Words(words[1:])
    effects = [word for word in given.plain if word in EFFECTS]
    run = make_run(given) if len(given.plain) > len(effects) else None
    journal.step(Outcome.KVM_ERROR, given, run, errno=number(words[0]))


def convert(journal: Journal, words: list[str]) -> None:
    """ioctl(KVM_SET_MEMORY_ATTRIBUTES)."""
    gpa, size, state = words
    body = SetMemoryAttributes(number(gpa), number(size), {"private": True, "shared": False}[state])
    journal.records.append(records.memory_attributes(journal.row, journal.cpu, body, journal.time))


def run_again(journal: Journal, words: list[str]) -> None:
    """ioctl(KVM_RUN) after an answer."""
    row = journal.row
    given = Words(words)
    events = given.take("events")
    if events is not None:
        journal.looked[journal.cpu] = EVENTS_CHECKED
    immediate = "immediate_exit" in given.plain
    body = Reentry(
        journal.cpu,
        _answer(journal.exit[journal.cpu], given.fields),
        has_events={None: False, "none": False, "pending": True}[events],
        immediate_exit=immediate,
    )
    journal.records.append(records.answer(row, body, journal.time))


def _answer(run: KvmRun | None, fields: dict[str, str]) -> Answer | None:
    if not fields or run is None:
        if fields:
            raise DescriptionError("there is nothing that this answers")
        return None
    if run.exit_reason == kvm.Exit.IO:
        return IoAnswer(bytes.fromhex(fields["data"]))
    if run.exit_reason == kvm.Exit.MMIO:
        return MmioAnswer(bytes.fromhex(fields["data"]))
    raw = run.layout is kvm_run.TDX_RAW
    kind = TdxRawAnswer if raw else ANSWERS[run.exit_reason]
    return kind(**{name: number(value) for name, value in fields.items()})


def enter(journal: Journal, words: list[str]) -> None:
    """KVM enters the TD, which ends the row."""
    given = Words(words)
    given.changed = given.registers()
    journal.step(Outcome.REENTER_TD, given)
    del journal.rows[journal.cpu]


def serial(journal: Journal, words: list[str]) -> None:
    """A byte of OUT to COM1 for each character."""
    for byte in text_bytes(words[0]):
        journal.lines(
            f"+6.2 guest IO r12=1 r13=1 r14=0x3f8 r15={byte:#x}",
            "+1.7 exit KVM_EXIT_IO direction=1 size=1 port=0x3f8 count=1"
            f" data_offset=0x1000 data={byte:02x} callback=PIO_OUT",
            "+4.4 run",
            "+1.1 enter",
        )


def chunks(journal: Journal, words: list[str]) -> None:
    """Chunks of a MapGPA; `events=` is what KVM finds when it looks after the last of them."""
    gpa, count, pages = (number(word) for word in words[:3])
    state = words[3]
    last = Words(words[4:]).take("events")
    attributes = {"private": kvm.MAP_GPA_RANGE_ENCRYPTED, "shared": 0}[state]
    for at in range(count):
        start = gpa + at * CHUNK
        found = last if at + 1 == count else "none"
        journal.lines(
            f"+2.0 exit KVM_EXIT_HYPERCALL nr=12 args={start:#x},{pages},{attributes}"
            " ret=0 flags=1 callback=MAP_GPA",
            f"+3.1 convert {start:#x} {pages * 4096} {state}",
            f"+46.8 run ret=0{f' events={found}' if found else ''}",
        )


def fatal(journal: Journal, words: list[str]) -> None:
    """KVM_EXIT_SYSTEM_EVENT of 6.16: RAX as TDH.VP.ENTER returned it, no RSP, no RBP."""
    regs = journal.regs[journal.cpu]
    data = (vmx.TDCALL, *regs[1:4], 0, 0, *regs[6:])
    journal.lines(
        f"+0 exit KVM_EXIT_SYSTEM_EVENT type={kvm.SYSTEM_EVENT_TDX_FATAL} ndata=16"
        f" data={','.join(map(hex, data))}",
        *words,
    )


VERBS: Final = {
    "guest": guest,
    "vp_enter": vp_enter,
    "exit": exit_to_userspace,
    "error": error,
    "convert": convert,
    "run": run_again,
    "enter": enter,
    "serial": serial,
    "chunks": chunks,
    "fatal": fatal,
}


def read_journal(text: str, start: float) -> list[Record]:
    """The records of a journal that begins at `start` seconds; DescriptionError names the line."""
    journal = Journal(start)
    for line in text.replace("\\\n", "").splitlines():
        try:
            journal.line(line)
        except (DescriptionError, KeyError, ValueError, TypeError) as problem:
            raise DescriptionError(f"{line.strip()!r}: {problem}") from problem
    return journal.records
