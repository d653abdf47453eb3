"""Records that cross to the process that writes them: the file is the same."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.engine import Reentry, Td, TdExit, TdxAnswer
from tdxdbg.engine.snapshot import dump
from tdxdbg.errors import TraceError
from tdxdbg.traces import Record, TraceMeta, Writer
from tdxdbg.traces.handover import (
    Again,
    Inputs,
    engine_from_json,
    engine_to_json,
    flatten,
    rebuild,
)
from tdxdbg.traces.pack import Packer
from tdxdbg.traces.records import answer, checkpoint, step_record, td_exit
from tdxdbg.traces.scribe import Scribe
from tests.engine.support import TDCALL, call, engine_in_td
from tests.traces import strategies
from tests.traces.journals import row

META = TraceMeta(title="handed over")


def packed(records: list[Record]) -> bytes:
    packer = Packer()
    return b"".join(map(packer.pack, records))


@given(strategies.journals(), st.lists(st.integers(0, 40)))
def test_what_crosses_makes_the_same_bytes(journal: list[Record], cuts: list[int]) -> None:
    """In any bursts."""
    packer = Packer()
    pieces: list[bytes] = []
    bounds = sorted({0, len(journal), *(cut for cut in cuts if cut < len(journal))})
    for start, end in pairwise(bounds):
        packer.pack_all(rebuild(flatten(journal[start:end])), pieces)
    assert b"".join(pieces) == packed(journal)


def test_a_status_crosses_as_a_number() -> None:
    """The engine and the VMM give members of an enum, which marshal does not take."""
    engine = engine_in_td("7.2", Td())
    gathered: list[Record] = []
    inputs = Inputs(lambda time: None)
    again = Again(engine_from_json(engine_to_json(engine)))
    exit_ = TdExit(0, TDCALL, call(int(SubFunction.GET_TD_VM_CALL_INFO), 1))
    asked = engine.feed(exit_)
    reentry = Reentry(0, TdxAnswer(Status.INVALID_OPERAND, 0, 0, 0, 0))
    told = engine.feed(reentry)
    gathered += [td_exit(0, exit_, 1), step_record(0, 0, asked, 1)]
    gathered += [answer(0, reentry, 2), step_record(0, 0, told, 2)]
    gathered.append(checkpoint(dump(engine.checkpoint()), 3))
    inputs.td_exit(0, exit_, 1)
    inputs.step(0, 0, asked, 1)
    inputs.answer(0, reentry, 2)
    inputs.step(0, 0, told, 2)
    inputs.other(gathered[-1])
    assert told.regs.r10 == Status.INVALID_OPERAND
    assert packed(list(again.records(inputs.take()))) == packed(gathered)
    assert packed(rebuild(flatten(gathered))) == packed(gathered)


def started() -> Scribe:
    scribe = Scribe()
    while not scribe.is_ready:
        pass
    return scribe


def journal(first: int, last: int) -> list[Record]:
    return [record for number in range(first, last) for record in row(number)]


def test_a_file_that_two_processes_wrote(tmp_path: Path) -> None:
    alone, shared = Writer(tmp_path / "a", META), Writer(tmp_path / "b", META)
    alone.write_all(journal(0, 20))
    alone.checkpoint({"x": 1})
    alone.write_all(journal(20, 900))
    alone.close()
    shared.write_all(journal(0, 20))
    scribe = started()
    scribe.take_over(shared)
    with pytest.raises(TraceError, match="closed"):
        shared.write(row(20)[0])
    scribe.write_all([checkpoint({"x": 1}), *journal(20, 500)])
    scribe.flush()
    assert scribe.n_records == (os.path.getsize(tmp_path / "b") - 4096) // 256
    scribe.write_all(journal(500, 900))
    scribe.close()
    scribe.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_does_not_fit_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "x", META)
    scribe = started()
    scribe.take_over(writer)
    scribe.write_all(journal(0, 5))

    def write_what_does_not_fit() -> None:
        scribe.write_all([row(5)[0]._replace(vcpu=1 << 16)])
        scribe.flush()

    # As soon as it is known, which may be at once.
    with pytest.raises(TraceError, match="TD_EXIT of row 5"):
        write_what_does_not_fit()
    with pytest.raises(TraceError, match="TD_EXIT of row 5"):
        scribe.write_all(journal(5, 6))
    scribe.close()
    assert (tmp_path / "x").stat().st_size == 4096 + len(packed(journal(0, 5)))


def test_without_a_process_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdxdbg.traces.scribe.sys.executable", "/nowhere/python")
    with pytest.raises(OSError, match="nowhere"):
        Scribe()


def _hand_over_many(scribe: Scribe) -> None:
    for _ in range(100):
        scribe.write_all(journal(3, 4))


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "x", META)
    writer.write_all(journal(0, 3))
    scribe = started()
    scribe.take_over(writer)
    scribe._process.kill()
    scribe._process.wait()
    with pytest.raises(TraceError, match=r"/x: cannot be written: the process .* is gone"):
        _hand_over_many(scribe)
    scribe.close()
    assert (tmp_path / "x").stat().st_size == 4096 + len(packed(journal(0, 3)))


def test_the_process_side_ends_with_its_client() -> None:
    """Before it was given a file, too."""
    from tdxdbg.traces.scribe import serve

    ours, theirs = socket.socketpair()
    side = Thread(target=serve, args=(theirs,))
    side.start()
    assert ours.recv(1) == b"!"
    ours.close()
    side.join(10)
    assert not side.is_alive()
    theirs.close()
