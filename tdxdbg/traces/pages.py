"""Where a row goes on when thousands of other vCPUs' records lie between its own.

A page is a stretch of slots with the places that name each row and each vCPU.
It is made when a row is not found near, and serves all rows that are open in
it, so that printing every row of such a trace reads each slot once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.traces.records import Kind
from tdxdbg.traces.unpack import Slots

_SIZE: Final = 4096
#: As many as one row is looked for in, and some more for the rows beside it.
_KEPT: Final = 8
#: kind, vcpu and row of a slot's head (see layout.py).
_HEAD: Final = Struct("<BxH4xQ240x")


class _Page(NamedTuple):
    """Slots by what they name, in order. CHECKPOINT and CONTINUATION name nothing."""

    rows: dict[int, list[int]]
    vcpus: dict[int, list[int]]


class Pages:
    """What the heads of slots say, unchecked."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._pages: OrderedDict[int, _Page] = OrderedDict()

    def next(self, row: int, vcpu: int | None, start: int, stop: int) -> int:
        """The first slot from `start` on that names this row or this vCPU; `stop` if none does.

        A vCPU's KVM_SET_MEMORY_ATTRIBUTES does not count: another thread may
        make it in the name of any row.
        """
        while start < stop:
            page = self._page(start // _SIZE)
            places = [_from(page.rows.get(row), start)]
            if vcpu is not None:
                places.append(_from(page.vcpus.get(vcpu), start))
            found = min((place for place in places if place is not None), default=None)
            if found is not None:
                return min(found, stop)
            start = (start // _SIZE + 1) * _SIZE
        return stop

    def _page(self, number: int) -> _Page:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = self._read(number)
            if len(self._pages) > _KEPT:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(number)
        return page

    def _read(self, number: int) -> _Page:
        slots = self._slots
        first = number * _SIZE
        stop = min(first + _SIZE, slots.count)
        page = _Page({}, {})
        with slots.part(first, stop) as view:
            for at, (kind, vcpu, row) in enumerate(_HEAD.iter_unpack(view), first):
                if kind < Kind.CHECKPOINT:
                    page.rows.setdefault(row, []).append(at)
                    if kind != Kind.MEMORY_ATTRIBUTES:
                        page.vcpus.setdefault(vcpu, []).append(at)
        return page


def _from(places: list[int] | None, start: int) -> int | None:
    """The first of these places that is not before `start`."""
    if places is None:
        return None
    at = bisect_left(places, start)
    return places[at] if at < len(places) else None
