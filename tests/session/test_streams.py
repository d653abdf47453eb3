"""Random instruction streams as guests of live sessions: whatever they do, it is told in order."""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.session import stream_run
from tests.session.stream_guest import bad_citizen
from tests.session.stream_run import run

pytestmark = pytest.mark.fuzz
COUNT: Final = int(os.environ.get("TDXDBG_FUZZ", "2000")) // 200


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person starts workers: this process is too large to fork, and has threads."""
    monkeypatch.setattr(stream_run, "STARTED", 1)


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_stream_is_survived_and_its_recording_opens(seed: int) -> None:
    """See `stream_play`."""
    assert run(seed).failure == ""


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_bad_citizen_is_survived(seed: int) -> None:
    """Interrupted, looked at, meddled with or killed on its way, as the streams are."""
    assert run(seed, bad_citizen).failure == ""
