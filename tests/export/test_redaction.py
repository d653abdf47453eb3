"""What is redacted is in no byte of what is written, whatever the form; what stays is true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.ghci import FATAL_TEXT_REGISTERS, SubFunction
from tdxdbg.abi.regs import KNOWN_ALL, LINUX_EXPOSE_MASK, Regs
from tdxdbg.analysis.chain import Kind as FaultKind
from tdxdbg.analysis.chains import Chains
from tdxdbg.analysis.shadow import check
from tdxdbg.engine import (
    BY_NAME,
    GENERATIONS,
    Engine,
    Generation,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
)
from tdxdbg.engine.kvm_run import ALL_BYTES
from tdxdbg.engine.snapshot import dump
from tdxdbg.engine.state import InKernel, Msr
from tdxdbg.export import FORMATS, Job, Level, Selection
from tdxdbg.export.redaction import Redaction
from tdxdbg.export.staying import is_status
from tdxdbg.filters import compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import jsonl, open_trace
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import (
    Kind,
    Record,
    TraceMeta,
    answer,
    checkpoint,
    memory_attributes,
    step_record,
    td_exit,
)
from tests.export.outputs import written
from tests.traces.strategies import journals, metas

SAMPLES = sorted(samples_dir().glob("*.tdxt"))
TEXT_FORMS = ("tdxt", "jsonl", "csv", "perfetto")


def numbers(value: int) -> list[bytes]:
    """A number as bytes of a record and as text, in both bases."""
    return [pack("<Q", value), f"{value:x}".encode(), str(value).encode(), pack(">Q", value)]


def texts(text: bytes) -> list[bytes]:
    return [text, text.hex().encode(), *numbers(int.from_bytes(text[:8], "little"))]


# --- a journal full of secrets --------------------------------------------------------------

#: Distinct 64-bit numbers that look like nothing else; the low 12 bits are 0, as of GPAs.
SECRETS = [0x5EC2_E700_0000_0000 | number << 24 | 0xABC << 12 for number in range(1, 40)]
MESSAGE = b"hunter2!passw0rdtopsecre"
LETTERS = [0xC1, 0xD2]
DATA = bytes.fromhex("f00dfeedbeefcafe")


def secret_journal(generation: Generation) -> list[Record]:
    """Every kind of record, with a secret wherever one can be."""
    records: list[Record] = []
    secrets = iter(SECRETS)
    engine = Engine(Td(), generation)
    engine.force_into_td(0)
    row = -1

    def exit_(leaf: int, known: int = KNOWN_ALL, r10: int = 0, **named: int) -> None:
        nonlocal row
        row += 1
        values = dict.fromkeys(("rbx", "rdx", "rsi", "rdi", "r8", "r9", "r12", "r13", "r14", "r15"))
        filled = {name: named.get(name, next(secrets) if name == "r9" else 0) for name in values}
        regs = Regs(rcx=LINUX_EXPOSE_MASK, r10=r10, r11=leaf, **filled)
        body = TdExit(0, 77, regs, known)
        engine.force_into_td(0)
        step = engine.feed(body)
        records.append(td_exit(row, body, 1000 * row))
        out(step, row)
        while step.outcome is Outcome.EXIT_TO_USERSPACE and step.run is not None:
            body_ = reply(step)
            if body_ is None:
                return
            records.append(answer(row, body_, 1000 * row + 2))
            step = engine.feed(body_)
            out(step, row)

    def out(step: Step, row: int) -> None:
        run = step.run
        if run is not None:
            # Somebody who saw all of kvm_run, also what was left stale.
            tail = pack("<3Q", *SECRETS[-3:])
            union = run.union[:200] + tail + run.union[224:]
            run = run._replace(union=union, valid=ALL_BYTES)
        records.append(step_record(row, 0, step._replace(run=run), 1000 * row + 1))

    def reply(step: Step) -> Reentry | None:
        member = step.run.layout.member if step.run is not None else ""
        if member == "hypercall":
            return Reentry(0, HypercallAnswer(0))
        if member == "io":
            return Reentry(0, IoAnswer(DATA[:4]))
        if member == "mmio":
            return Reentry(0, MmioAnswer(DATA[:8]))
        return None

    exit_(SubFunction.MAP_GPA, r12=next(secrets) & 0xFFFF_FFFF_F000, r13=2 << 20)
    exit_(SubFunction.IO, r12=1, r13=1, r14=0x3F8, r15=next(secrets))
    exit_(SubFunction.IO, r12=4, r13=0, r14=0x3FD)
    exit_(SubFunction.MMIO, r12=8, r13=1, r14=next(secrets) & 0x7FFF_FFFF_F000, r15=next(secrets))
    exit_(SubFunction.MMIO, r12=8, r13=0, r14=next(secrets) & 0x7FFF_FFFF_F000)
    exit_(SubFunction.CPUID, r12=next(secrets), r13=next(secrets))
    exit_(SubFunction.WRMSR, r12=0x1234_5678, r13=next(secrets))
    exit_(0x99, r12=next(secrets), r13=next(secrets), r14=next(secrets), rbx=next(secrets))
    exit_(next(secrets), r10=next(secrets), r12=next(secrets), r13=next(secrets))
    words = [int.from_bytes(MESSAGE[at : at + 8], "little") for at in (0, 8, 16)]
    named = dict(zip(FATAL_TEXT_REGISTERS, words, strict=False))
    records.append(
        memory_attributes(row, 0, SetMemoryAttributes(next(secrets) & 0xFFFF_FFFF_F000, 4096, True))
    )
    records.append(checkpoint(dump(engine.checkpoint())))
    body = TdExit(1, 48, Regs(rcx=next(secrets), rdx=next(secrets), r8=next(secrets)), KNOWN_ALL,
                  InKernel(True, next(secrets), 0))  # fmt: skip
    records.append(td_exit(row + 1, body))
    records.append(step_record(row + 1, 1, Step(Outcome.REENTER_TD, Regs(r10=next(secrets)))))
    row += 1
    exit_(SubFunction.REPORT_FATAL_ERROR, **named)
    return records


def secret_trace(generation: Generation) -> Trace:
    td = Td(
        msrs={0x10: Msr(SECRETS[35])}, memslots=((SECRETS[36] >> 12, SECRETS[36] >> 11),),
        mmio_devices=((SECRETS[37], SECRETS[37] + 4),), fast_mmio=(SECRETS[38],),
    )  # fmt: skip
    meta = TraceMeta(
        generation=generation.name,
        title="secrets",
        td=td,
        extra={"note": f"r12 was {SECRETS[0]:#x}", "remarks": [f"line 3: {SECRETS[1]:x}"]},
    )
    return Trace.from_records(meta, secret_journal(generation), name="secrets.tdxt")


def every_secret(trace: Trace) -> Iterator[int]:
    """All numbers of its registers that are large enough to be told from others."""
    for _, record in trace.records():
        body = record.body
        values = list(body.regs) if isinstance(body, TdExit | Step) else []
        if isinstance(body, SetMemoryAttributes):
            values.append(body.gpa)
        yield from (value for value in values if value >> 32 and not is_status(value))


@pytest.mark.parametrize("form", TEXT_FORMS)
@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda generation: generation.name)
@pytest.mark.parametrize("text", [None, f"r9 != {SECRETS[0]:#x}"], ids=["all", "filtered"])
def test_no_secret_is_in_any_byte(form: str, generation: Generation, text: str | None) -> None:
    trace = secret_trace(generation)
    selection = Selection(wanted=None if text is None else compile_filter(text))
    plain = written(FORMATS[form].write, Job(Timeline(trace), selection))
    hidden = {*every_secret(trace), *SECRETS, *(value & 0x7FFF_FFFF_F000 for value in SECRETS)}
    assert sum(any(shown in plain for shown in numbers(value)) for value in hidden) > 9
    data = written(FORMATS[form].write, Job(Timeline(trace), selection, Level.REGISTERS))
    for value in hidden:
        for shown in numbers(value):
            if len(shown) >= 6:
                assert shown not in data, hex(value)
    for shown in [piece for at in (0, 8, 16) for piece in texts(MESSAGE[at : at + 8])]:
        assert shown not in data
    for shown in (DATA, DATA.hex().encode(), DATA[:4], DATA[:4].hex().encode()):
        assert shown not in data


@pytest.mark.parametrize("form", TEXT_FORMS)
@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda generation: generation.name)
def test_no_text_is_in_any_byte(form: str, generation: Generation) -> None:
    trace = secret_trace(generation)
    plain = written(FORMATS[form].write, Job(Timeline(trace)))
    assert any(shown in plain for shown in texts(MESSAGE[:8]))
    data = written(FORMATS[form].write, Job(Timeline(trace), level=Level.TEXT))
    for shown in [piece for at in (0, 8, 16) for piece in texts(MESSAGE[at : at + 8])]:
        assert shown not in data
    for shown in (DATA, DATA.hex().encode(), DATA[:4], DATA[:4].hex().encode()):
        assert shown not in data
    # A GPA is no text.
    gpa = next(record.body.regs.r12 for _, record in trace.records()
               if isinstance(record.body, TdExit) and record.body.regs.r11 == 0x10001)  # fmt: skip
    assert any(shown in data for shown in numbers(gpa)) or form in ("csv", "perfetto")


@given(metas, journals(), st.sampled_from(Level))
@settings(max_examples=60, deadline=None)
def test_any_journal_can_be_redacted_and_opened(
    meta: TraceMeta, records: list[Record], level: Level
) -> None:
    trace = Trace.from_records(meta, records)
    for form in ("tdxt", "jsonl"):
        data = written(FORMATS[form].write, Job(Timeline(trace), level=level))
        part = Trace(data) if form == "tdxt" else jsonl.read(BytesIO(data), "x")
        assert not part.problems
        assert len(part) <= len(trace)
        again = Redaction(level)
        for _, record in part.records():
            if record.kind is not Kind.CHECKPOINT:
                # There is nothing left to take out.
                assert again.record(record) == record


# --- what is left is true ---------------------------------------------------------------------


def mistakes(timeline: Timeline, row: int) -> set[tuple[FaultKind, int]]:
    """Of whom the chain of MapGPA of this row says that somebody made a mistake."""
    chains = Chains(timeline)
    for _ in chains.search(row):
        pass
    found = chains.known(row)
    assert found is not None
    chain = found.chain
    return set() if chain is None else {(item.kind, item.row) for item in chain.faults
                                        if item.is_error}  # fmt: skip


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_open_and_differ_nowhere_else(path: Path, level: Level) -> None:
    with open_trace(path) as trace:
        part = Trace(written(FORMATS["tdxt"].write, Job(Timeline(trace), level=level)))
        ours, theirs = Timeline(part), Timeline(trace)
        assert len(ours) == len(theirs)
        for row in range(len(ours)):
            kept, whole = ours.summary(row), theirs.summary(row)
            for name in kept.__slots__:
                value = getattr(kept, name)
                assert value is None or value == getattr(whole, name), name
            same = ("index", "time", "vcpu", "reason", "rax", "exit", "outcome", "kernel", "errno")
            assert [getattr(kept, name) for name in same] == [getattr(whole, name) for name in same]
            for step in range(ours.steps(row)):
                moment = ours.moment(row, step)
                assert (moment.gpa_map is None) == (level is Level.REGISTERS)
            assert mistakes(ours, row) <= mistakes(theirs, row)
        every = {(item.row, item.step, item.field) for item in check(trace)}
        assert {(item.row, item.step, item.field) for item in check(part)} <= every
    assert part.meta.redacted == [level.name.lower()]
    assert any("taken out" in remark for remark in part.remarks)


def test_kinds_sizes_and_statuses_stay() -> None:
    with open_trace(samples_dir() / "mapgpa_64mib_interrupted.tdxt") as trace:
        part = Trace(written(FORMATS["tdxt"].write, Job(Timeline(trace), level=Level.REGISTERS)))
        ours, theirs = Timeline(part), Timeline(trace)
        for row in range(len(trace)):
            kept, whole = ours.summary(row), theirs.summary(row)
            for name in ("leaf", "size", "status", "retry", "error", "direction", "vendor"):
                assert getattr(kept, name) == getattr(whole, name), name
            for name in ("gpa", "port", "message", "reply", "r14", "r15", "rbx"):
                assert getattr(kept, name) is None


def test_two_levels_one_after_the_other_are_both_said() -> None:
    with open_trace(SAMPLES[0]) as trace:
        once = Trace(written(FORMATS["tdxt"].write, Job(Timeline(trace), level=Level.TEXT)))
        twice = Trace(written(FORMATS["tdxt"].write, Job(Timeline(once), level=Level.REGISTERS)))
        assert twice.meta.redacted == ["registers", "text"]
        third = Trace(written(FORMATS["tdxt"].write, Job(Timeline(twice), Selection(1))))
        assert third.meta.redacted == ["registers", "text"]
        for kernel in (None, BY_NAME["v19"]):
            timeline = Timeline(third, kernel)
            assert not timeline.has_map
            assert timeline.moment(0).gpa_map is None
            assert timeline.moment(0).changed is None
            assert timeline.engine_before(0)[1] is False


def test_the_filter_is_not_quoted() -> None:
    trace = secret_trace(BY_NAME["6.16"])
    wanted = Selection(wanted=compile_filter("r9 == 0x1234567890"))
    for form in TEXT_FORMS:
        for level in Level:
            data = written(FORMATS[form].write, Job(Timeline(trace), wanted, level))
            assert b"1234567890" not in data
    plain = written(FORMATS["tdxt"].write, Job(Timeline(trace), wanted))
    assert b"1234567890" in plain


def test_the_perfetto_form_names_what_was_taken_out() -> None:
    with open_trace(SAMPLES[0]) as trace:
        job = Job(Timeline(trace), level=Level.REGISTERS)
        made = json.loads(written(FORMATS["perfetto"].write, job))
    assert made["otherData"]["redacted"] == "registers"
    assert not [event for event in made["traceEvents"] if event["ph"] == "C"]
