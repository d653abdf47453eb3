"""The shipped recording of a boot: what it shows, and that the engine agrees with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.analysis.shadow import check
from tdxdbg.decode.text import safe
from tdxdbg.engine import BY_NAME
from tdxdbg.engine.generations import GENERATIONS
from tdxdbg.resources import sample_paths, samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.traces.archive import Archive
from tdxdbg.traces.native import Trace
from tools import make_boot_sample
from tools.count_exits import count, table
from tools.make_boot_sample import SAMPLE

MIB = 1 << 20


@pytest.fixture(scope="module")
def boot() -> Trace:
    return open_trace(SAMPLE)


def test_it_is_shipped_and_small() -> None:
    assert SAMPLE in sample_paths()
    assert SAMPLE.stat().st_size < 2 * MIB


def test_it_says_what_it_is_and_nothing_of_the_machine_it_was_made_on(boot: Trace) -> None:
    assert isinstance(boot, Archive)
    assert boot.meta.origin == "emulated"
    assert BY_NAME[boot.meta.generation] is GENERATIONS[-1]
    assert 20 <= len(boot.meta.title) <= 100
    assert safe(boot.meta.title) == boot.meta.title
    assert boot.meta.extra["guest"] == "vmlinuz"
    assert boot.problems == []


def test_the_kernel_converts_its_bounce_buffers(boot: Trace) -> None:
    timeline = Timeline(boot)
    gpa_map = timeline.moment(len(boot) - 1).gpa_map
    assert gpa_map is not None
    assert sum(part.end - part.start for part in gpa_map.shared_ranges()) >= 64 * MIB


def test_the_engine_agrees_with_all_of_it(boot: Trace) -> None:
    done = check(boot)
    assert list(done) == []
    assert done.left_out == 0
    assert done.compared > len(boot) > 10_000


def test_without_a_kernel_it_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / SAMPLE.name
    old.write_bytes(b"old")
    monkeypatch.setattr(make_boot_sample, "KERNEL", tmp_path / "cloud" / "vmlinuz")
    assert make_boot_sample.main(old) == 0
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]
    assert "tools/fetch_kernels cloud" in capsys.readouterr().err


def test_exits_are_counted_by_what_they_ask() -> None:
    path = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
    counted = count(path)
    assert counted["IO write", "COM1"] > 1
    assert counted["MapGPA", "64M to shared"] == 1
    lines = table(["a", "b"], [counted, counted])
    with open_trace(path) as trace:
        assert lines[-1] == f"| all | | {len(trace)} | {len(trace)} |"
    assert len(lines) == 2 + len(counted) + 1
