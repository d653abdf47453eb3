"""Saved states by place, and the nearest one before a place.

Theory of operation. Sparse states stand at multiples of an interval and stay;
dense ones, around the cursor, make room for newer ones. Each state has a
weight (what it holds in memory, in words), and each kind a budget: when the
sparse states outgrow theirs, the interval doubles and every other one goes. So
memory is bounded whatever the trace holds, and a place is never further from a
state than the interval.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Final, Generic, TypeVar

from tdxdbg.engine import Engine

State = TypeVar("State")

#: How far to walk at once, in records (or rows of another generation): a few tenths of a second.
REACH: Final = 20_000
#: Words (of 8 bytes) that the states of one kind may hold together: 32 MiB.
BUDGET: Final = 4 << 20


def weight_of(engine: Engine) -> int:
    """What a saved state of this engine holds, in words: about 100 a vCPU, one a range's end."""
    return 100 * len(engine.vcpus) + len(engine.gpa_map.edges)


class Marks(Generic[State]):
    """States to come back to."""

    def __init__(self, dense: int, sparse: int, keep: int, budget: int = BUDGET) -> None:
        """Every `dense` places near the cursor (at most `keep`), every `sparse` places for good.

        `sparse` is a multiple of `dense`.
        """
        self._dense = dense
        self._sparse = sparse
        self._keep = keep
        self._budget = budget
        self._states: dict[int, tuple[State, int]] = {}
        self._order: list[int] = []
        self._recent: list[int] = []
        self._dense_weight = 0
        self._sparse_weight = 0

    def reach(self, most: int) -> int:
        """How far to walk from a saved state: who is in no hurry (REACH) comes to every place."""
        return most if most < REACH else max(REACH, self._sparse)

    def __len__(self) -> int:
        return len(self._order)

    def wanted(self, place: int, weight: int = 1) -> bool:
        """Whether a state of this weight is worth saving here: heavy ones only sparsely."""
        if place in self._states or place % self._dense:
            return False
        return not place % self._sparse or weight * 16 <= self._budget

    def put(self, place: int, state: State, weight: int = 1) -> None:
        """Save a state; older ones make room. The first place is never given up."""
        if place in self._states:
            return
        self._states[place] = state, weight
        insort(self._order, place)
        if place % self._sparse:
            self._recent.append(place)
            self._dense_weight += weight
            while len(self._recent) > 1 and (
                len(self._recent) > self._keep or self._dense_weight > self._budget
            ):
                self._dense_weight -= self._drop(self._recent.pop(0))
        else:
            self._sparse_weight += weight
            if self._sparse_weight > self._budget:
                self._thin_out()

    def before(self, place: int) -> tuple[int, State] | None:
        """The state saved nearest to, and not after, this place."""
        at = bisect_right(self._order, place)
        if not at:
            return None
        found = self._order[at - 1]
        return found, self._states[found][0]

    def _thin_out(self) -> None:
        recent = set(self._recent)
        self._sparse *= 2
        for place in [at for at in self._order if at % self._sparse and at not in recent]:
            self._sparse_weight -= self._drop(place)

    def _drop(self, place: int) -> int:
        """Forget a state; its weight."""
        _, weight = self._states.pop(place)
        self._order.pop(bisect_right(self._order, place) - 1)
        return weight
