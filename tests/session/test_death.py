"""Ends, good and bad: no process, folder or recording is lost, whoever dies first."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tdxdbg.analysis.shadow import check
from tdxdbg.errors import BackendError, SessionError, TraceError
from tdxdbg.session import LiveConfig, Session, SessionDied
from tdxdbg.session.channel import Channel, encoded
from tdxdbg.session.client import Client
from tdxdbg.session.state import RECORDING_FAILED, State
from tdxdbg.traces import open_trace
from tdxdbg.traces.meta import dump_json
from tests.session.support import ENDLESS, WRITES, group, is_running, leader_of, until, wait_for


def folder_of(session: Session) -> Path:
    return Path(session._process.private_path(""))


def is_gone(session: Session, worker: int, folder: Path) -> bool:
    return not group(worker) and not folder.exists() and not is_running(worker)


# --- the worker dies ------------------------------------------------------------------


def test_a_killed_worker_is_told_of_and_its_recording_opens(tmp_path: Path) -> None:
    path = tmp_path / "killed.tdxt"
    with Session.open(WRITES, memory=4, record=path) as session:
        session.step(100)
        request = session.send("cont")
        size = path.stat().st_size
        until(lambda: path.stat().st_size > size, "the recording grows while it runs")
        os.kill(leader_of(session), signal.SIGKILL)
        event = wait_for(session, request)
        assert (event.kind, event.request) == ("died", 0)
        assert "SIGKILL" in event.value
        assert str(path) in event.value
        assert not session.alive
        assert "died" in repr(session)
        assert session.poll() == []
        with pytest.raises(SessionDied) as error:
            session.step()
        assert error.value.signal == "SIGKILL"
        assert len(session.timeline) > 50
    with open_trace(path) as trace:
        assert len(trace) > 50


def test_a_worker_that_dies_in_a_blocking_call() -> None:
    with Session.open("fatal") as session:
        os.kill(leader_of(session), signal.SIGSEGV)
        with pytest.raises(SessionDied, match="SIGSEGV"):
            session.step()
        with pytest.raises(SessionDied):
            session.registers()


def test_a_past_that_dies_hurts_nobody() -> None:
    with Session.open("mapgpa_retry") as session:
        session.step(9)
        first, second = session.reverse_step(), session.reverse_step(2)
        workers = set(group(leader_of(session))) - {leader_of(session)}
        assert len(workers) == 2
        os.kill(min(workers), signal.SIGKILL)
        with pytest.raises(SessionDied, match="others are not touched"):
            first.step()
        assert second.refresh().steps == 7
        assert session.step().steps == 10
        assert not first.alive


def test_a_past_outlives_the_present() -> None:
    with Session.open("mapgpa_retry") as session:
        session.step(9)
        past = session.reverse_step()
        os.kill(leader_of(session), signal.SIGKILL)
        until(lambda: not is_running(leader_of(session)), "the end of the worker")
        past.make_live()
        assert past.cont().is_ended
        worker = leader_of(session)
    until(lambda: not group(worker), "the end of its worlds")


def test_a_world_that_dies_on_its_way() -> None:
    with Session.open(ENDLESS, memory=4, instructions=30_000_000) as session:
        session.cont()
        # Nothing between here and the start is a place where it would look up.
        request = session.send("go_to", steps=0, instructions=29_999_999)
        worker = leader_of(session)
        until(lambda: len(group(worker)) == 2, "the other world's process")
        os.kill((set(group(worker)) - {worker}).pop(), signal.SIGKILL)
        event = wait_for(session, request)
        assert event.kind in ("failed", "done")
        if event.kind == "failed":
            assert "died" in event.value
        assert session.refresh().instructions == 30_000_000


def test_a_world_that_is_long_on_its_way_arrives() -> None:
    """What it says on the way is not for the client that it will have."""
    with Session.open(ENDLESS, memory=4, instructions=30_000_000) as session:
        session.cont()
        past = session.last_write(0x3000)
        assert past.state.why == "the start of the run"
        assert past.step_instruction(5).instructions == 5
        assert past.alive


# --- the client dies ------------------------------------------------------------------

CLIENT = """
import os, sys, time
from tdxdbg.session import Session
from tests.session.support import ENDLESS, leader_of
session = Session.open(ENDLESS, memory=4, record=sys.argv[1])
session.step_instruction(1000)
past = session.reverse_step_instruction()
past.make_live()
past.send("cont")
session.send("cont")
print(leader_of(session), session._process.private_path(""), flush=True)
time.sleep(600)
"""


def test_a_client_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    path = tmp_path / "left.tdxt"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(path)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as client:
        assert client.stdout is not None
        words = client.stdout.readline().split()
        worker, folder = int(words[0]), Path(words[1])
        assert len(group(worker)) == 2
        assert folder.exists()
        client.kill()
        until(lambda: not group(worker), "the end of its workers")
    until(lambda: not folder.exists(), "the end of its folder")
    with open_trace(path) as trace:
        assert len(trace) == 0


# --- good ends ------------------------------------------------------------------------


def test_closing_ends_everything_also_while_it_runs() -> None:
    session = Session.open(ENDLESS, memory=4)
    worker, folder = leader_of(session), folder_of(session)
    session.step_instruction(10)
    fork = session.reverse_step_instruction()
    fork.make_live()
    fork.send("cont")
    session.send("cont")
    assert len(group(worker)) == 2
    session.close()
    assert is_gone(session, worker, folder)


def failing(session: Session) -> None:
    with session:
        raise ZeroDivisionError


def test_an_exception_ends_everything() -> None:
    session = Session.open("fatal")
    worker, folder = leader_of(session), folder_of(session)
    with pytest.raises(ZeroDivisionError):
        failing(session)
    assert is_gone(session, worker, folder)


def test_a_session_that_is_forgotten_ends() -> None:
    session = Session.open("fatal")
    worker, folder = leader_of(session), folder_of(session)
    del session
    gc.collect()
    assert not group(worker)
    assert not folder.exists()


def test_no_file_descriptor_is_left() -> None:
    with Session.open("fatal"):
        pass
    before = len(os.listdir("/proc/self/fd"))
    with Session.open("fatal") as session:
        session.step(3)
        session.reverse_step().moment()
        session.send("go_to", steps=1)
        session.registers()
    assert len(os.listdir("/proc/self/fd")) == before


def test_ctrl_c_in_a_blocking_call_stops_the_run() -> None:
    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Session.open(ENDLESS, memory=4) as session:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                session.cont()
            assert session.refresh().why == "interrupted"
            assert session.step_instruction().why == "instruction count reached"
            assert session.poll() == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_a_worker_is_bounded() -> None:
    with Session.open("fatal") as session:
        limit = resource.prlimit(leader_of(session), resource.RLIMIT_AS)[0]
        assert 0 < limit < 32 << 30
        assert resource.prlimit(leader_of(session), resource.RLIMIT_CORE)[0] == 0


def test_a_worker_without_memory_says_so_and_its_recording_opens(tmp_path: Path) -> None:
    path = tmp_path / "run.tdxt"
    with Session.open(WRITES, memory=4, record=path) as session:
        session.step(100)
        resource.prlimit(leader_of(session), resource.RLIMIT_AS, (1 << 20, 1 << 20))
        with pytest.raises(SessionDied, match="memory"):
            session.cont()
    with open_trace(path) as trace:
        assert len(trace) >= 50


# --- a full disk ----------------------------------------------------------------------


def test_a_full_disk_stops_the_run_and_loses_the_tail_only(tmp_path: Path) -> None:
    path = tmp_path / "full.tdxt"
    with Session.open(WRITES, memory=4, record=path) as session:
        session.step(50)
        room = path.stat().st_size + 100_000
        resource.prlimit(leader_of(session), resource.RLIMIT_FSIZE, (room, room))
        state = session.cont()
        assert (state.where, state.why) == ("ended", RECORDING_FAILED)
        assert str(path) in state.detail
        with pytest.raises(SessionError, match="safe in the file"):
            session.step()
        assert session.registers().rip
        assert session.reverse_step().state.world == "past"
    with open_trace(path) as trace:
        assert len(trace) > 100
        assert trace.problems == []


def test_no_room_for_another_future(tmp_path: Path) -> None:
    with Session.open(WRITES, memory=4) as session:
        session.step(3000)
        past = session.reverse_step()
        worker = leader_of(session)
        for pid in group(worker):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (50_000, 50_000))
        fork = tmp_path / "fork.tdxt"
        with pytest.raises(TraceError, match="cannot be written"):
            past.make_live(fork)
        assert not fork.exists()
        assert past.refresh().world == "past"
        assert past.reverse_step().state.steps == 2998


# --- the process that writes a long recording --------------------------------------------


def writing_process(session: Session) -> tuple[int, int]:
    """Let the guest run until its recording is written by a process of its own.

    That process, and the number of the request.
    """
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("with one processor the worker writes the recording itself")
    worker = leader_of(session)
    request = session.send("cont")
    until(lambda: len(group(worker)) == 2, "a process that writes")
    writer = next(pid for pid in group(worker) if pid != worker)
    # A process that has just been forked has the file of the worker for a moment.
    until(lambda: ".tdxt" not in " ".join(open_files(worker)), "the worker gave the file away")
    until(lambda: ".tdxt" in " ".join(open_files(writer)), "it has the file")
    return writer, request


def open_files(pid: int) -> list[str]:
    with suppress(OSError):
        names = os.listdir(f"/proc/{pid}/fd")
        return [os.readlink(f"/proc/{pid}/fd/{name}") for name in names]
    return []


def grows(path: Path) -> None:
    size = path.stat().st_size
    until(lambda: path.stat().st_size > size + (1 << 20), "the recording grows")


def test_a_full_disk_under_the_writing_process(tmp_path: Path) -> None:
    path = tmp_path / "full.tdxt"
    with Session.open(WRITES, memory=4, record=path) as session:
        writer, request = writing_process(session)
        grows(path)
        room = path.stat().st_size + 3_000_000
        resource.prlimit(writer, resource.RLIMIT_FSIZE, (room, room))
        wait_for(session, request)
        state = session.state
        assert (state.where, state.why) == ("ended", RECORDING_FAILED)
        assert "safe in the file" in state.detail
    complete(path)


def test_the_writing_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "killed.tdxt"
    with Session.open(WRITES, memory=4, record=path) as session:
        writer, request = writing_process(session)
        grows(path)
        os.kill(writer, signal.SIGKILL)
        wait_for(session, request)
        state = session.state
        assert (state.where, state.why) == ("ended", RECORDING_FAILED)
        assert "the process that writes it is gone" in state.detail
        # What had been written can be looked at, and the past as well.
        assert session.moment(100).row == 100
    complete(path)


def test_the_worker_of_a_long_run_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "killed.tdxt"
    with Session.open(WRITES, memory=4, record=path) as session:
        writer, _ = writing_process(session)
        grows(path)
        os.kill(leader_of(session), signal.SIGKILL)
        until(lambda: not is_running(writer), "the writing process ends by itself")
    complete(path)


def complete(path: Path) -> None:
    """The recording opens, to its last record, and the engine agrees with it."""
    with open_trace(path) as trace:
        # A MiB of it at least (`grows`), at some 260 bytes an exit.
        assert len(trace) > 3000
        assert trace.problems == []
        run = check(trace, None)
        assert [str(each) for each in run] == []


# --- it does not start ----------------------------------------------------------------


def test_without_unicorn_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unicorn.py").write_text("raise ImportError('libunicorn.so.2: not there')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match=r"libunicorn.so.2: not there"):
        Session.open("fatal")


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
def test_without_a_worker_it_says_so(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(SessionError, match="worker"):
        Session.open("fatal")


# --- a worker that lies ---------------------------------------------------------------

STATE = encoded(State("live", "held", "a step").to_json())


def reply(**fields: Any) -> dict[str, Any]:
    return {"request": 1, "kind": "done", "value": STATE, **fields}


LIES: dict[str, bytes | dict[str, Any]] = {
    "no message": b"hello, world",
    "too long": struct.pack(">IB", (1 << 32) - 1, 0),
    "nothing": {},
    "another request": reply(request=2),
    "no request": reply(request="x"),
    "a negative request": reply(request=-1),
    "an unknown kind": reply(kind="nonsense"),
    "no kind": {"request": 1},
    "no state": reply(value={}),
    "half a state": reply(value={"world": "live"}),
    "numbers for texts": reply(value={**STATE, "why": 1}),
    "huge numbers": reply(value={**STATE, "rip": 1 << 70}),
    "a failure that is no text": {"request": 1, "kind": "failed", "value": [1]},
    "a failure too long": {"request": 1, "kind": "failed", "value": "x" * (1 << 18)},
    "progress of nothing": {"request": 1, "kind": "progress", "value": 3},
}


class FakeProcess:
    """A worker that a test speaks for."""

    def kill(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def death(self) -> tuple[str, str]:
        return "the worker ended", ""


def liar(speak: Callable[[socket.socket], None]) -> tuple[Session, socket.socket]:
    ours, theirs = socket.socketpair()
    session = Session(FakeProcess(), Client(Channel(ours)), LiveConfig("x"))  # type: ignore[arg-type]
    session.state = State("live", "held", "a step")

    # More than a socket takes at once.
    def say() -> None:
        with suppress(OSError):
            speak(theirs)

    threading.Thread(target=say, daemon=True).start()
    return session, theirs


def framed(body: dict[str, Any], fds: int = 0) -> bytes:
    text = dump_json(body).encode()
    return struct.pack(">IB", len(text), fds) + text


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_ends_the_session_in_one_line(lie: bytes | dict[str, Any]) -> None:
    data = lie if isinstance(lie, bytes) else framed(lie)
    session, worker = liar(lambda sock: sock.sendall(data))
    try:
        with pytest.raises(SessionDied, match="makes no sense") as error:
            session.step()
        assert len(str(error.value).splitlines()) == 1
        assert session.poll()[-1].kind == "died"
        assert session.poll() == []
    finally:
        session.close()
        worker.close()


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ("registers", {}),
        ("registers", {"rax": "1"}),
        ("read_memory", "x"),
        ("read_memory", {"$hex": "00" * ((1 << 20) + 1)}),
        ("console", [1, 2, 3]),
        ("console", []),
        ("gpa_map", {"a": 1}),
        ("gpa_map", [3, 2]),
        ("gpa_map", [1 << 41]),
        ("breakpoints", [{}]),
        ("breakpoints", 7),
        ("add_breakpoint", {"kind": "nonsense"}),
        ("remove_breakpoint", 5),
        ("state", None),
        ("go_to", {}),
    ],
)
def test_a_lie_about_a_result_ends_the_session(command: str, value: Any) -> None:
    session, worker = liar(lambda sock: sock.sendall(framed(reply(value=value))))
    try:
        session.send(command)
        assert wait_for(session, 1).kind == "died"
    finally:
        session.close()
        worker.close()


def test_a_socket_that_nobody_asked_for_or_that_is_none() -> None:
    for command, opened in (("step", None), ("go_to", os.devnull)):
        session, worker = liar(lambda sock: None)
        fd = os.open(opened, os.O_RDONLY) if opened else socket.socket(socket.AF_UNIX).detach()
        before = len(os.listdir("/proc/self/fd"))
        session.send(command)
        socket.send_fds(worker, [framed(reply(), 1)], [fd])
        assert [event.kind for event in session.poll()] == ["died"]
        # What came was closed again.
        assert len(os.listdir("/proc/self/fd")) == before
        os.close(fd)
        session.close()
        worker.close()
