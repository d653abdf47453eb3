"""Saved states: the nearest before a place, and memory that stays within its budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.engine import BY_NAME, Engine, Td
from tdxdbg.timeline import Timeline
from tdxdbg.timeline.marks import Marks
from tdxdbg.traces.records import step_record, td_exit
from tests.timeline.journals import MIXED, make_trace, records_of, serial


def test_the_nearest_state_before() -> None:
    marks: Marks[str] = Marks(10, 100, 5)
    marks.put(0, "start")
    marks.put(40, "forty")
    assert marks.before(39) == (0, "start")
    assert marks.before(40) == (40, "forty")
    assert marks.before(10**9) == (40, "forty")
    assert Marks[str](10, 100, 5).before(7) is None


def test_dense_states_make_room_and_sparse_ones_stay() -> None:
    marks: Marks[int] = Marks(10, 100, 3)
    for place in range(0, 500, 10):
        marks.put(place, place)
    assert marks.before(99) == (0, 0)
    assert marks.before(199) == (100, 100)
    assert marks.before(499) == (490, 490)
    assert len(marks) == 5 + 3


@pytest.mark.parametrize(
    ("place", "weight", "wanted"),
    [(0, 1, True), (5, 1, False), (10, 1, True), (10, 100, False), (100, 100, True)],
)
def test_heavy_states_are_wanted_only_sparsely(place: int, weight: int, wanted: bool) -> None:
    assert Marks[int](10, 100, 3, budget=1_000).wanted(place, weight) is wanted


@given(st.lists(st.integers(1, 400), min_size=1, max_size=300))
def test_weights_stay_within_the_budget(weights: list[int]) -> None:
    marks: Marks[int] = Marks(1, 4, 50, budget=1_000)
    kept: dict[int, int] = {}
    for place, weight in enumerate(weights):
        marks.put(place, place, weight)
        kept[place] = weight
        found = [at for at in kept if marks.before(at) == (at, at)]
        sparse = sum(kept[at] for at in found if at % 4 == 0)
        dense = [kept[at] for at in found if at % 4]
        assert sparse <= 1_000 + 400
        assert sum(dense) <= 1_000 or len(dense) == 1
        assert marks.before(place) is not None
        assert found[0] == 0


def test_very_many_vcpus_are_not_copied_all_the_time() -> None:
    td, generation = Td(), BY_NAME["7.2"]
    records = []
    for vcpu in range(4_000):
        event = serial(65, vcpu)
        engine = Engine(td, generation)
        engine.force_into_td(vcpu)
        records += [td_exit(vcpu, event), step_record(vcpu, vcpu, engine.feed(event))]
    line = Timeline(make_trace(records, td, generation))
    assert line.moment(len(line) - 1).vcpu == 3_999
    # Every 32 records while they are few; later only at the sparse places.
    assert len(line._recorded.marks) < 8_000 / 32 / 2


def test_catching_up_uses_the_files_checkpoints() -> None:
    td, generation = Td(), BY_NAME["7.2"]
    inputs = [event for _ in range(30) for event in MIXED]
    line = Timeline(make_trace(records_of(inputs, td, generation, 100), td, generation))
    calls = 0
    while line.catch_up(50):
        calls += 1
    assert calls < line.trace.n_records / 100
