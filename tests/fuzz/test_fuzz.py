"""A short fuzz run; TDXDBG_FUZZ says how many cases a longer one has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.corpus import corpus
from tests.fuzz.hostile import HOSTILE, TEXTS
from tests.fuzz.mutate import mutate
from tests.fuzz.run import run_case

COUNT = int(os.environ.get("TDXDBG_FUZZ", "450"))


@pytest.mark.fuzz
def test_damaged_traces_give_one_line_or_open() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--count", str(COUNT), "--seed", "1"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert f"{COUNT} cases of seed 1: 0 failures" in done.stdout, done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("name", [*HOSTILE, *TEXTS])
def test_files_made_to_be_slow_are_not(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--hostile", name],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", corpus())
def test_the_good_files_are_good(kind: str, tmp_path: Path) -> None:
    assert run_case(tmp_path / "x", corpus()[kind]) == ""


@pytest.mark.parametrize("kind", corpus())
def test_a_case_is_always_the_same(kind: str) -> None:
    good = corpus()[kind]
    assert mutate(kind, good, Random(5)) == mutate(kind, good, Random(5))
    assert any(mutate(kind, good, Random(seed)) != good for seed in range(5))


def test_a_failure_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("as if")

    monkeypatch.setattr("tests.fuzz.run.look_at", broken)
    assert "as if" in run_case(tmp_path / "x", corpus()["native"])


def test_a_hang_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging(_: object) -> None:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.run.look_at", hanging)
    assert "HangError: takes too long" in run_case(tmp_path / "x", corpus()["native"], 1)
