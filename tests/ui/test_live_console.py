"""Typing into the guest, and what is seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from tdxdbg.ui.layout import CODE, CONSOLE, QUEUE
from tdxdbg.ui.live.app import LinuxApp, LiveApp
from tdxdbg.ui.panes.console import ConsolePane
from tests.ui.live import fill, live_app, press, session_of, until
from tests.ui.screens import pane_text, screen_text
from tests.ui.test_typed import burst

SMALL = (80, 24)
FULL = (120, 40)
LEAVE = "ctrl+right_square_bracket"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TDXDBG_FAKE", str(tmp_path))
    return tmp_path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiveApp]:
    """A guest that runs on until it is stopped, and echoes."""
    made = live_app(tmp_path, slow=True)
    yield made
    made.close()


def typed(app: LiveApp) -> list[bytes]:
    """What the session was given for the guest, request by request."""
    return [values["data"] for name, values in session_of(app).requests if name == "serial"]


def types(app: LiveApp) -> bool:
    return app.typing


def hint(app: LiveApp) -> str:
    return screen_text(app)[-1].strip()


async def all_typed(pilot: Pilot[int], app: LiveApp, data: bytes) -> None:
    await until(pilot, lambda: b"".join(typed(app)) == data, f"typed {data!r}")


# --- in and out ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, FULL, (200, 60), (50, 12)])
async def test_one_is_told_in_words_where_keys_go(app: LiveApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await press(pilot, "c", "A")
        text = screen_text(app)
        assert any("0 typing" in line or "0 console: typing" in line for line in text[:-2])
        assert any("typing: Ctrl-] leaves" in line for line in text[:-2])
        assert hint(app).startswith("typing: Ctrl-] leaves")
        assert app.focused is app.panes[CONSOLE]
        await press(pilot, LEAVE)
        assert "typing" not in "\n".join(screen_text(app))
        assert app.focused is app.panes[QUEUE]


async def test_enter_in_the_pane_of_the_console_types_too(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "0", "enter", "x")
        assert types(app)
        await all_typed(pilot, app, b"x")
        await press(pilot, LEAVE)
        assert app.focused is app.panes[CONSOLE]
        await press(pilot, "9", "enter")
        assert not types(app)


async def test_every_key_but_one_is_the_guest_s(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        keys = ["q", "tab", "escape", "up", "down", "left", "right", "home", "ctrl+c", "ctrl+d",
                "ctrl+z", "ctrl+q", "backspace", "delete", "enter", "f1", "space", "question_mark",
                "colon", "0", "pageup", "shift+tab"]  # fmt: skip
        await press(pilot, "c", "A", *keys)
        wanted = (b"q\t\x1b\x1b[A\x1b[B\x1b[D\x1b[C\x1b[H\x03\x04\x1a\x11\x7f\x1b[3~\r\x1bOP ?:0"
                  b"\x1b[5~\x1b[Z")  # fmt: skip
        await all_typed(pilot, app, wanted)
        assert types(app)
        assert len(app.screen_stack) == 1
        assert app.world.running


async def test_keys_and_pastes_of_one_frame_are_one_request(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c")
        burst(pilot, "Als é")
        app.post_message(events.Paste("one\ntwo\r\n\x1b[A"))
        burst(pilot, "q\r")
        await all_typed(pilot, app, b"ls \xc3\xa9one\rtwo\r\x1b[Aq\r")
        assert len(typed(app)) == 1


async def test_what_is_typed_ahead_of_ctrl_c_gets_there_first(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        burst(pilot, "cAx")
        app.post_message(events.Key(LEAVE, "\x1d"))
        app.post_message(events.Key("ctrl+c", "\x03"))
        await until(pilot, lambda: len(session_of(app).requests) > 3 and not app.world.running)
        asked = [name for name, _ in session_of(app).requests]
        assert asked.index("cont") < asked.index("serial") < asked.index("interrupt")
        assert typed(app) == [b"x"]


async def test_the_mouse_ends_it_elsewhere(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "A")
        await pilot.click(f"#{CONSOLE}", offset=(5, 3))
        assert types(app)
        await pilot.click(f"#{CODE}", offset=(5, 3))
        await pilot.pause()
        assert not types(app)
        assert app.focused is app.panes[CODE]
        await press(pilot, "A", LEAVE)
        assert app.focused is app.panes[CODE]


async def test_keys_are_the_guest_s_also_where_the_window_lost_the_focus(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "A")
        app.post_message(events.AppBlur())
        await pilot.pause()
        await press(pilot, "q")
        await all_typed(pilot, app, b"q")
        assert types(app)


async def test_a_paste_is_nobody_s_before(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        app.post_message(events.Paste("q"))
        await press(pilot, "A", LEAVE)
        assert typed(app) == []


# --- who hears it -------------------------------------------------------------------------


async def test_what_is_typed_waits_for_a_guest_that_stands(app: LiveApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "s", "A", *"ls")
        await all_typed(pilot, app, b"ls")
        assert hint(app) == "typing: Ctrl-] leaves. It waits in the port: then c runs the guest on"
        assert session_of(app).state.steps == 1
        await press(pilot, LEAVE, "c")
        await until(pilot, lambda: app.world.running)


async def test_the_past_hears_nothing(tmp_path: Path) -> None:
    app = live_app(tmp_path)
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "s", "s", "s", "S", "A")
        assert not types(app)
        assert hint(app).endswith(
            "the past, which hears nothing: f returns to the present, F forks"
        )
        await press(pilot, "f", "A")
        assert types(app)
        # Somebody else's way back, as that of a search that was slow.
        app.cursor.to_row(0)
        app.moved()
        await press(pilot, "x")
        assert typed(app) == []
        assert hint(app).endswith("The past hears nothing; f leads back, F forks")
        await press(pilot, LEAVE)
    app.close()


async def test_an_ended_guest_hears_nothing(tmp_path: Path) -> None:
    app = live_app(tmp_path)
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "A", LEAVE, "c", "A")
        assert not types(app)
        assert hint(app) == "the guest has ended: R starts it again"
    app.close()


async def test_a_guest_that_ends_or_dies_gets_no_more_keys_and_no_one_else_does(
    app: LiveApp,
) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "A", "x")
        await all_typed(pilot, app, b"x")
        session_of(app).die()
        await until(pilot, lambda: app.world.wire.died)
        await press(pilot, "q", "R")
        assert hint(app) == "typing: Ctrl-] leaves. The worker is gone: R starts the guest again"
        assert typed(app) == [b"x"]
        await press(pilot, LEAVE, "A")
        assert hint(app) == "the worker is gone: R starts the guest again"
        assert not types(app)


async def test_what_the_port_does_not_take_is_said(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "A")
        app.post_message(events.Paste("x" * 65_540))
        await until(pilot, lambda: typed(app) == [b"x" * 65_536])
        said = "typing: Ctrl-] leaves. 4 bytes were too many for the port: they are not sent"
        assert hint(app) == said
        await press(pilot, "y")
        assert hint(app) == "typing: Ctrl-] leaves"
        app._not_taken("no \x1b[1m")
        await pilot.pause()
        assert hint(app) == "typing: Ctrl-] leaves. no \\x1b[1m"


# --- what is seen -------------------------------------------------------------------------


def last(app: LiveApp) -> list[tuple[str, str]]:
    """The last line of the console, with looks."""
    console = app.pane(CONSOLE, ConsolePane)
    return [(str(text), role) for text, role in console.line_at(console.count() - 1).spans]


async def test_the_guest_s_echo_comes_with_its_cursor(tmp_path: Path) -> None:
    app = live_app(tmp_path, slow=True, letters=b"\n\n\n\n\n")
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "A")
        await until(pilot, lambda: last(app) == [(" ", "badge")])
        await press(pilot, *"abc", "left")
        await until(pilot, lambda: last(app) == [("ab", "text"), ("c", "badge")])
        await press(pilot, LEAVE)
        assert last(app) == [("abc", "text")]
    app.close()


async def test_the_cursor_stays_in_view(app: LiveApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "c", "A")
        console = app.pane(CONSOLE, ConsolePane)
        console.text.feed(b"\n" * 30 + b"x" * 60)
        console.update_text()
        assert console.left == 61 - console.columns
        assert console.top == console.count() - console.rows
        console.text.feed(b"\x1b[K\r")
        console.update_text()
        assert console.left == 0
        console.text.feed(b"x" * 60)
        console.update_text()
        console.text.feed(b"\r\ntd# ")
        console.update_text()
        assert console.left == 0, "it stays where a long line took it"
        console.scroll_lines(-9)
        console.text.feed(b"y")
        console.update_text()
        assert console.top == console.count() - console.rows - 9
        await press(pilot, "z")
        assert console.top == console.count() - console.rows


async def test_it_follows_also_where_there_is_less_room(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        console = app.pane(CONSOLE, ConsolePane)
        console.text.feed(b"line\n" * 40)
        console.update_text()
        await pilot.resize_terminal(*SMALL)
        await pilot.pause()
        assert console.top == 40 - console.rows


# --- Linux --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "pace"), [(LiveApp, {}), (LinuxApp, {"paced": True})], ids=["sample", "linux"]
)
async def test_halted_time_passes_as_slowly_for_linux(
    tmp_path: Path, kind: type[LiveApp], pace: dict[str, bool]
) -> None:
    app = live_app(tmp_path, kind)
    async with app.run_test(size=FULL) as pilot:
        for key, text, wanted in (
            ("t", "1", {"until": "index >= 1"}),
            ("t", "console i", {"serial": b"i"}),
            ("t", "leaf == MapGPA", {"until": "leaf == MapGPA"}),
            ("c", "", {}),
        ):
            await press(pilot, key)
            if text:
                await fill(pilot, text)
            await until(pilot, lambda: not app.world.running)
            asked = [values for name, values in session_of(app).requests if name == "cont"]
            assert asked[-1] == {**pace, **wanted}
    app.close()


@pytest.mark.parametrize(
    ("size", "least"), [(SMALL, (80, 12)), (FULL, (82, 15)), ((200, 60), (82, 20))]
)
async def test_a_shell_has_room(
    tmp_path: Path, size: tuple[int, int], least: tuple[int, int]
) -> None:
    app = live_app(tmp_path, LinuxApp)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        place = app.desk.arrangement.places[CONSOLE]
        assert (place.width, place.height) >= least
        assert place.height >= least[1]
        assert QUEUE in app.desk.arrangement.places
        await press(pilot, "s")
        assert "A type" in screen_text(app)[-1]
    app.close()


# --- run to what it writes ----------------------------------------------------------------


async def test_run_to_what_the_guest_writes(tmp_path: Path) -> None:
    app = live_app(tmp_path)
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "t", *"con", "tab", *"ev")
        assert any("until the guest has written 'ev'" in line for line in screen_text(app))
        await press(pilot, "enter")
        await until(pilot, lambda: not app.world.running)
        assert session_of(app).requests[-1] != ("cont", {})
        assert ("cont", {"serial": b"ev"}) in session_of(app).requests
        assert pane_text(app, CONSOLE).endswith("ev")
        await press(pilot, "T")
        await fill(pilot, "console hi", enter=False)
        assert any("not looked back for" in line for line in screen_text(app))
        await press(pilot, "escape")
        app.action_run_to(1, "console")
        assert "what the guest is to write" in app.hints.message


async def test_in_the_past_too(tmp_path: Path) -> None:
    app = live_app(tmp_path)
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "g", "t")
        await until(pilot, lambda: app.past.state)
        await fill(pilot, "console hi")
        await until(pilot, lambda: app.past.state and app.past.state.console == 2)
        assert app.cursor.row == 1
        assert not app.following
    app.close()
