"""The live screen over a scripted guest: keys, what is said, the past, forks, a death."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tdxdbg.ui.layout import CODE, CONSOLE, QUEUE, UAPI
from tdxdbg.ui.live.app import LiveApp
from tdxdbg.ui.panes.code import CodePane
from tests.ui.live import fill, live_app, press, session_of, until
from tests.ui.screens import pane_text, screen_text

SMALL = (80, 24)
FULL = (120, 40)
#: The MapGPA of the scripted guest, and engine steps before its first chunk.
MAPGPA, BEFORE = 13, 26


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TDXDBG_FAKE", str(tmp_path))
    return tmp_path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiveApp]:
    made = live_app(tmp_path)
    yield made
    made.close()


def place(app: LiveApp) -> tuple[int, int]:
    return app.cursor.row, app.cursor.step


def badge_text(app: LiveApp) -> str:
    return "".join(text for text, _ in app.status.badges)


# --- running ------------------------------------------------------------------------------


async def test_it_starts_before_the_first_instruction_and_says_what_to_press(app: LiveApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.pane(CODE, CodePane).sight)
        text = screen_text(app)
        assert " LIVE    IN TD " in text[0]
        assert "s runs the guest to its first exit" in "\n".join(text)
        assert text[-2].startswith(" stopped at start")
        assert text[-1].startswith(" s/S step")


async def test_stepping_runs_the_guest_and_the_cursor_follows(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "s")
        assert place(app) == (0, 0)
        assert badge_text(app) == " LIVE  HELD "
        assert "KVM_EXIT_IO" in app.news.text
        await press(pilot, "s")
        assert place(app) == (0, 1)
        assert badge_text(app) == " LIVE  IN TD "
        await press(pilot, "s", "s", "space")
        assert place(app) == (2, 0)
        assert app.panes[QUEUE].moment is not None
        assert app.panes[QUEUE].moment.row == 2
        assert "hi" in pane_text(app, CONSOLE)


async def test_continue_runs_to_the_end_and_says_why(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c")
        assert badge_text(app) == " LIVE  ENDED "
        assert "ended: halted for \\x1b[1mgood" in app.news.text
        assert "\\x1b[31nevil" in pane_text(app, CONSOLE)
        await press(pilot, "s")
        assert "has ended" in app.hints.message


async def test_a_running_guest_never_holds_the_screen_and_can_be_stopped(tmp_path: Path) -> None:
    app = live_app(tmp_path, slow=True)
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c")
        await until(pilot, lambda: len(app.timeline) == 2, "the recording is followed")
        assert badge_text(app) == " LIVE  RUNNING "
        assert "2 exits, 4 steps, 300 instructions" in app.news.text
        await press(pilot, "s")
        assert app.hints.message == "the guest runs: Ctrl-c stops it"
        await press(pilot, "S")
        assert badge_text(app) == " PAST 1 step back  RUNNING "
        await press(pilot, "f", "ctrl+c")
        await until(pilot, lambda: not app.world.running)
        assert badge_text(app) == " LIVE  IN TD "
        assert "interrupted" in app.news.text
    app.close()


async def test_a_key_that_repeats_faster_than_the_guest_steps_loses_nothing(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        for _ in range(7):
            app.action_step(1)
        await until(pilot, lambda: app.world.state.steps == 7 and not app.world.running)
        assert place(app) == (3, 0)
        app.action_instruction(1)
        app.action_step(1)
        await until(pilot, lambda: not app.world.running)
        assert app.hints.message == "the guest runs: Ctrl-c stops it"


async def test_ctrl_c_quits_when_nothing_runs(app: LiveApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("ctrl+c")
    assert app.return_code == 130


async def test_instructions_are_steps_too(app: LiveApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "s", "s", "i", "i")
        assert app.world.state.since_step == 2
        assert CODE in app.desk.arrangement.places
        code = app.pane(CODE, CodePane)
        await until(pilot, lambda: code.sight and code.sight.place == (2, 102))
        await press(pilot, "I")
        await until(pilot, lambda: app.past.state)
        assert badge_text(app).startswith(" PAST 1 instruction back")
        await until(pilot, lambda: code.sight and code.sight.place == (2, 101))
        await press(pilot, "i")
        await until(pilot, lambda: app.following, "forward again is the present")
        await press(pilot, "S")
        await until(pilot, lambda: app.past.state)
        assert place(app) == (0, 1)
        assert app.past.state is not None
        assert app.past.state.since_step == 0


# --- the past -----------------------------------------------------------------------------


async def test_going_back_and_forward_again_leaves_the_present_alone(
    app: LiveApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdxdbg.ui.live.screen.SETTLES", 1.0)
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c")
        before = app.world.state
        await press(pilot, *"S" * 10)
        assert badge_text(app) == " PAST 10 steps back "
        assert "10 steps before the present" in app.news.text
        assert "reading the past" in app.news.text
        await until(pilot, lambda: app.past.state, "a session in the past")
        assert "reading" not in app.news.text
        assert session_of(app).requests[-1][0] != "step"
        await press(pilot, *"s" * 9)
        assert badge_text(app) == " PAST 1 step back "
        await press(pilot, "s")
        assert badge_text(app) == " LIVE  ENDED "
        assert app.world.state == before
        assert "step" not in [name for name, _ in session_of(app).requests]


@pytest.mark.parametrize(("keys", "following"), [("g", False), ("g G", True), ("k j", True),
                                                 ("g f", True), ("2 G", False)])  # fmt: skip
async def test_moving_the_cursor(app: LiveApp, keys: str, following: bool) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", *keys.split())
        assert app.following is following


async def test_the_past_shows_the_console_as_it_was(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "2", "G")
        await until(pilot, lambda: "bytes more in the present" in "\n".join(screen_text(app)))
        assert "evil" not in pane_text(app, CONSOLE)
        await press(pilot, "f")
        await until(pilot, lambda: "evil" in pane_text(app, CONSOLE))


async def test_a_session_that_comes_too_late_is_closed(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "S")
        await until(pilot, lambda: app.past.state)
        first = app.past.wire
        await press(pilot, "S")
        assert first is not None
        assert first.closed
        await press(pilot, "f")
        assert app.past.wire is None


async def test_running_on_from_the_past_asks_and_forks(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "g")
        await press(pilot, "c")
        assert any("run from the past?" in text for text in screen_text(app))
        await press(pilot, "escape")
        assert badge_text(app).startswith(" PAST ")
        await press(pilot, "c", "f")
        await until(pilot, lambda: app.world.name == "fork 1" and not app.world.running, "a fork")
        assert badge_text(app) == " FORK 1  ENDED "
        assert len(app.worlds) == 2
        await press(pilot, "o")
        text = "\n".join(screen_text(app))
        assert "live     ended" in text
        assert "steps before the present of live" in text
        await press(pilot, "1")
        assert badge_text(app) == " LIVE  ENDED "
        await press(pilot, "o", "j", "enter")
        assert badge_text(app) == " FORK 1  ENDED "


async def test_f_forks_where_one_looks(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "5", "G")
        await press(pilot, "F")
        await until(pilot, lambda: app.world.name == "fork 1")
        assert place(app) == (5, 0)
        assert badge_text(app) == " FORK 1  HELD "
        await press(pilot, "s")
        assert place(app) == (5, 1)
        assert (len(app.worlds[0].trace), len(app.trace)) == (15, 6)


async def test_doing_it_in_the_present_instead(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "s", "s", "s", "S", "S")
        await press(pilot, "c", "p")
        assert badge_text(app) == " LIVE  ENDED "


# --- a death ------------------------------------------------------------------------------


async def test_when_the_worker_dies_it_is_said_and_the_recording_stays_open(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "s", "s", "s")
        session_of(app).die()
        await until(pilot, lambda: app.world.wire.died)
        assert badge_text(app) == " LIVE  DIED "
        assert "R starts the guest again: killed by signal 9 \\x1b[31m" in app.news.text
        assert "the worker is gone" in "\n".join(screen_text(app))
        await press(pilot, "S", "S")
        assert place(app) == (0, 0)
        assert badge_text(app) == " PAST 2 steps back  DIED "
        await press(pilot, "s", "s")
        assert place(app) == (1, 0)
        for key in ("s", "c", "i", "I", "F"):
            await press(pilot, key)
            assert "R starts the guest again" in app.hints.message or "gone" in app.hints.message
        await press(pilot, "R")
        await until(pilot, lambda: len(app.worlds) == 2)
        assert badge_text(app) == " LIVE 2  IN TD "
        await press(pilot, "s")
        assert place(app) == (0, 0)


# --- the answer ---------------------------------------------------------------------------


async def test_the_second_chunk_gets_eagain_and_the_guest_retries_from_r11(app: LiveApp) -> None:
    """What the issue asks for, by keys."""
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "b")
        await fill(pilot, "leaf == MapGPA")
        await press(pilot, "c")
        assert place(app) == (MAPGPA, 0)
        assert "P→S 40000000 +2M" in app.news.text
        await press(pilot, "s")
        assert place(app) == (MAPGPA, 1)
        assert badge_text(app) == " LIVE  HELD "
        await press(pilot, "e", *"EAGAIN")
        assert "EAGAIN" in pane_text(app, UAPI)
        await press(pilot, "enter")
        assert place(app) == (MAPGPA, 2)
        moment = app.moment()
        assert moment is not None
        assert (moment.after.r10, moment.after.r11) == (1, 1 << 51 | 0x4020_0000)
        await press(pilot, "s")
        assert place(app) == (MAPGPA + 1, 0)
        assert "P→S 40200000 +2M" in app.news.text
        await press(pilot, *"S" * 10)
        assert badge_text(app) == " PAST 10 steps back "
        await press(pilot, *"s" * 10)
        assert badge_text(app) == " LIVE  HELD "
        assert place(app) == (MAPGPA + 1, 0)


# --- filter, places, marks ------------------------------------------------------------------


async def test_a_filter_over_a_run_grows_with_it(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "slash")
        await fill(pilot, "leaf == MapGPA")
        assert app.hints.message == "0 of 0 match; Esc clears"
        await press(pilot, "c")
        matches = app.matches
        assert matches is not None
        await until(pilot, lambda: matches.complete)
        assert [*matches.rows] == [MAPGPA]
        await press(pilot, "g")
        assert place(app) == (MAPGPA, 0)
        assert badge_text(app).startswith(" PAST")
        await press(pilot, "escape")
        assert app.state()["filter"] == ""


async def test_run_to_what_is_still_to_come(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "s", "t")
        await fill(pilot, "4")
        await until(pilot, lambda: not app.world.running)
        assert app.cursor.row == 4
        assert badge_text(app).startswith(" LIVE")
        await press(pilot, "t")
        await fill(pilot, "leaf == MapGPA")
        await until(pilot, lambda: not app.world.running)
        assert app.cursor.row == MAPGPA
        await press(pilot, "T")
        await fill(pilot, "2")
        assert place(app) == (2, 0)
        assert badge_text(app).startswith(" PAST")
        # In the past, what was recorded is there to run to.
        await press(pilot, "t")
        await fill(pilot, "index >= 4")
        assert app.cursor.row == 4
        await press(pilot, "t")
        await fill(pilot, "99", enter=False)
        assert "there is no exit 99" in "\n".join(screen_text(app))
        await press(pilot, "escape")


async def test_conditions_have_marks_in_the_queue(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        app.command_break("leaf == MapGPA")
        app.command_break("0x1000")
        await press(pilot, "c")
        await until(pilot, lambda: not app.world.running)
        assert app.cursor.row == MAPGPA
        await until(pilot, lambda: "●" in pane_text(app, QUEUE))
        marked = [item for item in pane_text(app, QUEUE).splitlines() if "●" in item]
        assert len(marked) == 1
        assert "MapGPA" in marked[0]
        app.command_watch("nowhere 8")
        assert "no symbol or register 'nowhere'" in app.hints.message
        app.command_break("leef == 3")
        assert "leef" in app.hints.message


async def test_bookmarks_and_errors_of_a_run(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "g", "m", "a", "l")
        await press(pilot, "apostrophe", "a")
        assert place(app) == (0, 0)
        assert not app.following
        await press(pilot, "f", "M", "enter")
        assert place(app) == (0, 0)
