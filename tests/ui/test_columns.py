"""The columns of the queue: which are wanted, which fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.columns import BY_NAME, DEFAULT, chosen, fitted

NAMES = st.lists(st.sampled_from([*BY_NAME]), min_size=1).map(chosen)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["result", "index"], ("index", "result")),
        (["gpa", "gpa"], ("gpa",)),
        ([*BY_NAME][::-1], tuple(BY_NAME)),
    ],
)
def test_they_stand_in_one_order(names: list[str], expected: tuple[str, ...]) -> None:
    assert chosen(names) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["vpcu"], "did you mean vcpu"),
        (["zzz"], "there are index time delta"),
        ([7], "no column '7'"),
        ([], "needs a column"),
        (["\x1b[31m"], "no column"),
    ],
)
def test_what_is_no_column(names: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chosen(names)


@pytest.mark.parametrize(
    ("room", "left_out"),
    [
        (300, set()),
        (105, {"delta"}),
        (90, {"delta", "exit"}),
        (75, {"delta", "exit", "gpa"}),
        (62, {"delta", "exit", "gpa", "time"}),
        (54, {"delta", "exit", "gpa", "time", "size"}),
        (10, {"delta", "exit", "gpa", "time", "size", "vcpu"}),
    ],
)
def test_what_is_left_out_first(room: int, left_out: set[str]) -> None:
    assert set(BY_NAME) - set(fitted(BY_NAME, room, 3, 8)) == left_out


@given(NAMES, st.integers(0, 300), st.integers(3, 20), st.integers(0, 30))
def test_they_fit_where_they_can(names: tuple[str, ...], room: int, digits: int, time: int) -> None:
    widths = fitted(names, room, digits, time)
    assert [*widths] == [name for name in names if name in widths]
    least = sum(width for name, width in widths.items() if name != "arguments")
    if "arguments" in widths:
        assert 9 <= widths["arguments"] <= 45
        least += 9
    dropped = [BY_NAME[name].rank for name in names if name not in widths and (time or name
               not in ("time", "delta"))]  # fmt: skip
    kept = [BY_NAME[name].rank for name in widths if BY_NAME[name].rank]
    assert sum(widths.values()) <= room or not kept or least > room
    assert all(rank > max(kept, default=0) for rank in dropped)


def test_without_a_time_there_is_no_column_of_it() -> None:
    assert "time" not in fitted(DEFAULT, 200, 3, 0)
    assert "delta" not in fitted(BY_NAME, 200, 3, 0)
