"""The start page: lists, columns, keys, the mouse, and the file prompt."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tdxdbg.errors import BackendError, SessionError
from tdxdbg.guests import guests
from tdxdbg.session import LiveConfig
from tdxdbg.ui.remembered import Recent, memory_folder, recent_traces
from tdxdbg.ui.start import run
from tdxdbg.ui.start.app import FILE, StartApp
from tdxdbg.ui.start.entries import (
    GUESTS,
    RECENT,
    SAMPLES,
    Entry,
    ago,
    guest_entries,
    recent_entries,
    sample_entries,
)
from tdxdbg.ui.start.files import completions, expanded, judge_file
from tdxdbg.ui.themes import choose, load_themes
from tests.ui.screens import SIZES

HOSTILE = "\x1b]0;owned\x07[/x]\u202e"
NOW = 1_000_000.0
OLD = [
    Recent("/home/a/traces/boot.tdxt", "a TD boots", NOW - 120),
    Recent("/home/a/traces/hang.tdxt", "", NOW - 9 * 3600),
]
ENTRIES = [
    *recent_entries(OLD, NOW),
    Entry(SAMPLES, "mapgpa", "6.16", "MapGPA of 64 MiB", "/samples/mapgpa.tdxt"),
    Entry(SAMPLES, "serial", "7.2", "hello over the serial port", "/samples/serial.tdxt"),
    Entry(GUESTS, "hello", "1 vCPU", "says hello, then " + "goes on " * 12, "hello", live=True),
]
BOOT, HANG, MAPGPA, SERIAL, HELLO = ENTRIES
DARK = choose(load_themes(), None)


def page(entries: list[Entry] | None = None, *, at: int = 0, said: str = "") -> StartApp:
    return StartApp(ENTRIES if entries is None else entries, DARK, False, at=at, said=said)


def text(app: StartApp) -> list[str]:
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


# --- what is offered ----------------------------------------------------------------------


def test_recordings_of_before_have_a_title_or_a_place() -> None:
    assert [(item.name, item.detail, item.story) for item in recent_entries(OLD, NOW)] == [
        ("boot.tdxt", "2 min ago", "a TD boots"),
        ("hang.tdxt", "9 h ago", "in /home/a/traces"),
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (47 * 3600, "47 h ago"),
        (48 * 3600, "2 d ago"),
        (400 * 86400, "400 d ago"),
    ],
)
def test_how_long_ago(seconds: float, expected: str) -> None:
    assert ago(seconds) == expected


def test_every_sample_and_guest_has_a_story() -> None:
    samples, offered = sample_entries(), guest_entries(guests())
    assert len(samples) > 20
    assert len(offered) > 20
    assert all(item.story and item.detail for item in (*samples, *offered))
    assert all(Path(item.target).is_file() for item in samples)


def test_what_is_remembered_is_read_and_what_is_broken_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert recent_traces() == []
    folder = memory_folder()
    folder.mkdir(parents=True)
    files = {
        "a": '{"version": 1, "path": "/x/a.tdxt", "title": "A"}',
        "b": '{"version": 1, "path": "/x/b.tdxt"}',
        "relative": '{"version": 1, "path": "c.tdxt"}',
        "newer": '{"version": 99, "path": "/x/d.tdxt"}',
        "cut": '{"version": 1, "pa',
        "deep": "[" * 100_000,
        "list": "[]",
        "number": '{"version": 1, "path": 7}',
        "large": json.dumps({"version": 1, "path": "/x/e", "title": "x" * (1 << 19)}),
    }
    for at, (name, content) in enumerate(files.items()):
        (folder / f"{name}.json").write_text(content, "utf-8")
        os.utime(folder / f"{name}.json", (1000 - at, 1000 - at))
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    assert recent_traces() == [Recent("/x/a.tdxt", "A", 1000.0), Recent("/x/b.tdxt", "", 999.0)]
    assert len(recent_traces(1)) == 1


# --- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("enter", BOOT),
        ("j enter", HANG),
        ("down down enter", MAPGPA),
        ("j j k enter", HANG),
        ("k enter", BOOT),
        ("G enter", HELLO),
        ("end enter", HELLO),
        ("G g enter", BOOT),
        ("G home enter", BOOT),
        ("pagedown enter", HELLO),
        ("pagedown pageup enter", BOOT),
        ("tab enter", MAPGPA),
        ("tab tab enter", HELLO),
        ("tab tab tab enter", BOOT),
        ("shift+tab enter", HELLO),
        ("j tab shift+tab enter", BOOT),
        # Words: of the name, the story, the detail; the cursor stays where it can.
        ("s e r i a l enter", SERIAL),
        ("slash j u s t enter", None),
        ("slash g o e s enter", HELLO),
        ("slash h e l l o enter", SERIAL),
        ("slash h e l l o down enter", HELLO),
        ("slash h e l l o down down up enter", SERIAL),
        ("tab slash h e l l o tab enter", HELLO),
        ("tab slash M a p g p A space 6 4 enter", MAPGPA),
        ("slash x x escape enter", BOOT),
        ("slash x backspace enter", BOOT),
        ("G slash l l ctrl+u escape enter", HELLO),
        ("slash j enter", None),
        ("q", None),
        ("ctrl+q", None),
    ],
)
async def test_choosing(keys: str, expected: Entry | None) -> None:
    app = page()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause()
        if app.is_running and expected is None:
            assert "Nothing here has that in it" in "\n".join(text(app))
    assert app.return_value == expected


async def test_interrupting_is_an_exit_status() -> None:
    app = page()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+c")
    assert (app.return_value, app.return_code) == (None, 130)


async def test_it_begins_where_it_was_left_and_says_what_was_wrong() -> None:
    app = page(at=3, said=f"no such file {HOSTILE}")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert text(app)[-2].startswith(" ‼ no such file \\x1b]0;owned\\x07[/x]\\u202e")
        assert any("▶ serial" in line for line in text(app))
        await pilot.press("j")
        await pilot.pause()
        assert "no such file" not in "\n".join(text(app))


async def test_a_click_opens_and_the_names_above_lead_to_their_groups() -> None:
    app = page()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        top = text(app)[1]
        await pilot.click(offset=(top.index(GUESTS) + 2, 1))
        assert any("▶ hello" in line for line in text(app))
        row = next(y for y, line in enumerate(text(app)) if "serial" in line)
        await pilot.click(offset=(10, row - 2))
        assert app.is_running, "a heading is nothing to open"
        await pilot.click(offset=(10, row))
    assert app.return_value == SERIAL


async def test_help_and_back() -> None:
    app = page()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert "in a recording or a run, back to this page" in "\n".join(text(app))
        await pilot.press("j", "q")
        await pilot.pause()
        assert app.is_running
        assert any("▶ boot" in line for line in text(app))


# --- looks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (40, 12), (20, 5), (1, 1), (400, 100)])
@pytest.mark.parametrize("offered", [ENTRIES, []], ids=["entries", "none"])
async def test_it_fits_every_size(size: tuple[int, int], offered: list[Entry]) -> None:
    app = page(offered)
    async with app.run_test(size=size) as pilot:
        await pilot.press("j", "slash", "x", "escape", "tab")
        assert all(len(line) == size[0] for line in text(app))
        if offered and size >= (40, 12):
            shown = "\n".join(text(app))
            assert "▶ mapgpa" in shown
            assert "Enter open" in shown
            # The story stands beside the name, or below the list.
            assert "MapGPA of 64 MiB" in shown


async def test_a_long_story_is_there_in_full() -> None:
    app = page(at=4)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        *_, one, two, _ = text(app)
        assert " ".join(f"{one} {two}".split()) == HELLO.story.strip()


async def test_columns_stand_below_each_other_whatever_is_filtered() -> None:
    app = page()
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        before = [line for line in text(app) if "hello over" in line]
        await pilot.press("slash", *"serial")
        after = [line for line in text(app) if "hello over" in line]
        assert before[0].replace("▶", " ") == after[0].replace("▶", " ")


async def test_hostile_text_is_made_visible() -> None:
    app = page([Entry(RECENT, HOSTILE, HOSTILE, HOSTILE, HOSTILE)])
    async with app.run_test(size=(200, 24)) as pilot:
        await pilot.pause()
        shown = "\n".join(text(app))
        assert shown.count("\\x1b]0;owned\\x07[/x]\\u202e") >= 2
        assert not set("\x1b\x07\u202e") & set(shown)


def recent_and_samples() -> StartApp:
    return page([BOOT, HANG, *sample_entries(), *guest_entries(guests())], at=12)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 12)])
def test_start_picture(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert snap_compare(recent_and_samples(), terminal_size=size)


# --- a file ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("trace.tdxt", "trace2.jsonl", ".hidden", "caf\u00e9", "bad\x1b"):
        (tmp_path / name).write_bytes(b"x" * 4096)
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "inner.tdxt").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "start", "words"),
    [
        ("", 0, ("trace.tdxt", "trace2.jsonl", "traces/")),
        ("tr", 0, ("trace.tdxt", "trace2.jsonl", "traces/")),
        ("traces", 0, ("traces/",)),
        ("traces/", 7, ("inner.tdxt",)),
        ("~/traces/in", 9, ("inner.tdxt",)),
        (".", 0, (".hidden",)),
        ("nowhere/x", 8, ()),
        ("trace.tdxt/x", 11, ()),
        ("\0", 0, ()),
    ],
)
def test_completing_a_path(folder: Path, typed: str, start: int, words: tuple[str, ...]) -> None:
    assert completions(typed) == (start, words)


@pytest.mark.parametrize(
    ("typed", "good", "says"),
    [
        ("trace.tdxt", True, "opens a file of 4 KiB"),
        (" ~/trace.tdxt ", True, "opens a file of 4 KiB"),
        ("traces", False, "a folder: go on typing, Tab completes"),
        ("nope", False, "no such file or directory"),
        ("trace.tdxt/x", False, "not a directory"),
        ("/dev/null", False, "neither a file nor a folder"),
        ("a\0b", False, "not a path"),
        ("x" * 5000, False, "file name too long"),
        ("", False, ""),
    ],
)
def test_what_a_path_means(folder: Path, typed: str, good: bool, says: str) -> None:
    verdict = judge_file(typed, len(typed))
    assert (verdict.good, verdict.says) == (good, says)


async def test_a_file_is_typed_with_completion(folder: Path) -> None:
    app = page()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("o", *"traces", "tab", "tab", "enter")
        await pilot.pause()
    assert app.return_value == Entry(FILE, "traces/inner.tdxt", "", "", "traces/inner.tdxt")
    assert expanded("~/a") == f"{folder}/a"


# --- to what was chosen, and back --------------------------------------------------------------


class Pages:
    """Stands for the apps: gives what the pages return, one after the other."""

    def __init__(self, *answers: Entry | None) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[int, str]] = []
        self.crash = None
        self.return_code = 0

    def __call__(
        self, entries: list[Entry], palette: object, ascii_only: bool, *, at: int, said: str
    ) -> Pages:
        self.seen.append((at, said))
        return self

    def run(self) -> Entry | None:
        return self.answers.pop(0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was opened; `bad` cannot be."""
    found: list[str] = []

    def replay(path: str) -> int:
        found.append(path)
        return 130 if path == "interrupted" else 0

    def live(config: LiveConfig) -> int:
        found.append(f"live {config.guest}")
        if config.guest == "bad":
            raise BackendError("no vCPU here")
        if config.guest == "worse":
            raise SessionError("there is no guest 'worse'")
        return 0

    monkeypatch.setattr("tdxdbg.ui.run.run_replay", replay)
    monkeypatch.setattr("tdxdbg.ui.live.run.run_live", live)
    monkeypatch.setattr(run, "entries", lambda: ENTRIES)
    return found


def test_one_comes_back_to_the_page_and_leaves_it(
    opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = HELLO._replace(target="bad")
    pages = Pages(SERIAL, HELLO, bad, bad._replace(target="worse"), None)
    monkeypatch.setattr(run, "StartApp", pages)
    assert run.run_start() == 0
    assert opened == ["/samples/serial.tdxt", "live hello", "live bad", "live worse"]
    errors = ["no vCPU here", "there is no guest 'worse'"]
    assert pages.seen == [(0, ""), (3, ""), (4, ""), *((0, error) for error in errors)]


def test_an_interrupt_inside_ends_everything(
    opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "StartApp", Pages(SERIAL._replace(target="interrupted")))
    assert run.run_start() == 130
