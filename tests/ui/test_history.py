"""Lines that were typed: bounded, each once, and as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.history import KEPT, LONGEST, Histories, History

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("added", "kept"),
    [
        ([], ()),
        (["a", "b"], ("a", "b")),
        (["a", "b", "a"], ("b", "a")),
        ([" a ", "a"], ("a",)),
        (["", "  "], ()),
        (["x" * LONGEST, "x" * (LONGEST + 1)], ("x" * LONGEST,)),
        (["\x1b[31m", "a\nb", "\u202e", "\ud800", "ok"], ("ok",)),
    ],
)
def test_what_is_kept(added: list[str], kept: tuple[str, ...]) -> None:
    assert History(added).lines == kept


@given(st.lists(st.integers(0, 2 * KEPT), max_size=4 * KEPT))
def test_each_line_once_the_newest_last_and_no_more_than_that(numbers: list[int]) -> None:
    lines = [str(number) for number in numbers]
    newest_first = list(dict.fromkeys(reversed(lines)))
    assert History(lines).lines == tuple(reversed(newest_first[:KEPT]))


def test_histories_come_back_from_json() -> None:
    histories = Histories()
    histories.of("command").add("go 1")
    histories.of("filter").add("retry")
    histories.of("find")
    again = Histories()
    again.read_json(json.loads(json.dumps(histories.to_json())))
    assert again.to_json() == {"command": ["go 1"], "filter": ["retry"]}


def test_reading_keeps_the_histories_that_somebody_holds() -> None:
    histories = Histories()
    held = histories.of("command")
    held.add("old")
    histories.read_json({"command": ["new"]})
    held.add("newer")
    assert histories.to_json() == {"command": ["new", "newer"]}
    histories.read_json({})
    assert held.lines == ()


@given(json_values)
def test_any_json_is_read_and_what_is_wrong_left_out(value: object) -> None:
    histories = Histories()
    histories.read_json(value)
    for name, lines in histories.to_json().items():
        assert len(name) <= 32
        assert lines
        assert all(line.isprintable() for line in lines)
