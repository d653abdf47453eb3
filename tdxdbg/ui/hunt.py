"""A search over rows that goes on while the screen is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tdxdbg.decode.text import Safe


@dataclass(frozen=True)
class Hunt:
    """`rows` yields None between slices of work, and then the row it found, or ends without one.

    `found` takes the row, `nothing` is said where there is none. `at` says
    which row is looked at; a hunt that is stopped goes there with `halted`.
    """

    rows: Iterator[int | None]
    found: Callable[[int], object]
    nothing: Safe
    at: Callable[[], int] | None = None
    halted: Callable[[int], object] | None = None
