"""Everything that has a key has a name: parsing, completion, the palette and the help."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot

from tdxdbg.resources import samples_dir
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.commands.help import help_lines, help_rows
from tdxdbg.ui.commands.language import CommandSet, offered
from tdxdbg.ui.commands.palette import CommandPalette, find
from tdxdbg.ui.commands.table import COMMANDS, Command
from tdxdbg.ui.keys import KEYS, LIVE_KEYS, Key
from tdxdbg.ui.layout import CONSOLE, DECODE, QUEUE, REGISTERS
from tdxdbg.ui.lines import width_of
from tdxdbg.ui.live.app import LiveApp
from tdxdbg.ui.prompt import Prompt, Verdict
from tdxdbg.ui.settings import parse_settings
from tests.ui import demo
from tests.ui.live import live_app, until
from tests.ui.screens import app_on, screen_text

#: A recording that begins with an exit that the kernel answers.
CPUID = samples_dir() / "mapgpa_64mib_interrupted.tdxt"

SCREENS: list[tuple[type[ReplayApp], tuple[Key, ...]]] = [
    (ReplayApp, KEYS),
    (LiveApp, LIVE_KEYS),
]


def commands_of(app: type[ReplayApp], keys: tuple[Key, ...]) -> CommandSet:
    return CommandSet(offered(keys, lambda name: hasattr(app, name)))


REPLAY = commands_of(ReplayApp, KEYS)
LIVE = commands_of(LiveApp, LIVE_KEYS)


def judged(command: Command, text: str, cursor: int) -> Verdict:
    """As an app would: numbers are good, and these words could stand there."""
    words = tuple(item for item in ("7.2", "7.3") if item.startswith(text[:cursor]))
    return Verdict(text.strip().replace(".", "").isdecimal(), f"<{command.name}>", 0, words)


# --- the table --------------------------------------------------------------------------------


@pytest.mark.parametrize(("app", "keys"), SCREENS)
def test_every_key_has_a_command(app: type[ReplayApp], keys: tuple[Key, ...]) -> None:
    commands = commands_of(app, keys)
    reached = {row.key for row in commands.rows}
    assert {key.id for key in keys} - reached == set()


@pytest.mark.parametrize(("app", "keys"), SCREENS)
def test_names_are_unique_and_say_what_they_do(app: type[ReplayApp], keys: tuple[Key, ...]) -> None:
    rows = commands_of(app, keys).rows
    names = [name for row in rows for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert all(row.help and row.help.isprintable() for row in rows)
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in names)


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_a_row_is_of_use_on_some_screen(row: Command) -> None:
    apps = [app for app, keys in SCREENS if row in commands_of(app, keys).rows or not row.help]
    assert apps
    for app in apps:
        assert all(hasattr(app, name) for name in (row.judge, row.action) if name)
    assert bool(row.takes or not row.key) == bool(row.action)


# --- what a line means ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("zoom", "zoom", ""),
        ("  zoom  ", "zoom", ""),
        ("q", "quit", ""),
        ("next-row", "next-row", ""),
        ("zo", "zoom", ""),
        ("go 415", "go", "415"),
        ("goto  415 ", "go", "415"),
        ("415", "go", "415"),
        ("1,234.2", "go", "1,234.2"),
        ("kernel 7.2", "kernel", "7.2"),
        ("help map gpa", "help", "map gpa"),
        ("zoom 3", "zoom", "3"),
    ],
)
def test_reading(line: str, name: str, text: str) -> None:
    typed = REPLAY.read(line)
    assert typed.command is not None
    assert (typed.command.name, typed.text) == (name, text)
    assert line[typed.start :].strip() == text


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", ""),
        ("zom", "there is no command zom; did you mean zoom?"),
        ("kernle 7.2", "there is no command kernle; did you mean kernel?"),
        ("@@@@", "there is no command @@@@; Ctrl-p lists them all"),
        ("ke", None),
        ("next-", "next- could be next-row, next-match, next-error, next-retry, ..."),
        ("instruction", "there is no command instruction"),
        ("415 2", "there is no command 415"),
    ],
)
def test_what_is_no_command(line: str, problem: str | None) -> None:
    typed = REPLAY.read(line)
    if problem is None:
        assert typed.command is not None
    else:
        assert typed.command is None
        assert typed.problem.startswith(problem)


@pytest.mark.parametrize(
    ("line", "good", "says"),
    [
        ("zoom", True, "zoom: the focused pane alone, and back"),
        ("zoom x", False, "zoom takes nothing after its name"),
        ("go", False, "go N[.STEP]: to exit N"),
        ("go ", False, "go N[.STEP]: to exit N"),
        ("go 3", True, "<go>"),
        ("go x", False, "<go>"),
        ("3", True, "<go>"),
        ("kernel", True, "kernel [GEN]: the same guest"),
        ("kernel x", False, "<kernel>"),
        ("nope", False, "there is no command nope"),
    ],
)
def test_judging(line: str, good: bool, says: str) -> None:
    verdict = REPLAY.judge(line, len(line), judged)
    assert verdict.good == good
    assert verdict.says.startswith(says)


@pytest.mark.parametrize(
    ("line", "start", "words"),
    [
        ("zo", 0, ("zoom",)),
        ("  zo", 2, ("zoom",)),
        ("next-r", 0, ("next-row", "next-retry")),
        ("ker", 0, ("kernel [GEN]", "next-kernel", "previous-kernel")),
        ("go", 0, ("go N[.STEP]",)),
        ("kernel ", 7, ("7.2", "7.3")),
        ("kernel  7.", 8, ("7.2", "7.3")),
        ("kernel 7.3", 7, ("7.3",)),
        ("zoom ", 5, ()),
        ("415", 0, ()),
        ("@", 0, ()),
    ],
)
def test_completion(line: str, start: int, words: tuple[str, ...]) -> None:
    verdict = REPLAY.judge(line, len(line), judged)
    # What takes something is offered with the blank that has to follow.
    shown = tuple(REPLAY.names[item[:-1]].usage if item.endswith(" ") else item
                  for item in verdict.words)  # fmt: skip
    assert shown == words
    if words:
        assert verdict.start == start


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30), st.data())
def test_any_line_is_judged_and_what_is_offered_can_stand_there(
    line: str, data: st.DataObject
) -> None:
    cursor = data.draw(st.integers(0, len(line)))
    verdict = LIVE.judge(line, cursor, judged)
    assert 0 <= verdict.start <= len(line)
    assert verdict.says or not line.strip()
    if verdict.words and not line[cursor:].strip():
        completed = line[: verdict.start] + verdict.words[0]
        assert LIVE.read(completed).command is not None


# --- the palette's search and the help's lines --------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("zoom", "zoom"),
        ("q", "quit"),
        ("pane", "pane"),
        ("pan", "pane"),
        ("pane next", "next-pane"),
        ("npn", "next-pane"),
        ("svg", "export"),
        ("damaged", "about"),
        ("KERNEL", "kernel"),
        ("zzz", None),
        ("zoom zzz", None),
    ],
)
def test_the_palette_finds(typed: str, first: str | None) -> None:
    found = find(REPLAY.rows, typed)
    assert (found[0].name if found else None) == first


def test_nothing_typed_leaves_all_in_their_order() -> None:
    assert find(REPLAY.rows, " ") == list(REPLAY.rows)


@pytest.mark.parametrize("commands", [(KEYS, REPLAY), (LIVE_KEYS, LIVE)], ids=["replay", "live"])
@pytest.mark.parametrize("width", [18, 78, 118, 198])
def test_help_says_everything_at_every_width(
    commands: tuple[tuple[Key, ...], CommandSet], width: int
) -> None:
    keys, found = commands
    rows = help_rows(keys, found.rows)
    lines = help_lines(rows, width)
    text = " ".join("\n".join(item.text for item in lines).split())
    assert "\\u" not in text
    assert "≡" in text
    assert all(width_of(item.spans) <= width for item in lines)
    if width == 198:
        assert all(row.says in text and row.shown in text for row in rows)
        assert len(lines) < len(help_lines(rows, 78))


# --- on the screen ------------------------------------------------------------------------------


async def type_line(pilot: Pilot[int], text: str) -> None:
    """Into the command line, as a paste, and Enter."""
    await pilot.press("colon")
    await pilot.pause()
    assert pilot.app.focused is not None
    pilot.app.focused.post_message(events.Paste(text))
    await pilot.press("enter")
    await pilot.pause()


@pytest.mark.parametrize(
    ("line", "row", "step", "kernel", "focus"),
    [
        ("next-row", 2, 0, "7.2", QUEUE),
        ("j", 1, 0, "7.2", QUEUE),
        ("go 5", 5, 0, "7.2", QUEUE),
        ("1.1", 1, 1, "7.2", QUEUE),
        ("1.99", 1, 2, "7.2", QUEUE),
        ("last", 10, 0, "7.2", QUEUE),
        ("kernel 6.16", 1, 0, "6.16", QUEUE),
        ("next-kernel", 1, 0, "7.3", QUEUE),
        ("pane decode", 1, 0, "7.2", DECODE),
        ("pane 2", 1, 0, "7.2", DECODE),
        ("pane regs", 1, 0, "7.2", REGISTERS),
        ("next-pane", 1, 0, "7.2", DECODE),
    ],
)
async def test_commands_do_what_keys_do(
    line: str, row: int, step: int, kernel: str, focus: str
) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await type_line(pilot, line)
        await until(pilot, lambda: app.timeline.generation.name == kernel)
        if line == "j":
            # Not good: the line stays, and says why.
            assert isinstance(app.screen, Prompt)
            await pilot.press("escape")
        assert (app.cursor.row, app.cursor.step) == (row, step)
        assert app.desk.view.focus == focus


async def test_the_line_says_what_it_means_completes_and_recalls() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("colon", *"ke")
        await pilot.pause()
        assert "kernel [GEN]: the same guest" in "\n".join(screen_text(app))
        await pilot.press("tab", "tab", "tab", "enter")
        await pilot.pause()
        assert app.timeline.generation.name == "exits-v1"
        await pilot.press("colon", "up")
        await pilot.pause()
        assert "> kernel exits-v1" in "\n".join(screen_text(app))
        await pilot.press("ctrl+w", "space", *"7.9")
        await pilot.pause()
        assert "a generation: v19" in "\n".join(screen_text(app))
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Prompt)
        await pilot.press("escape")
        assert app.timeline.generation.name == "exits-v1"


async def test_what_is_typed_ahead_is_taken() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for key, character in [("colon", ":"), ("7", "7"), ("enter", "\r"), ("j", "j")]:
            app.post_message(events.Key(key, character))
        await until(pilot, lambda: app.cursor.row == 8)


async def test_the_palette_runs_a_command_and_asks_for_what_one_takes() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(app.screen, CommandPalette)
        assert "next-row                     j  next, previous exit" in "\n".join(screen_text(app))
        await pilot.press(*"zoo", "enter")
        await until(pilot, lambda: app.desk.view.zoomed)
        await pilot.press("ctrl+p", *"nothing has this")
        await pilot.pause()
        assert "No command has these words" in "\n".join(screen_text(app))
        await pilot.press("enter", "ctrl+u", *"go n", "enter")
        await until(pilot, lambda: isinstance(app.screen, Prompt))
        await pilot.press(*"10", "enter")
        await until(pilot, lambda: app.cursor.row == 10)


async def test_the_palette_scrolls_and_takes_clicks() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.press("ctrl+p", *["down"] * 9)
        await pilot.pause()
        text = "\n".join(screen_text(app))
        assert "▶ left" in text
        assert "next-row" not in text
        await pilot.press("pageup")
        await pilot.pause()
        await pilot.click(app.screen.query_one("PalettePane"), offset=(5, 3))
        await until(pilot, lambda: app.cursor.row == 1)


async def test_help_finds_lines_and_shows_keys_as_they_are_now() -> None:
    settings, _ = parse_settings('[keys]\nzoom = "Ctrl-o"\nabout = ""')
    app = app_on(demo.mapgpa())
    app.use_settings(settings)
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.press("question_mark", "slash", *"alone")
        await pilot.pause()
        text = "\n".join(screen_text(app))
        assert "Ctrl-o        the focused pane alone, and back" in text
        assert "next, previous exit" not in text
        await pilot.press("enter", "j", "escape")
        await pilot.pause()
        assert "next, previous exit" in "\n".join(screen_text(app))
        await pilot.press("escape")
        await pilot.pause()
        assert app.focused is app.panes[QUEUE]
        await type_line(pilot, "help svg")
        text = "\n".join(screen_text(app))
        assert "write svg" in text
        assert "next, previous exit" not in text
        await pilot.press("slash", *"zzz")
        await pilot.pause()
        assert "Nothing here has these words" in "\n".join(screen_text(app))


async def test_keys_of_the_settings() -> None:
    settings, problems = parse_settings(
        '[keys]\nnext_row = "J,Ctrl-n"\nzoom = ""\nfirst = "G"\nnope = "x"'
    )
    app = app_on(demo.mapgpa())
    app.use_settings(settings, problems)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert app.hints.message == (
            "settings.toml: there is no key keys.nope (and 1 more: :settings)"
        )
        await pilot.press("J", "ctrl+n", "j")
        assert app.cursor.row == 2
        await pilot.press("z")
        assert not app.desk.view.zoomed
        assert "J/k exit" in screen_text(app)[-1]
        assert "zoom" not in screen_text(app)[-1]
        await pilot.press("g")
        assert app.cursor.row == 0
        await type_line(pilot, "settings")
        text = "\n".join(screen_text(app))
        assert "keys.next_row           J Ctrl-n  instead of j" in text
        assert "keys.zoom               no key  instead of z" in text
        assert "keys.first: G is the key of last; left as it was" in text
        await pilot.press("escape")
        await type_line(pilot, "zoom")
        await until(pilot, lambda: app.desk.view.zoomed)


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (30, 8), (80, 24), (300, 99)])
async def test_any_size(size: tuple[int, int]) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=size) as pilot:
        for keys in (("colon", "g", "tab"), ("ctrl+p", "down", "x"), ("question_mark", "slash")):
            await pilot.press(*keys)
            await pilot.pause()
            await pilot.resize_terminal(120, 40)
            await pilot.resize_terminal(*size)
            await pilot.press("escape", "escape")
            await pilot.pause()
        assert app.focused is app.panes[QUEUE]


async def test_no_exits() -> None:
    app = app_on(demo.Recorder().trace())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("colon", *"go 0")
        await pilot.pause()
        assert "this recording has no exits" in "\n".join(screen_text(app))
        await pilot.press("escape")
        await type_line(pilot, "last")
        assert app.is_running


# --- a live run -----------------------------------------------------------------------------------


async def test_commands_of_a_live_run(tmp_path: Path) -> None:
    app = live_app(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.05)
        await type_line(pilot, "step")
        await until(pilot, lambda: len(app.timeline) == 1)
        await type_line(pilot, "pane console")
        assert app.desk.view.focus == CONSOLE
        await pilot.press("ctrl+p", *"stop a guest")
        await pilot.pause()
        assert "interrupt" in "\n".join(screen_text(app))
        await pilot.press("escape", "b")
        await pilot.pause()
        await pilot.press(*"retry", "enter")
        await pilot.pause(0.05)
        await pilot.press("b", "up")
        await pilot.pause()
        assert "> retry" in "\n".join(screen_text(app))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("f3", "F4 F3 link"),
        ("", "{ F5 same vCPU"),
        ("", "F12/- zoom"),
        ("", "F2 goes on to the next step"),
        ("c", "no breakpoints: F7 sets one, w watches"),
        ("n", "nothing to find: :filter filters, Ctrl-f finds"),
        ("u", "nothing to undo: F8 edits the answer to an exit"),
        ("colon", "before. F9 finds one"),
        ("f7", "c runs on to the next one, F10 back."),
        ("f7 ctrl+u r e t r y enter", "1: retry; c runs on to it, F10 back"),
        ("m", "m: a letter sets a bookmark"),
        ("f11", "F11 to a bookmark: there are none"),
    ],
)
async def test_whatever_names_a_key_names_the_one_of_the_settings(keys: str, says: str) -> None:
    changed = {
        "step": "F2", "next_link": "F3", "previous_link": "F4", "next_of_vcpu": "F5",
        "breakpoint": "F7", "edit": "F8", "palette": "F9", "continue_back": "F10",
        "to_mark": "F11", "map_in": "F12", "filter": "",
    }  # fmt: skip
    settings, problems = parse_settings(
        "[keys]\n" + "".join(f'{id} = "{key}"\n' for id, key in changed.items())
    )
    assert not problems
    app = app_on(CPUID if "step" in says else demo.mapgpa())
    app.use_settings(settings)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause()
        assert says in " ".join("\n".join(screen_text(app)).split())


@pytest.mark.parametrize("keys", ["a", "K", "B", "M", "b", "x", "vertical_line", "colon", "ctrl+p",
                                  "question_mark", "ctrl+w", "slash", "colon s e t t i n g s enter",
                                  "4 escape down down enter"])  # fmt: skip
async def test_what_is_open_fits_the_terminal_again_when_that_changes(keys: str) -> None:
    """As if it had been opened there; and back."""
    app, other = (app_on(demo.mapgpa(), at=4) for _ in range(2))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause()
        before = screen_text(app)
        await pilot.resize_terminal(44, 20)
        await pilot.pause()
        small = screen_text(app)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert screen_text(app) == before
    async with other.run_test(size=(44, 20)) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause()
        assert screen_text(other) == small
