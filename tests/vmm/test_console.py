"""What is kept of the guest's output."""

from __future__ import annotations

import pytest

from tdxdbg.vmm.console import LIMIT, Console


def filled(count: int) -> Console:
    console = Console()
    for at in range(count):
        console.write(at & 0xFF)
    return console


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 9000])
def test_everything_is_kept_at_first(count: int) -> None:
    console = filled(count)
    assert bytes(console) == bytes(at & 0xFF for at in range(count))
    assert (console.total, console.dropped, len(console)) == (count, 0, count)


def test_memory_is_bounded_and_the_newest_stay() -> None:
    console = filled(LIMIT + 5000)
    assert LIMIT <= len(console) < LIMIT + 4096
    assert console.dropped == console.total - len(console)
    assert bytes(console)[-3:] == bytes((LIMIT + 5000 - at) & 0xFF for at in (3, 2, 1))
    assert console.since(0) == bytes(console)[-LIMIT:]


@pytest.mark.parametrize(
    ("since", "most", "start", "end"),
    [
        (0, 1 << 20, 0, 5000),
        (4990, 1 << 20, 4990, 5000),
        (4000, 1 << 20, 4000, 5000),
        (5000, 1 << 20, 5000, 5000),
        (6000, 1 << 20, 5000, 5000),
        (100, 10, 4990, 5000),
        (100, 1000, 4000, 5000),
    ],
)
def test_since(since: int, most: int, start: int, end: int) -> None:
    assert filled(5000).since(since, most) == bytes(at & 0xFF for at in range(start, end))


def test_a_checkpoint_shares_full_pieces() -> None:
    console = filled(10_000)
    image = console.checkpoint()
    console.write(1)
    again = console.checkpoint()
    assert all(one is other for one, other in zip(image.pieces, again.pieces, strict=True))
    console.restore(image)
    assert console.checkpoint() == image
    assert bytes(console) == bytes(filled(10_000))
