"""The sample traces come from their descriptions, and the engine agrees with those."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tdxdbg.abi.ghci import FATAL_TEXT_REGISTERS
from tdxdbg.analysis.shadow import Check, check
from tdxdbg.decode.text import safe
from tdxdbg.engine import BY_NAME, Outcome, Step, TdExit
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind, Record
from tests.samples.alterations import Alteration, alterations
from tools import make_samples
from tools.make_samples import DESCRIPTIONS, descriptions, make

NAMES = [path.stem for path in descriptions()]

#: What has to be there, by the name of its sample.
SHOWN = [
    "serial_hello",
    "mmio_probe",
    "mapgpa_one_page",
    "mapgpa_5mib_3_chunks",
    "mapgpa_64mib_interrupted",
    "mapgpa_eagain",
    "mapgpa_einval",
    "mapgpa_ebusy",
    "mapgpa_capability_missing",
    "mapgpa_maxphyaddr_46",
    "mapgpa_misaligned",
    "mapgpa_empty",
    "mapgpa_wrapping",
    "mapgpa_crosses_shared_bit",
    "fatal_error",
    "fatal_error_hostile_text",
    "hypercall_map_gpa_range",
    "unknown_sub_function",
    "get_quote_and_event_notify",
    "cpuid_hlt_msr",
    "memory_fault_implicit_conversion",
    "triple_fault",
    "bus_lock",
    "two_vcpus_converting",
]


def sample(name: str) -> Trace:
    return open_trace(samples_dir() / f"{name}.tdxt")


def journal(trace: Trace) -> list[Record]:
    return [record for _, record in trace.records()]


def exits(trace: Trace, row: int) -> list[Step]:
    """What userspace got in this row."""
    bodies = [record.body for _, record in trace.row_records(row)]
    return [
        body for body in bodies if isinstance(body, Step) and body.outcome is not Outcome.REENTER_TD
    ]


def test_the_shipped_files_are_those_that_are_described() -> None:
    assert sorted(path.stem for path in samples_dir().glob("*.tdxt")) == NAMES


@pytest.mark.parametrize("name", SHOWN)
def test_is_there(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_making_it_again_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    made = make(DESCRIPTIONS / f"{name}.toml", tmp_path)
    assert made.read_bytes() == (samples_dir() / made.name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


def test_the_script_writes_them_all(tmp_path: Path) -> None:
    (tmp_path / "old.tdxt").write_bytes(b"of an older checkout")
    script = Path(make_samples.__file__)
    command = [sys.executable, str(script), "-o", str(tmp_path)]
    environment = {"PYTHONPATH": str(script.parents[1])}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert sorted(path.stem for path in tmp_path.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is(name: str) -> None:
    with sample(name) as trace:
        meta = trace.meta
        assert meta.origin == "synthetic"
        assert meta.source == f"hand-written: tools/samples/{name}.toml"
        assert meta.generation in BY_NAME
        assert 20 <= len(meta.title) <= 100
        assert safe(meta.title) == meta.title
        assert trace.problems == []


def test_titles_are_all_different() -> None:
    titles = set()
    for name in NAMES:
        with sample(name) as trace:
            titles.add(trace.meta.title)
    assert len(titles) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_journal_as_a_kernel_makes_it(name: str) -> None:
    """Time moves on; on a vCPU, inputs and outcomes take turns, and a row ends with an entry."""
    with sample(name) as trace:
        records = journal(trace)
    times = [record.time for record in records]
    assert None not in times
    assert times == sorted(times, key=lambda time: time or 0)
    assert len(set(times)) == len(times)
    for vcpu in {record.vcpu for record in records}:
        kinds = [
            record.kind
            for record in records
            if record.vcpu == vcpu and record.kind != Kind.MEMORY_ATTRIBUTES
        ]
        follow = {
            Kind.TD_EXIT: (Kind.USERSPACE_EXIT, Kind.TD_ENTRY),
            Kind.USERSPACE_EXIT: (Kind.ANSWER,),
            Kind.ANSWER: (Kind.USERSPACE_EXIT, Kind.TD_ENTRY),
            Kind.TD_ENTRY: (Kind.TD_EXIT,),
        }
        assert kinds[0] == Kind.TD_EXIT
        assert all(b in follow[a] for a, b in pairwise(kinds))


# --- the engine beside the hand-written expectations ----------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_agrees(name: str) -> None:
    with sample(name) as trace:
        done = check(trace)
        assert list(done) == []
        outcomes = sum(isinstance(record.body, Step) for record in journal(trace))
        assert (done.compared, done.left_out) == (outcomes, 0)


def altered(trace: Trace, place: int, alteration: Alteration) -> Check:
    records = journal(trace)
    records[place] = records[place]._replace(body=alteration.step)
    return check(Trace.from_records(trace.meta, records))


@pytest.mark.parametrize("name", NAMES)
def test_check_names_a_value_that_was_altered(name: str) -> None:
    """One field of each recorded step, chosen by a seed, each in a trace of its own."""
    chance = random.Random(name)
    with sample(name) as trace:
        records = journal(trace)
        places = [at for at, record in enumerate(records) if isinstance(record.body, Step)]
        assert places
        for place in places:
            body = records[place].body
            assert isinstance(body, Step)
            alteration = chance.choice(list(alterations(body)))
            done = altered(trace, place, alteration)
            found = [(item.row, item.vcpu, item.field) for item in done]
            assert found == [(records[place].row, records[place].vcpu, alteration.field)]


def test_check_names_every_field_of_one_sample() -> None:
    with sample("mapgpa_eagain") as trace:
        for place, record in enumerate(journal(trace)):
            if isinstance(record.body, Step):
                for alteration in alterations(record.body):
                    found = [item.field for item in altered(trace, place, alteration)]
                    assert found == [alteration.field]


# --- what single samples show ---------------------------------------------------------


def test_the_large_conversion_is_resumed_where_it_was_interrupted() -> None:
    with sample("mapgpa_64mib_interrupted") as trace:
        timeline = Timeline(trace)
        rows = [row for row in range(len(trace)) if timeline.summary(row).size == 64 << 20]
        conversions = [row for row in range(len(trace)) if len(exits(trace, row)) > 1]
        assert conversions[:1] == rows
        assert [len(exits(trace, row)) for row in conversions] == [11, 13, 8]
        ends = [timeline.moment(row, timeline.steps(row) - 1) for row in conversions]
        asks = [timeline.moment(row, 0).before for row in conversions]
        assert [end.after.r10 for end in ends] == [1, 1, 0]
        assert [end.after.r11 for end in ends[:2]] == [ask.r12 for ask in asks[1:]]
        assert sum(ask.r13 for ask in asks) > 64 << 20
        gpa_map = timeline.moment(len(trace) - 1).gpa_map
        assert gpa_map is not None
        assert [tuple(item) for item in gpa_map.shared_ranges()] == [
            (0x7400_0000, 0x77E0_0000, True)
        ]


def test_the_two_vcpus_are_interleaved() -> None:
    with sample("two_vcpus_converting") as trace:
        vcpus = [record.vcpu for record in journal(trace)]
        turns = sum(a != b for a, b in pairwise(vcpus))
        assert set(vcpus) == {0, 1}
        assert turns > 12


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\x1b[2J", id="escape"),
        pytest.param(b"\x1b]52;", id="clipboard"),
        pytest.param(b"\x1b]8;;", id="hyperlink"),
        pytest.param(b"[link=", id="markup"),
        pytest.param(b"[/foo]", id="closing markup"),
        pytest.param(b"\x9b31m", id="C1"),
        pytest.param("\u202e".encode(), id="bidi override"),
        pytest.param("\u2066".encode(), id="bidi isolate"),
        pytest.param(b"\x00hidden", id="NUL"),
        pytest.param(b"</text><script>", id="XML"),
    ],
)
def test_the_hostile_text_has_it(text: bytes) -> None:
    with sample("fatal_error_hostile_text") as trace:
        said = []
        for record in journal(trace):
            if isinstance(record.body, TdExit):
                values = (getattr(record.body.regs, name) for name in FATAL_TEXT_REGISTERS)
                said.append(b"".join(value.to_bytes(8, "little") for value in values))
    assert any(text in one for one in said)
