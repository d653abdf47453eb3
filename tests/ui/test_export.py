from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tdxdbg.decode.summary import RowSummary
from tdxdbg.errors import TraceError
from tdxdbg.export import FORMATS, Job, Selection
from tdxdbg.filters import compile_filter
from tdxdbg.report import json_object, row_moments
from tdxdbg.timeline import Timeline
from tdxdbg.traces import background
from tdxdbg.traces.background import Background
from tdxdbg.traces.output import new_part
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.export import keep, offline_svg, write_new
from tdxdbg.ui.export_rows import row_lines
from tdxdbg.ui.glyphs import ASCII_FOR
from tests.export.outputs import written
from tests.ui import demo
from tests.ui.demo import Recorder
from tests.ui.screens import app_on, screen_text

DATA = Path(__file__).parents[1] / "data" / "traces"


@pytest.mark.parametrize("keys", ["", "a", "question_mark"])
async def test_the_picture_is_well_formed_and_loads_nothing(keys: str) -> None:
    app = app_on(demo.hostile())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause()
        svg = app.export_screenshot()
    root = ET.fromstring(svg)
    text = "".join(root.itertext())
    if keys != "question_mark":
        assert "\\x1b]0;owned\\x07" in text.replace("\xa0", " ")
    assert loads_from(svg) == []
    assert 'font-family: "Fira Code", "DejaVu Sans Mono"' in svg


def loads_from(svg: str) -> list[str]:
    """What a viewer of the picture would fetch."""
    return re.findall(r"@font-face|@import|<script|<image|href=|url\((?!#)", svg)


def test_what_is_removed() -> None:
    svg = (
        "<svg><!-- made --><style>@font-face { src: url(x) }\n"
        ".a{font-family: Fira Code, monospace}</style></svg>"
    )
    made = offline_svg(svg)
    assert "@font-face" not in made
    assert "made" not in made
    assert "Menlo" in made


# --- files --------------------------------------------------------------------------------


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "tdxdbg-1.svg").write_text("mine")
    assert write_new("a", tmp_path, "svg").name == "tdxdbg-2.svg"
    assert write_new("b", tmp_path, "svg").name == "tdxdbg-3.svg"
    assert write_new("c", tmp_path, "txt").name == "tdxdbg-1.txt"
    assert (tmp_path / "tdxdbg-1.svg").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tdxdbg-1.svg", "tdxdbg-1.txt", "tdxdbg-2.svg", "tdxdbg-3.svg"
    ]  # fmt: skip


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    part = new_part(tmp_path)
    part.write_text("half")
    assert [path.name for path in tmp_path.glob("tdxdbg-*")] == []
    part.unlink()
    with pytest.raises(OSError, match="such file"):
        keep(part, "jsonl")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnicodeEncodeError):
        write_new("\ud800", tmp_path, "txt")
    assert list(tmp_path.iterdir()) == []


# --- what is written ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def only_file(folder: Path, suffix: str) -> str:
    (path,) = folder.glob("tdxdbg-*")
    assert path.name == f"tdxdbg-1.{suffix}"
    return path.read_text("utf-8")


PLAIN = re.compile("[ -~\n" + "".join(re.escape(glyph) for glyph in ASCII_FOR) + "]*")


@pytest.mark.parametrize(
    ("key", "suffix", "shows"),
    [
        ("enter", "svg", "<svg"),
        ("s", "svg", "<svg"),
        ("t", "txt", "\u2554\u2550 1 exits"),
        ("e", "txt", "TDG.VP.VMCALL<ReportFatalError>"),
        ("o", "json", '"leaf_name": "ReportFatalError"'),
    ],
)
async def test_the_menu_writes_a_file(folder: Path, key: str, suffix: str, shows: str) -> None:
    app = app_on(demo.hostile())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x")
        await pilot.pause()
        assert "export" in "\n".join(screen_text(app))
        await pilot.press(key)
        await pilot.pause()
        assert app.hints.message == f"wrote tdxdbg-1.{suffix}"
    written = only_file(folder, suffix)
    assert shows in written
    assert PLAIN.fullmatch(written.replace("\xa0", " ").replace("&#160;", " "))
    if suffix == "svg":
        assert "A new file in the current folder" not in written.replace("&#160;", " ")
    if suffix == "json":
        assert json.loads(written)["row"] == 0
    elif suffix == "txt":
        assert "\\x1b" in written


async def test_an_empty_recording_has_no_exit_to_write(folder: Path) -> None:
    app = app_on(Recorder().trace())
    async with app.run_test(size=(80, 24)):
        for what in ("exit", "json"):
            app.action_export(what)
            assert app.hints.message == "there is no exit to write"
        app.action_export("text")
        assert app.hints.message == "wrote tdxdbg-1.txt"
        app.action_export("pdf\x1b")
        assert app.hints.message.startswith("no export named pdf\\x1b: there are svg, text,")


async def test_what_cannot_be_written_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        gone = folder / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        for what in ("svg", "text", "exit", "json", "queue"):
            app.action_export(what)
            await until_said(
                pilot, app, "not written: No such file or directory in a folder that is gone: "
            )


# --- the queue ----------------------------------------------------------------------------


async def until_said(pilot: Pilot[int], app: ReplayApp, text: str) -> None:
    for _ in range(400):
        if app.hints.message.startswith(text):
            return
        await pilot.pause(0.02)
    raise AssertionError(f"never said: {text}; it says: {app.hints.message}")


@pytest.mark.parametrize(
    ("wanted", "rows"), [(None, list(range(11))), ("leaf == MapGPA", [1, 3, 5, 7, 8])]
)
async def test_the_queue_goes_to_json_lines(
    folder: Path, wanted: str | None, rows: list[int]
) -> None:
    path = folder / "demo.tdxt"
    path.write_bytes(demo.mapgpa().data())
    app = app_on(path, wanted=wanted, kernel="6.16")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("x", "l")
        await until_said(pilot, app, f"wrote tdxdbg-1.jsonl: {len(rows)} exits")
        expected = [
            json_object(app.timeline.summary(row), row_moments(app.timeline, row)) for row in rows
        ]
    found = [json.loads(line) for line in only_file(folder, "jsonl").splitlines()]
    assert found == json.loads(json.dumps(expected))
    assert list(folder.glob(".*")) == []


@pytest.mark.parametrize(("key", "form", "suffix"), [
    ("c", "csv", "csv"), ("r", "tdxt", "tdxt"), ("p", "perfetto", "json"),
])  # fmt: skip
@pytest.mark.parametrize("wanted", [None, "leaf == MapGPA"])
async def test_the_queue_in_the_forms_of_the_command(
    folder: Path, key: str, form: str, suffix: str, wanted: str | None
) -> None:
    path = folder / "demo.tdxt"
    path.write_bytes(demo.mapgpa().data())
    app = app_on(path, wanted=wanted)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("x", key)
        await until_said(pilot, app, f"wrote tdxdbg-1.{suffix}: ")
        selection = Selection(wanted=None if wanted is None else compile_filter(wanted))
        job = Job(Timeline(app.trace), selection)
        expected = written(FORMATS[form].write, job)
    assert (folder / f"tdxdbg-1.{suffix}").read_bytes() == expected
    assert list(folder.glob(".*")) == []


async def test_a_recording_is_not_written_of_another_kernel(folder: Path) -> None:
    path = folder / "demo.tdxt"
    path.write_bytes(demo.mapgpa().data())
    app = app_on(path, kernel="v19")
    async with app.run_test(size=(80, 24)):
        app.action_export("tdxt")
        assert "a recording keeps what kernel" in app.hints.message
    assert [item.name for item in folder.iterdir()] == ["demo.tdxt"]


async def test_a_recording_that_is_no_file_is_written_too(folder: Path) -> None:
    app = app_on(demo.hostile())
    async with app.run_test(size=(80, 24)) as pilot:
        app.action_export("queue")
        await until_said(pilot, app, "wrote tdxdbg-1.jsonl: 1 exit")
    written = only_file(folder, "jsonl")
    assert re.fullmatch("[ -~]*\n", written)
    assert json.loads(written)["message"].startswith("\\x1b]0;owned\\x07")
    assert list(folder.glob(".*")) == []


async def test_an_import_is_written_as_it_is_shown(folder: Path) -> None:
    """And not as its file is, which would have to be imported once more, of all processes."""
    path = DATA / "ftrace_raw_trace.txt"
    with Background(background.Job(str(path), str(path), pids=(14073,))) as importing:
        app = app_on(importing.open(60.0))
        app.come_from(importing)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_said(pilot, app, "imported: 13 exits")
            app.action_export("queue")
            await until_said(pilot, app, "wrote tdxdbg-1.jsonl: 13 exits")
    assert len(only_file(folder, "jsonl").splitlines()) == 13
    assert list(folder.glob(".*")) == []


async def test_escape_stops_it_and_leaves_nothing(folder: Path) -> None:
    app = app_on(demo.long_run(20_000))
    async with app.run_test(size=(80, 24)) as pilot:
        app.action_export("queue")
        await until_said(pilot, app, "writing")
        app.action_export("queue")
        assert app.hints.message == "a file is being written: Esc stops it"
        app.hints.say(None)
        for _ in range(400):
            await pilot.pause(0.02)
            if " %; Esc stops it" in app.hints.message:
                break
        assert re.match(r"writing [\d,]+ exits, \d+ %", app.hints.message)
        await pilot.press("j")
        assert app.cursor.row == 1
        await pilot.press("escape")
        await until_said(pilot, app, "stopped: nothing was written")
    assert list(folder.iterdir()) == []


async def test_what_the_other_process_says_is_shown_in_one_line(folder: Path) -> None:
    path = folder / "demo.tdxt"
    path.write_bytes(demo.mapgpa().data())
    app = app_on(path)
    async with app.run_test(size=(80, 24)) as pilot:
        with path.open("r+b") as file:
            file.write(b"no recording \x1b[31m" * 20)
        app.action_export("queue")
        await until_said(pilot, app, "not written: ")
        assert "not a recording that tdxdbg knows" in app.hints.message
    assert [item.name for item in folder.iterdir()] == ["demo.tdxt"]


async def test_another_file_of_the_same_name_is_not_taken_for_it(folder: Path) -> None:
    path = folder / "demo.tdxt"
    path.write_bytes(demo.mapgpa().data())
    app = app_on(path)
    async with app.run_test(size=(80, 24)) as pilot:
        path.unlink()
        path.write_bytes(demo.hostile().data())
        app.action_export("queue")
        await until_said(pilot, app, "wrote tdxdbg-1.jsonl: 11 exits")
    assert list(folder.glob(".*")) == []


def test_damaged_rows_are_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Timeline(demo.mapgpa())
    real = line.summary

    def summary(row: int) -> RowSummary:
        if row == 3:
            raise TraceError("record 9\x1b is damaged")
        return real(row)

    monkeypatch.setattr(line, "summary", summary)
    found = [json.loads(text) for _, text in row_lines(line, None)]
    assert found[3] == {"row": 3, "problem": "record 9\\x1b is damaged"}
    assert [item["row"] for item in found] == list(range(11))


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"trace": "/nowhere.tdxt", "kernel": "7.2", "filter": None, "to": "csv"}, "no such file"),
        (
            {"trace": "TRACE", "kernel": "7.2", "filter": "leaf == MapGPB", "to": "decoded"},
            "did you mean MapGPA",
        ),
    ],
)
def test_the_other_process_ends_with_one_line(
    job: dict[str, str | None], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "demo.tdxt"
    path.write_bytes(demo.mapgpa().data())
    text = json.dumps(job).replace("TRACE", str(path))
    command = [sys.executable, "-m", "tdxdbg.ui.export_rows"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_other_process_loads_no_screen() -> None:
    code = "import sys, tdxdbg.ui.export_rows; print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
