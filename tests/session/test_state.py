"""A state over the channel, and what is none; configurations."""

from __future__ import annotations

from typing import Any

import pytest

from tdxdbg.errors import SessionError
from tdxdbg.session.channel import decoded, encoded
from tdxdbg.session.client import MOVES as CLIENT_MOVES
from tdxdbg.session.config import LiveConfig, locate
from tdxdbg.session.moves import MOVES
from tdxdbg.session.state import State

HELD = State(
    world="live",
    where="held",
    why="a step",
    breakpoints=(1, 2),
    row=3,
    answer={"ret": 11, "data": b"\1", "error": None},
    proposed={"ret": None},
    convert=((0x200000, 0x1000, False),),
    end=(5, 6),
)


def test_a_state_comes_back_as_it_was() -> None:
    assert State.from_json(decoded(encoded(HELD.to_json()))) == HELD
    assert HELD.is_held
    assert not HELD.is_in_td
    assert not HELD.is_ended


WRONG: dict[str, Any] = {
    "world": "elsewhere",
    "where": ["held"],
    "why": 3,
    "detail": "x" * (1 << 17),
    "breakpoints": [-1],
    "address": 1 << 64,
    "row": -2,
    "steps": True,
    "vcpu": 1.5,
    "answer": {"ret": "11"},
    "proposed": [1],
    "convert": [[1, 2]],
    "end": [1, 2, 3],
    "stop": None,
    "rip": "0x10",
}


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=WRONG)
def test_what_is_no_state(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"not a state: {name}"):
        State.from_json({**HELD.to_json(), name: value})


@pytest.mark.parametrize("value", [None, 1, [], {}, {"world": "live"}, {**HELD.to_json(), "x": 1}])
def test_what_is_not_even_an_object(value: Any) -> None:
    with pytest.raises(ValueError, match="not a state"):
        State.from_json(value)


def test_the_client_knows_the_moves() -> None:
    assert set(MOVES) == CLIENT_MOVES


def test_a_configuration_comes_back_as_it_was() -> None:
    config = LiveConfig("fatal", kernel="6.16", policies=("eagain:2",), memory=32, seed=7)
    assert LiveConfig.from_json(decoded(encoded(config.to_json()))) == config
    assert config.generation == "6.16"


WRONG_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"kernel": "9.9"}, "no kernel generation '9.9'"),
    ({"gpaw": 50}, "50 bits"),
    ({"memory": 1 << 20}, "memory"),
    ({"vcpus": -1}, "vcpus"),
    ({"seed": "x"}, "seed"),
    ({"policies": ("x\0",)}, "no name"),
    ({"policies": ("x",) * 100}, "100 policies"),
    ({"record": "\0"}, "no name"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG_CONFIGS, ids=lambda item: str(item)[:30])
def test_wrong_configurations_are_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SessionError, match=words):
        LiveConfig("fatal", **fields)


@pytest.mark.parametrize(
    "data", [None, [], {}, {"guest": "x", "y": 1}, {"guest": "x", "policies": 1}]
)
def test_what_is_no_configuration(data: Any) -> None:
    with pytest.raises(SessionError):
        LiveConfig.from_json(data)


def test_guests_are_found_by_name_and_files_by_path(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fatal").write_bytes(b"x")
    (tmp_path / "mine").write_bytes(b"x")
    assert locate("fatal")[0].suffix == ".elf"
    assert locate("two_vcpus")[1] == 2
    assert locate("./fatal")[0].suffix == ""
    assert locate("mine")[0].name == "mine"
    with pytest.raises(SessionError, match="no guest 'nothing'"):
        locate("nothing")
    with pytest.raises(SessionError, match="no such file"):
        locate("not/here.elf")
