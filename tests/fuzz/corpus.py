"""What the fuzz run starts from: one file of each format, with a record of each kind in it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tdxdbg.abi.regs import Regs
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.engine.state import (
    InKernel,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    Outcome,
    Reentry,
    Step,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.traces import jsonl
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Record, answer, step_record, td_exit
from tests.fuzz import binary
from tests.traces.journals import META, journal

#: One of each text format that has a layout of its own.
_TEXTS = (
    "demo3.tracecmd-report.txt",
    "synthetic_td.tracecmd-report-R.txt",
    "demo3.perf-script-F.txt",
    "ftrace_raw_optfields.txt",
    "uprobe_event_style.txt",
    "bpftrace_demo.txt",
    "bpftrace_demo.jsonl",
    "qemu_kvm_log_ts.txt",
    "demo1.strace-kvm.txt",
)
_TEXT_LINES = 150
_HEAD_LINES = 75
DATA = Path(__file__).parents[1] / "data" / "traces"
_FULL = Regs(*range(1, 17))


def _records() -> list[Record]:
    records = journal(4, every=2)
    runs = [
        recorded_run(2, b"\1\1\xf8\3\1\0\0\0\0\x10", 0xFFFF, b"A"),
        recorded_run(6, bytes(range(24)), 0x1FFFFF),
        recorded_run(17, b"\4\0\0\0\2" + bytes(30), (1 << 24) - 1),
        recorded_run(24, b"\7\0\0\0\x10" + bytes(range(200)), (1 << 136) - 1),
        recorded_run(29, bytes(range(24)), (1 << 24) - 2),
        recorded_run(39, bytes(range(24)), (1 << 24) - 1),
        recorded_run(40, b"\1" + bytes(7) + bytes(range(1, 201)), (1 << 208) - 1),
        recorded_run(40, bytes(8) + b"\2\0\1" + bytes(29), (1 << 40) - 1),
    ]
    answers = [
        IoAnswer(bytes(range(250))),
        MmioAnswer(b"\1\2"),
        MsrAnswer(0, 5),
        TdxAnswer(0, 1, 2, 3, 4),
        TdxRawAnswer(*range(12)),
        None,
        None,
        None,
    ]
    for row, (run, reply) in enumerate(zip(runs, answers, strict=True), 4):
        vcpu = row % 2
        records += [
            td_exit(row, TdExit(vcpu, 77, _FULL, in_kernel=InKernel(True, 5)), row),
            step_record(row, vcpu, Step(Outcome.EXIT_TO_USERSPACE, _FULL, run)),
            answer(row, Reentry(vcpu, reply, has_events=True)),
        ]
    return records


def corpus() -> dict[str, bytes]:
    """One good file per format."""
    native = Trace.from_records(META, _records())
    names = ("ftrace_raw_tgid.txt", "synthetic_td.ftrace.txt")
    heads = ((DATA / name).read_bytes().splitlines(keepends=True)[:_HEAD_LINES] for name in names)
    return {
        "native": native.data(),
        "jsonl": "".join(line + "\n" for line in jsonl.lines(native)).encode(),
        "ftrace": b"".join(chain.from_iterable(heads)),
        **binary.corpus(),
        **{name: _cut(name) for name in _TEXTS},
    }


def _cut(name: str) -> bytes:
    """Enough of a recording for everything that is in it, and no more: each case reads it."""
    lines = (DATA / name).read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b"KVM_RUN" in line or b"0xae80" in line]
    return b"".join(kept or lines[-_TEXT_LINES:])
