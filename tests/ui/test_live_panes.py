"""The panes of code, memory and the console, and dialogs, in the app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tdxdbg.ui.keys import BY_ID, LIVE_HINTS, LIVE_KEYS
from tdxdbg.ui.layout import CODE, CONSOLE, MEMORY, QUEUE
from tdxdbg.ui.live.app import LiveApp
from tdxdbg.ui.panes.code import CodePane
from tdxdbg.ui.panes.console import ConsolePane
from tdxdbg.ui.panes.memory import MemoryPane
from tests.ui.fake import BASE
from tests.ui.live import fill, live_app, press, session_of, until
from tests.ui.screens import pane_text, screen_text

SMALL = (80, 24)
FULL = (120, 40)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveApp]:
    monkeypatch.setenv("TDXDBG_FAKE", str(tmp_path))
    made = live_app(tmp_path)
    yield made
    made.close()


async def test_code_marks_rip_labels_and_tdcalls(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        code = app.pane(CODE, CodePane)
        await until(pilot, lambda: code.sight)
        text = pane_text(app, CODE)
        assert f"▶{BASE:x} mov" in text
        assert "start:" in text
        await press(pilot, "9", "escape", "z")
        text = pane_text(app, CODE)
        assert "tdcall" in text
        assert "; TDG.VP.VMCALL <MapGPA>" in text
        assert "rflags 2" in text
        assert any("focus" in [role for _, role in line.spans] for line in code.lines)
        top = code.lines[0]
        await press(pilot, "down", "down")
        assert code.lines[0] != top
        code.scroll_lines(-80)
        await press(pilot, *["pagedown"] * 9)
        assert len(code.lines) == code.rows
        seen = ""
        for _ in range(30):
            seen += pane_text(app, CODE)
            code.scroll_lines(-10)
        assert "evil\\x1b[31m:" in seen


async def test_code_that_cannot_be_read_is_said(app: LiveApp) -> None:
    session = session_of(app)
    session._do_read_memory = lambda **_: None  # type: ignore[method-assign]
    async with app.run_test(size=FULL) as pilot:
        await until(
            pilot, lambda: "nothing is mapped there" in pane_text(app, CODE).replace("\n", " ")
        )
        asked = [arguments for name, arguments in session.requests if name == "read_memory"]
        assert asked[-1]["address"] == BASE


async def test_changed_registers_are_lit(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "s", "s")
        code = app.pane(CODE, CodePane)
        await until(pilot, lambda: any(role == "changed" for _, role in code.lines[0].spans))


async def test_memory_at_a_symbol_in_hex_and_text(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "at", *"map_g", "tab", "enter")
        memory = app.pane(MEMORY, MemoryPane)
        assert app.focused is memory
        await until(pilot, lambda: "00101040" in pane_text(app, MEMORY))
        await until(pilot, lambda: "40414243 44454647 @ABCDEFG" in pane_text(app, MEMORY))
        assert "virtual" in screen_text(app)[-3]
        await press(pilot, "down")
        await until(pilot, lambda: memory.lines[0].text.startswith("00101048 48494a4b"))


async def test_memory_that_changed_since_the_last_stop_is_lit(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "at")
        await fill(pilot, "gpa 2000")
        await until(pilot, lambda: "10111213" in pane_text(app, MEMORY))
        await press(pilot, "s", "s", "i")
        memory = app.pane(MEMORY, MemoryPane)
        await until(pilot, lambda: "ef111213" in pane_text(app, MEMORY))
        roles = {str(text): role for line in memory.lines for text, role in line.spans}
        assert roles["ef"] == "changed"
        assert "private" in "".join(text for text, _ in memory.foot)


async def test_memory_where_nothing_is(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "at", *"0", "enter")
        await until(pilot, lambda: "--------" in pane_text(app, MEMORY))
        await press(pilot, "pageup", "up", "left")
        assert app.pane(MEMORY, MemoryPane).base == 0


async def test_a_wrong_address_is_not_taken(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "at")
        await fill(pilot, "map_gap")
        text = "\n".join(screen_text(app))
        assert "did you mean map_gpa?" in text
        await press(pilot, "escape")
        assert not app.pane(MEMORY, MemoryPane).chosen


async def test_the_console_follows_until_it_is_scrolled_back(tmp_path: Path) -> None:
    app = live_app(tmp_path, letters=b"a\n" * 30)
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "c")
        console = app.pane(CONSOLE, ConsolePane)
        await until(pilot, lambda: console.count() == 30)
        assert console.top == 30 - console.rows
        await press(pilot, "0", "escape", "up")
        assert console.top == 30 - console.rows - 1
        console.text.feed(b"b\n")
        console.update_text()
        assert console.top == 30 - console.rows - 1
        await press(pilot, "pagedown")
        console.text.feed(b"c\n")
        console.update_text()
        assert console.top == 32 - console.rows
    app.close()


# --- dialogs ------------------------------------------------------------------------------


async def test_breakpoints_are_listed_switched_and_deleted(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "B")
        assert "There are none" in "\n".join(screen_text(app))
        await press(pilot, "a")
        await fill(pilot, "map_gpa")
        await press(pilot, "w")
        await fill(pilot, "gpa 2000")
        await press(pilot, "B")
        text = "\n".join(screen_text(app))
        assert "code   map_gpa" in text
        assert "write  gpa 2000" in text
        assert "0 hits" in text
        code = app.pane(CODE, CodePane)
        assert code.breakpoints == {BASE + 0x40: True}
        await press(pilot, "space")
        assert code.breakpoints == {BASE + 0x40: False}
        await press(pilot, "j", "d")
        assert len(app.world.stops) == 1
        await press(pilot, "escape")
        assert app.focused is app.panes[QUEUE]


async def test_a_hit_is_counted_and_named(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "b")
        await fill(pilot, "leaf == MapGPA")
        await press(pilot, "c")
        assert app.world.held
        await press(pilot, "B")
        await until(pilot, lambda: "1 hit" in "\n".join(screen_text(app)))
        await press(pilot, "escape", "c", "c", "C")
        await until(pilot, lambda: app.past.state)
        assert app.past.state is not None
        assert app.past.state.where == "held"


async def test_interrupts_are_raised(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "r")
        await fill(pilot, "0x21")
        assert session_of(app).requests[-1] != ("inject", {})
        assert ("inject", {"vector": 0x21, "vcpu": 0}) in session_of(app).requests
        assert app.hints.message == "vector 0x21 is pending at vCPU 0"
        await press(pilot, "r")
        await fill(pilot, "33 7")
        assert app.hints.message == "no vCPU 7: there are 1"


async def test_the_last_write_is_in_the_past(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "c", "W")
        await fill(pilot, "gpa 2000")
        await until(pilot, lambda: app.past.state)
        assert not app.following


async def test_a_paste_is_made_harmless(app: LiveApp) -> None:
    from textual import events

    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "at")
        assert app.focused is not None
        app.focused.post_message(events.Paste("10\x1b[31m1000\u202e"))
        await pilot.pause(0.05)
        assert "> 10[31m1000" in "\n".join(screen_text(app))


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (200, 60)])
async def test_every_dialog_opens_at_every_size(app: LiveApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await press(pilot, "s", "s", "s")
        for key in ("b", "B", "W", "at", "r", "o", "question_mark"):
            await pilot.press(key)
            assert len(app.screen_stack) == 2
            await pilot.press("escape")
            assert len(app.screen_stack) == 1
        await pilot.press(*"1234567890")


def test_live_keys_are_unique_and_have_actions() -> None:
    names = [name for key in LIVE_KEYS for name in key.keys.split(",")]
    assert len(names) == len(set(names))
    for key in LIVE_KEYS:
        assert hasattr(LiveApp, f"action_{key.action.partition('(')[0]}")
    assert all(id in BY_ID for hints in LIVE_HINTS.values() for ids, _ in hints for id in ids)


async def test_another_theme_dresses_a_live_run_too(app: LiveApp) -> None:
    async with app.run_test(size=FULL) as pilot:
        await press(pilot, "s")
        app.action_theme("tdx-high-contrast")
        await pilot.pause()
        assert {pane.palette.name for pane in app.panes.values()} == {"tdx-high-contrast"}
        assert app.news.palette.name == "tdx-high-contrast"
