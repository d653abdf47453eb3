"""The recording of a live run: complete, checkable, and the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.analysis.shadow import check
from tdxdbg.engine import BY_NAME
from tdxdbg.guests import guests
from tdxdbg.session import Session
from tdxdbg.session.recorder import Recorder
from tdxdbg.session.sink import RecordSink
from tdxdbg.traces import Kind, Record, Trace, TraceMeta, open_trace
from tests.session.support import ENDLESS, WRITES, until
from tests.session.worlds import RAM, world

#: Enough for every guest's end, but for the one that never ends by itself.
STEPS = 3000


class Seen(RecordSink):
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.append = self.records.append


def records(path: str | Path) -> list[Record]:
    """All but checkpoints."""
    with open_trace(path) as trace:
        assert trace.problems == []
        return plain(trace)


def plain(trace: Trace) -> list[Record]:
    return [record for _, record in trace.records() if record.kind is not Kind.CHECKPOINT]


@pytest.mark.parametrize("name", [guest.name for guest in guests()])
def test_a_recording_holds_what_happened_and_the_engine_agrees(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.tdxt"
    with Session.open(name, kernel="7.2", memory=RAM >> 20, record=path) as session:
        steps = session.cont(steps=STEPS).steps
    with open_trace(path) as trace:
        assert trace.meta.origin == "emulated"
        assert trace.meta.generation == "7.2"
        run = check(trace, None)
        assert [str(each) for each in run] == []
    seen = Seen()
    subject = world(name)
    subject.run.sink = seen
    subject.cont(steps=STEPS)
    assert subject.run.steps == steps
    # As a file holds them: what the engine noted besides is made again by a reader.
    with Trace.from_records(TraceMeta(), seen.records) as trace:
        assert records(path) == plain(trace)


@pytest.mark.parametrize("kernel", BY_NAME)
def test_the_engine_agrees_in_every_generation(kernel: str, tmp_path: Path) -> None:
    path = tmp_path / "run.tdxt"
    with Session.open("mapgpa_retry", kernel=kernel, policies=["eagain:1"], record=path) as session:
        session.cont()
    with open_trace(path) as trace:
        assert trace.meta.extra["policies"] == ["eagain:1"]
        run = check(trace, None)
        assert [str(each) for each in run] == []


def test_two_runs_make_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with Session.open("two_vcpus", seed=5, record=tmp_path / name) as session:
            session.step(30)
            session.cont()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_long_recording_is_the_same_whoever_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hand-over to another process happens at another place in each run."""
    for number, name in enumerate(("one", "two", "alone")):
        run = world(WRITES).run
        path = str(tmp_path / name)
        if name == "alone":
            monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
        recorder = Recorder(path, TraceMeta(), run.engine)
        run.sink = recorder
        for at in range(20_000):
            run.step()
            if not at % 128:
                recorder.tick(at * (number + 1))
        recorder.close()
        assert recorder.failure == ""
    first = (tmp_path / "one").read_bytes()
    assert first == (tmp_path / "two").read_bytes()
    assert first == (tmp_path / "alone").read_bytes()


def test_interventions_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / "run.tdxt"
    with Session.open("mapgpa_retry", kernel="7.2", record=path) as session:
        session.run_until("exit == KVM_EXIT_HYPERCALL")
        session.answer(ret=11)
        session.inject(0x40)
        session.step(7)
        session.cont()
    with open_trace(path) as trace:
        run = check(trace, None)
        assert [str(each) for each in run] == []


def test_long_recordings_have_checkpoints_that_the_engine_agrees_with(tmp_path: Path) -> None:
    path = tmp_path / "long.tdxt"
    with Session.open(WRITES, memory=4, record=path) as session:
        session.cont(steps=8000)
    with open_trace(path) as trace:
        kinds = [record.kind for _, record in trace.records()]
        assert kinds.count(Kind.CHECKPOINT) >= 2
        after = {kinds[at + 1] for at, kind in enumerate(kinds) if kind is Kind.CHECKPOINT}
        assert after == {Kind.TD_EXIT}
        run = check(trace, None)
        assert [str(each) for each in run] == []


def test_another_future_begins_with_what_they_share(tmp_path: Path) -> None:
    with Session.open(WRITES, memory=4, record=tmp_path / "one") as session:
        session.step(7000)
        session.step_instruction(3)
        past = session.go_to(steps=6001)
        past.make_live(tmp_path / "two")
        shared = records(tmp_path / "two")
        assert shared == records(tmp_path / "one")[: len(shared)]
        past.step(999)
        assert past.moment().row == past.state.row
        assert records(tmp_path / "two") == records(tmp_path / "one")
        start = session.go_to(steps=0)
        start.make_live()
        assert len(start.timeline) == 0


def test_every_stop_is_in_the_file(tmp_path: Path) -> None:
    with Session.open("mapgpa_retry", record=tmp_path / "run") as session:
        for _ in range(5):
            state = session.step()
            assert len(session.timeline) == state.row + 1
            assert session.moment().steps == state.step + 1


def test_it_grows_while_the_guest_runs(tmp_path: Path) -> None:
    with Session.open(WRITES, memory=4, record=tmp_path / "run") as session:
        session.send("cont")
        with open_trace(tmp_path / "run") as trace:
            for _ in range(3):
                count = len(trace)

                def grew(count: int = count) -> bool:
                    trace.refresh()
                    return len(trace) > count

                until(grew, "more rows")


def test_a_run_without_exits_is_an_empty_recording(tmp_path: Path) -> None:
    with Session.open(ENDLESS, memory=4, record=tmp_path / "run") as session:
        session.step_instruction(100)
        assert len(session.timeline) == 0
    assert records(tmp_path / "run") == []
