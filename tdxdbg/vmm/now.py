"""What time it is, for devices that count it."""

from __future__ import annotations


class Now:
    """Nanoseconds of the run at the access that is being served; no state of its own."""

    __slots__ = ("ns",)

    def __init__(self) -> None:
        self.ns = 0
