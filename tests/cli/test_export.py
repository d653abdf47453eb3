"""tdxdbg export, as a command."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tdxdbg.cli.export import FORMAT_NAMES
from tdxdbg.export import FORMATS, LEVELS
from tdxdbg.resources import samples_dir
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tests.cli.test_command_line import tdxdbg
from tests.traces.journals import META, journal

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"


def test_the_names_in_the_help_are_the_forms() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES
    assert {*LEVELS} == {"registers", "text"}


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("a.tdxt", b"\x89TDXT"),
        ("a.JSONL", b'{"tdxt":1'),
        ("a.csv", b"index,vcpu,time"),
        ("a.json", b'{"displayTimeUnit"'),
    ],
)
def test_the_name_says_which_form(tmp_path: Path, name: str, starts: bytes) -> None:
    path = tmp_path / name
    done = tdxdbg("export", str(RETRY), "-o", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_bytes().startswith(starts)
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_there_and_back_is_the_same_file(tmp_path: Path) -> None:
    lines, back = tmp_path / "a.jsonl", tmp_path / "b.tdxt"
    assert tdxdbg("export", str(RETRY), "-o", str(lines)).returncode == 0
    assert tdxdbg("export", str(lines), "-o", str(back)).returncode == 0
    assert back.read_bytes() == RETRY.read_bytes()


def test_a_part_is_an_excerpt_that_checks(tmp_path: Path) -> None:
    path = tmp_path / "a.tdxt"
    arguments = ("--filter", "leaf == MapGPA", "--from", "2", "--count", "2", "--redact", "text")
    done = tdxdbg("export", str(RETRY), "-o", str(path), *arguments)
    assert done.returncode == 0
    with open_trace(path) as part:
        assert len(part) == 2
        assert part.meta.redacted == ["text"]
        assert part.meta.is_excerpt
    checked = tdxdbg("check", str(path))
    assert checked.returncode == 0
    assert checked.stdout.startswith("2 rows")


def test_standard_output() -> None:
    done = tdxdbg("export", str(RETRY), "-o", "-", "--to", "csv", "--count", "2")
    assert [row["index"] for row in csv.DictReader(done.stdout.splitlines())] == ["0", "1"]
    assert done.stderr == ""
    binary = subprocess.run(
        [sys.executable, "-m", "tdxdbg", "export", str(RETRY), "-o", "-", "--to", "tdxt"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert binary.stdout == RETRY.read_bytes()


def test_standard_input_is_a_recording_too() -> None:
    done = tdxdbg(
        "export", "-", "-o", "-", "--to", "perfetto",
        stdin='{"tdxt":1}\n{"kind":"td_exit","row":0,"vp_enter_ret":77}\n',
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["otherData"]["time"].startswith("the recording has no times")
    assert done.stderr == ("tdxdbg: the recording has no times: a microsecond stands for an exit\n")


def test_columns_are_explained_without_a_trace() -> None:
    done = tdxdbg("export", "--columns")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("index        unsigned, 64 bits: ")
    assert len(done.stdout.splitlines()) > 40


WRONG = [
    (["-o", "a.xyz"], "its name does not say which form; give --to tdxt|tdxt.zst|jsonl|csv|"),
    (["-o", "-"], "its name does not say which form"),
    (["-o", "a.csv", "--to", "pdf"], "pdf"),
    (["-o", "a.csv", "--filter", "leef == 1"], "did you mean leaf"),
    (["-o", "a.csv", "--redact", "all"], "all"),
    (["-o", "a.tdxt", "--kernel", "v19"], "tdxt keeps what 6.16 did"),
    (["-o", "a.jsonl", "--kernel", "v19"], "jsonl keeps what 6.16 did"),
    ([], "--output"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=lambda value: str(value)[:30])
def test_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.chdir(tmp_path)
    done = tdxdbg("export", str(RETRY), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_only_replaced_when_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine")
    done = tdxdbg("export", str(RETRY), "-o", str(path))
    assert done.returncode == 2
    assert "already exists; give another name, or --force" in done.stderr
    assert path.read_text() == "mine"
    assert tdxdbg("export", str(RETRY), "-o", str(path), "--force").returncode == 0
    assert path.read_text().startswith("index,")


def test_a_recording_can_be_replaced_by_its_own_part(tmp_path: Path) -> None:
    path = tmp_path / "a.tdxt"
    path.write_bytes(RETRY.read_bytes())
    done = tdxdbg("export", str(path), "-o", str(path), "--force", "--count", "3")
    assert done.returncode == 0
    with open_trace(path) as part:
        assert len(part) == 3


@pytest.mark.parametrize("form", ["tdxt", "jsonl", "csv", "perfetto"])
def test_a_full_disk_is_one_line(form: str) -> None:
    done = tdxdbg("export", str(RETRY), "-o", "/dev/full", "--to", form)
    assert done.returncode == 4
    assert done.stderr == (
        "tdxdbg: /dev/full: cannot be written: No space left on device;"
        " make room, or give another place\n"
    )


def test_a_closed_standard_output_is_one_line() -> None:
    shell = f"{sys.executable} -m tdxdbg export {RETRY} -o - --to csv >&-"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == "tdxdbg: standard output: is closed; give a file, or send it on\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    path = long_trace(tmp_path)
    shell = (
        f"{sys.executable} -m tdxdbg export {path} -o - --to csv | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[1] == "0"
    assert done.stderr == ""


def long_trace(folder: Path) -> Path:
    path = folder / "long.tdxt"
    path.write_bytes(Trace.from_records(META, journal(20_000)).data())
    return path


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    source = long_trace(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tdxdbg", "export", str(source), "-o", str(folder / "a.csv")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not [
        item for item in folder.iterdir() if item.stat().st_size > 0
    ]:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "tdxdbg: interrupted\n"
    assert list(folder.iterdir()) == []


def test_progress_and_a_refusal_at_a_terminal(tmp_path: Path) -> None:
    source = long_trace(tmp_path)

    def at_terminal(*arguments: str) -> tuple[int, bytes]:
        pid, fd = pty.fork()
        if not pid:
            os.execv(sys.executable, [sys.executable, "-m", "tdxdbg", "export", *arguments])
        said = b""
        while True:
            try:
                piece = os.read(fd, 4096)
            except OSError:
                break
            if not piece:
                break
            said += piece
        os.close(fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said

    status, said = at_terminal(str(source), "-o", str(tmp_path / "a.csv"))
    assert status == 0
    assert b"exporting" in said
    assert b"%" in said
    status, said = at_terminal(str(source), "-o", "-", "--to", "tdxt")
    assert status == 2
    assert b"tdxt is not for a terminal" in said


def test_an_archive_is_the_same_recording(tmp_path: Path) -> None:
    packed, plain = tmp_path / "x.tdxt.zst", tmp_path / "x.tdxt"
    assert tdxdbg("export", str(RETRY), "-o", str(packed)).returncode == 0
    assert packed.stat().st_size < RETRY.stat().st_size
    assert tdxdbg("export", str(packed), "-o", str(plain)).returncode == 0
    assert plain.read_bytes() == RETRY.read_bytes()
    part = tmp_path / "part.tdxt.zst"
    assert tdxdbg("export", str(packed), "-o", str(part), "--filter", "retry").returncode == 0
    assert "RETRY" in tdxdbg("print", str(part)).stdout
