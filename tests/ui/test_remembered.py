"""What is remembered of a recording: round trips, files that anybody may have written, limits."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.resources import samples_dir
from tdxdbg.traces import Trace, open_trace
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.live.app import LiveApp
from tdxdbg.ui.remembered import (
    KEPT,
    LARGEST,
    LIVE_SAVED,
    SAVED,
    Memory,
    Saved,
    a_list,
    a_number,
    a_text,
    memory_folder,
    memory_of_guest,
    memory_of_trace,
    recent_traces,
)
from tests.ui import demo
from tests.ui.live import live_app
from tests.ui.screens import app_on
from tests.ui.test_commands import type_line
from tests.ui.test_history import json_values

SAMPLE = samples_dir() / "mapgpa_64mib_interrupted.tdxt"


def files() -> list[Path]:
    return sorted(memory_folder().glob("*")) if memory_folder().exists() else []


async def visit(
    path: Path | Trace, *keys: str, given: tuple[str, ...] = (), memory: Memory | None = None
) -> ReplayApp:
    """Open, press these keys, quit: the app as it was left. A key with a space in it is a line."""
    app = app_on(path)
    name = str(path) if isinstance(path, Path) else "-"
    app.remember(memory or memory_of_trace(app.trace, name), given)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.first_said = app.hints.message  # type: ignore[attr-defined]
        for key in keys:
            if " " in key:
                await type_line(pilot, key.strip())
            else:
                await pilot.press(key)
        await pilot.press("q")
    return app


def said(app: ReplayApp) -> str:
    return app.first_said  # type: ignore[attr-defined,no-any-return]


# --- from one time to the next --------------------------------------------------------------


async def test_everything_comes_back() -> None:
    left = await visit(SAMPLE, "go 9.3", "kernel 7.2")
    assert left.unremembered == ""
    again = await visit(SAMPLE)
    assert (again.cursor.row, again.cursor.step) == (9, 3)
    assert again.timeline.generation.name == "7.2"
    assert again.histories.of("command").lines == ("go 9.3", "kernel 7.2")
    assert said(again) == "restored: kernel 7.2, exit 9; :forget starts afresh"


async def test_the_filter_comes_back() -> None:
    app = app_on(SAMPLE, wanted="leaf == MapGPA")
    app.remember(memory_of_trace(app.trace, str(SAMPLE)), {"filter"})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n", "q")
    again = await visit(SAMPLE, "n")
    assert said(again) == "restored: filter leaf == MapGPA, exit 9; :forget starts afresh"
    assert again.matches is not None
    assert again.cursor.row == 11


async def test_what_was_never_moved_in_leaves_nothing() -> None:
    await visit(SAMPLE)
    await visit(SAMPLE, "j", "k")
    assert files() == []
    await visit(SAMPLE, "j")
    assert len(files()) == 1


@pytest.mark.parametrize(
    ("given", "row", "kernel"),
    [((), 9, "7.2"), (("cursor",), 0, "7.2"), (("kernel",), 9, "6.16"), (("filter",), 9, "7.2")],
)
async def test_the_command_line_wins(given: tuple[str, ...], row: int, kernel: str) -> None:
    await visit(SAMPLE, "go 9", "kernel 7.2")
    app = await visit(SAMPLE, given=given)
    assert (app.cursor.row, app.timeline.generation.name) == (row, kernel)


async def test_forget_starts_afresh() -> None:
    await visit(SAMPLE, "go 9", "kernel 7.2")
    app = await visit(SAMPLE, "forget ")
    assert (app.cursor.row, app.timeline.generation.name) == (0, "6.16")
    assert app.histories.of("command").lines == ()
    assert files() == []
    assert said(await visit(SAMPLE)) == ""


async def test_a_recording_that_was_moved_is_known_and_another_in_its_place_is_not(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "a.tdxt", tmp_path / "b" / "c.tdxt"
    there.parent.mkdir()
    shutil.copy(SAMPLE, here)
    await visit(here, "go 9")
    here.rename(there)
    shutil.copy(samples_dir() / "get_quote_and_event_notify.tdxt", here)
    assert (await visit(there)).cursor.row == 9
    assert (await visit(here)).cursor.row == 0
    assert [item.path for item in recent_traces()] == [str(there.resolve())]


def test_a_recording_that_grows_is_known_by_its_place_and_then_by_its_records(
    tmp_path: Path,
) -> None:
    path = tmp_path / "growing.tdxt"
    whole = demo.long_run(40).data()
    length = open_trace(SAMPLE).header.length
    path.write_bytes(whole[: length + 256 * 20])
    with open_trace(path) as trace:
        assert memory_of_trace(trace, str(path)).save({"cursor": [3, 0]}) == ""
    path.write_bytes(whole)
    with open_trace(path) as trace:
        assert trace.n_records >= 64
        memory = memory_of_trace(trace, str(path))
        assert memory.saved == {"cursor": [3, 0]}
        assert memory.save({"cursor": [4, 0]}) == ""
        assert len(files()) == 1
        elsewhere = memory_of_trace(trace, str(tmp_path / "moved.tdxt"))
        assert elsewhere.saved == {"cursor": [4, 0]}


async def test_another_recording_begins_with_what_was_typed_in_the_last() -> None:
    await visit(SAMPLE, "go 9")
    app = await visit(demo.mapgpa())
    assert app.histories.of("command").lines == ("go 9",)
    assert said(app) == ""
    assert len(files()) == 1


async def test_nothing_is_remembered_without_a_memory() -> None:
    app = app_on(SAMPLE)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j")
        await type_line(pilot, "forget")
        assert app.hints.message == "nothing is remembered here"
        await pilot.press("q")
    assert files() == []


async def test_an_empty_recording() -> None:
    trace = demo.Recorder().trace()
    await visit(trace, "j", "help x")
    assert (await visit(trace)).cursor.row == 0


async def test_a_live_guest_has_its_history_and_no_place(tmp_path: Path) -> None:
    for again in range(2):
        folder = tmp_path / str(again)
        folder.mkdir()
        app = live_app(folder)
        app.remember(memory_of_guest(tmp_path / "guest"))
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause(0.05)
            assert app.histories.of("command").lines == (("pane 2",) if again else ())
            assert "restored" not in app.hints.message
            await type_line(pilot, "pane 2")
            await pilot.press("q")
    assert recent_traces() == []
    assert len(files()) == 1


# --- files that somebody wrote ----------------------------------------------------------------


def memory_holding(text: bytes, folder: Path) -> Memory:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "x.json").write_bytes(text)
    return Memory(folder, ["x"])


GOOD = json.dumps({"version": 1, "path": "/a", "title": "t", "saved": {"cursor": [1, 0]}}).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"version": 1}' + b" " * LARGEST,
        b'{"version": 2, "saved": {"cursor": [1, 0]}}',
        b'{"version": "1", "saved": {"cursor": [1, 0]}}',
        b'{"version": 1, "saved": {"a": NaN}}',
        b'{"version": 1, "saved": {"a": ' + b"9" * 5000 + b"}}",
        b'{"version": 1, "saved": ' + b"[" * 17 + b"]" * 17 + b"}",
        *(GOOD[:cut] for cut in range(1, len(GOOD), 7)),
    ],
)
def test_what_makes_no_sense_is_as_nothing(text: bytes, tmp_path: Path) -> None:
    memory = memory_holding(text, tmp_path)
    assert memory.saved == {}
    assert memory.save({"cursor": [2, 0]}) == ""
    assert Memory(tmp_path, ["x"]).saved == {"cursor": [2, 0]}


@pytest.mark.parametrize("saved", [None, 3, "x", [], [["cursor", 1]]])
def test_what_is_saved_must_be_a_table(saved: object, tmp_path: Path) -> None:
    text = json.dumps({"version": 1, "saved": saved}).encode()
    assert memory_holding(text, tmp_path).saved == {}


@given(st.binary(max_size=300) | st.integers(0, len(GOOD)).map(lambda cut: GOOD[:cut] + b"}"))
def test_any_bytes_are_read(text: bytes) -> None:
    assert isinstance(memory_holding(text, memory_folder().parent).saved, dict)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)])
def test_what_is_no_file_is_as_nothing(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "x.json")
    assert Memory(tmp_path, ["x"]).saved == {}


@pytest.mark.parametrize(
    ("saved", "place", "words"),
    [
        ({"cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"cursor": [1, 99]}, (1, 2), "exit 1"),
        ({"cursor": [1 << 62, 1 << 62]}, (10, 0), "exit 10"),
        ({"cursor": [-1, 0]}, (0, 0), ""),
        ({"cursor": [1.5, 0]}, (0, 0), ""),
        ({"cursor": [True, 0]}, (0, 0), ""),
        ({"cursor": ["1", 0]}, (0, 0), ""),
        ({"cursor": [1]}, (0, 0), ""),
        ({"cursor": {"0": 1}}, (0, 0), ""),
        ({"cursor": None}, (0, 0), ""),
        ({"kernel": "9.9", "cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"kernel": ["7.2"], "cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"filter": "lef == 3", "cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"filter": "(" * 3000, "cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"filter": "x" * 9000, "cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"filter": 3, "cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"history": {"command": ["\x1b[31m", 3, "j"]}, "cursor": [5, 0]}, (5, 0), "exit 5"),
        ({"history": 3, "nobody": {}, "cursor": [5, 0]}, (5, 0), "exit 5"),
    ],
)
async def test_each_value_is_checked_and_the_others_are_taken(
    saved: dict[str, object], place: tuple[int, int], words: str, tmp_path: Path
) -> None:
    memory = Memory(tmp_path, ["x"])
    memory.saved = saved
    app = await visit(demo.mapgpa(), memory=memory)
    assert (app.cursor.row, app.cursor.step) == place
    assert said(app) == (f"restored: {words}; :forget starts afresh" if words else "")


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from([item.name for item in SAVED]), json_values))
def test_the_screen_opens_whatever_is_remembered(saved: dict[str, object]) -> None:
    memory = Memory(memory_folder(), ["x"])
    memory.saved = saved
    app = asyncio.run(visit(demo.mapgpa(), "j", memory=memory))
    assert 0 <= app.cursor.row <= 10
    assert app.return_code == 0


# --- the folder -------------------------------------------------------------------------------


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "traces"
    assert Memory(folder, ["x"]).save({}) == ""
    assert (folder / "x.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    assert os.listdir(folder) == ["x.json"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    memory = Memory(tmp_path / "a", ["x"])
    assert memory.save({}) == f"not remembered: File exists: {tmp_path / 'a'}"
    assert memory.forget() == f"not forgotten: Not a directory: {tmp_path / 'a'}"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(tmp_path, ["x"])
    assert memory.save({"cursor": [1, 0]}) == ""

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tdxdbg.ui.remembered.os.replace", full)
    assert memory.save({"cursor": [2, 0]}) == (
        f"not remembered: No space left on device: {tmp_path}"
    )
    assert os.listdir(tmp_path) == ["x.json"]
    assert Memory(tmp_path, ["x"]).saved == {"cursor": [1, 0]}


async def test_a_full_disk_is_said_when_the_screen_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    app = await visit(SAMPLE, "j", memory=Memory(tmp_path / "a", ["x"]))
    assert app.return_code == 0
    assert app.unremembered.startswith("not remembered: File exists")


def test_too_much_is_not_written(tmp_path: Path) -> None:
    assert "more than is kept" in Memory(tmp_path, ["x"]).save({"a": "x" * LARGEST})
    assert os.listdir(tmp_path) == []


def test_the_oldest_are_deleted(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        path = tmp_path / f"{number}.json"
        path.write_bytes(GOOD)
        os.utime(path, (number, number))
    assert Memory(tmp_path, ["new"]).save({}) == ""
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {"new", *(str(number) for number in range(6, KEPT + 5))}


def test_recent_traces_are_the_latest_with_a_place() -> None:
    folder = memory_folder()
    folder.mkdir(parents=True)
    contents: dict[str, object] = {
        "a": {"version": 1, "path": "/x/a.tdxt", "title": "\x1b[31m"},
        "b": {"version": 1, "path": "/x/b.tdxt", "title": 3},
        "stdin": {"version": 1, "path": "", "title": "t"},
        "relative": {"version": 1, "path": "x", "title": "t"},
        "guest-1": {"version": 1, "path": "/x/g", "title": ""},
        "odd": {"version": 1, "path": 3},
        "broken": 3,
    }
    for number, (name, content) in enumerate(contents.items()):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(content))
        os.utime(path, (number, number))
    assert [(item.path, item.title, item.when) for item in recent_traces()] == [
        ("/x/b.tdxt", "", 1.0),
        ("/x/a.tdxt", "\x1b[31m", 0.0),
    ]
    assert len(recent_traces(1)) == 1


def test_without_a_folder_there_are_none() -> None:
    assert recent_traces() == []


# --- the table and its checks -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "table"), [(ReplayApp, SAVED), (LiveApp, LIVE_SAVED)], ids=["replay", "live"]
)
def test_the_table_names_methods(app: type[ReplayApp], table: tuple[Saved, ...]) -> None:
    assert app.SAVED is table
    assert len({item.name for item in table}) == len(table)
    for item in table:
        assert callable(getattr(app, item.save))
        assert callable(getattr(app, item.load))


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (a_number, 3, 3),
        (a_number, 1 << 80, (1 << 63) - 1),
        (a_number, -1, None),
        (a_number, True, None),
        (a_number, "3", None),
        (a_text, "x", "x"),
        (a_text, "x" * 401, None),
        (a_text, 3, None),
        (lambda value: a_list(value, a_number), [1, "x", -1, 2], [1, 2]),
        (lambda value: a_list(value, a_number, 2), [1, 2, 3], [1, 2]),
        (lambda value: a_list(value, a_number), {"1": 2}, None),
    ],
)
def test_checks(check: Callable[[object], object], value: object, expected: object) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="not a"):
            check(value)
    else:
        assert check(value) == expected


async def test_a_feature_adds_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithMarks(ReplayApp):
        SAVED = (*SAVED, Saved("noted", "save_marks", "load_marks"))
        noted: tuple[int, ...] = ()

        def save_marks(self) -> object:
            return list(self.noted) or None

        def load_marks(self, value: object) -> str:
            self.noted = tuple(a_list(value, a_number))
            return f"{len(self.noted)} noted"

    made = app_on(demo.mapgpa())
    for wrote in (True, False):
        app = WithMarks(made.trace, made.palette)
        app.remember(memory_of_trace(made.trace, "-"))
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            if wrote:
                app.noted = (3, 5)
            else:
                assert app.hints.message == "restored: 2 noted; :forget starts afresh"
            await pilot.press("q")
        assert app.noted == (3, 5)


def test_another_title_is_another_recording() -> None:
    records = [record for _, record in demo.long_run(30).records()]
    meta = demo.long_run(1).meta
    one, other = (Trace.from_records(replace(meta, title=title), records) for title in "ab")
    assert memory_of_trace(one, "-").save({"cursor": [1, 0]}) == ""
    assert memory_of_trace(one, "-").saved == {"cursor": [1, 0]}
    assert memory_of_trace(other, "-").saved == {}
