"""A checkpoint as JSON: whole, and refused when it is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tdxdbg.abi.regs import Regs
from tdxdbg.engine import (
    Engine,
    Input,
    MsrAnswer,
    ProtocolError,
    Reentry,
    SetMemoryAttributes,
    Td,
    TdExit,
)
from tdxdbg.engine.snapshot import dump, load
from tests.engine.strategies import Journal, journals
from tests.engine.support import SHARED, call, engine_in_td, map_gpa, tdcall


@settings(max_examples=60)
@given(journals())
def test_nothing_is_lost(journal: Journal) -> None:
    engine = journal.engine()
    events = journal.events
    half = len(events) // 2
    journal.feed(engine, events[:half])
    text = json.dumps(dump(engine.checkpoint()))
    restored = journal.engine()
    restored.restore(load(json.loads(text)))
    assert json.dumps(dump(restored.checkpoint())) == text
    assert journal.feed(restored, events[half:]) == journal.feed(engine, events[half:])


def snapshot() -> dict[str, Any]:
    engine = engine_in_td("6.16", Td(user_space_msr_mask=7), vcpus=2)
    tdcall(engine, map_gpa(SHARED, 4 << 20))
    tdcall(engine, call(31, 5), vcpu=1)
    engine.feed(Reentry(1, MsrAnswer(0, 5)))
    engine.feed(SetMemoryAttributes(0x1000, 0x1000, False))
    data: dict[str, Any] = json.loads(json.dumps(dump(engine.checkpoint())))
    return data


def test_the_example_is_a_checkpoint() -> None:
    assert dump(load(snapshot())) == snapshot()


BAD: list[tuple[tuple[str | int, ...], object]] = [
    (("gpa_map",), [3, 1]),
    (("gpa_map",), [1, 1]),
    (("gpa_map",), [-1]),
    (("gpa_map",), [1 << 40]),
    (("gpa_map",), [1.5]),
    (("gpa_map",), 7),
    (("vcpus",), None),
    (("vcpus", 0), 7),
    (("vcpus", 0, "index"), -1),
    (("vcpus", 0, "index"), 1 << 16),
    (("vcpus", 0, "index"), True),
    (("vcpus", 0, "phase"), 9),
    (("vcpus", 0, "completer"), 99),
    (("vcpus", 0, "regs"), {}),
    (("vcpus", 0, "regs", "r10"), 1 << 64),
    (("vcpus", 0, "regs", "r10"), "1"),
    (("vcpus", 0, "union"), "zz"),
    (("vcpus", 0, "union"), "00" * 257),
    (("vcpus", 0, "union"), 5),
    (("vcpus", 0, "valid"), "1" + "0" * 64),
    (("vcpus", 0, "valid"), "-1"),
    (("vcpus", 0, "pio"), None),
    (("vcpus", 0, "msrs"), {"xyz": 1}),
    (("vcpus", 0, "msrs"), {"1": -1}),
    (("vcpus", 0, "msrs"), []),
    (("vcpus", 0, "exit_reason"), None),
    (("vcpus", 0, "pio_size"), 5),
    (("vcpus", 0, "mmio_len"), 9),
    (("vcpus", 0, "map_gpa_next"), -1),
    (("vcpus", 0, "map_gpa_end"), 1 << 64),
    # a MapGPA is pending, and nothing of it is left
    (("vcpus", 0, "map_gpa_end"), 0),
    (("vcpus", 0, "map_gpa_end"), SHARED),
]


@pytest.mark.parametrize(("path", "value"), BAD)
def test_no_checkpoint(path: tuple[str | int, ...], value: object) -> None:
    data = snapshot()
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"."):
        load(data)


@pytest.mark.parametrize("key", ["vcpus", "gpa_map", "dead"])
def test_a_part_is_missing(key: str) -> None:
    data = snapshot()
    del data[key]
    with pytest.raises(ValueError, match="not an engine checkpoint: KeyError"):
        load(data)


def test_state_of_another_kernel_does_not_crash() -> None:
    data = snapshot()
    data["vcpus"][1] |= {"completer": 11, "phase": 0}
    engine = Engine(Td())
    engine.restore(load(data))
    events: list[Input] = [Reentry(1), TdExit(1, 77, Regs())]
    for event in events:
        with pytest.raises(ProtocolError):
            engine.feed(event)
