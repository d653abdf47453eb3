"""Every guest, under every kernel generation, as its NAME.toml says."""

from __future__ import annotations

import pytest

from tdxdbg.guests import guests
from tests.guests.drive import Journal, open_run, play, ram_hash
from tests.guests.expected import KERNELS, Story, stories

RUNS = [
    pytest.param(story, kernel, id=f"{story.guest}-{story.title}-{kernel}".replace(" ", "_"))
    for guest in guests()
    for story in stories(guest.name)
    for kernel in story.kernels
]


@pytest.mark.parametrize(("story", "kernel"), RUNS)
def test_userspace_sees_what_is_written_down(story: Story, kernel: str) -> None:
    expected = story.under(kernel)
    result = play(open_run(story, kernel), expected, story.steps)
    assert result.console == expected.console
    assert expected.ends
    assert expected.ends in result.ended


def trace(story: Story, kernel: str) -> tuple[object, str, str, object]:
    """Everything that one run leaves behind."""
    run = open_run(story, kernel)
    journal = Journal(run)
    result = play(run, story.under(kernel), story.steps)
    return result, journal.hash(), ram_hash(run), run.position


#: Each run of each guest, under one of its kernels in turn.
ONCE = [
    pytest.param(story, story.kernels[at % len(story.kernels)], id=f"{story.guest}-{story.title}")
    for guest in guests()
    for at, story in enumerate(stories(guest.name), len(guest.name))
]


@pytest.mark.parametrize(("story", "kernel"), ONCE)
def test_the_second_run_is_the_same(story: Story, kernel: str) -> None:
    assert trace(story, kernel) == trace(story, kernel)


def test_some_run_of_every_guest_is_foreseen_under_every_kernel() -> None:
    missing = [
        (guest.name, kernel)
        for guest in guests()
        for kernel in KERNELS
        if not any(kernel in story.kernels for story in stories(guest.name))
    ]
    assert missing == []
