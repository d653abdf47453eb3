"""The cursor in panes: where it goes, what is copied, decoded, filtered on and lit."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tdxdbg.decode.text import Safe
from tdxdbg.filters import compile_filter
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.clipboard import MOST, osc52
from tdxdbg.ui.glyphs import ASCII_FOR
from tdxdbg.ui.layout import DECODE, GPA_MAP, QUEUE, REGISTERS, UAPI
from tdxdbg.ui.lines import Line
from tdxdbg.ui.pointing import filter_text_of
from tests.ui import demo
from tests.ui.demo import Recorder
from tests.ui.screens import SAMPLES, app_on, screen_text

PLAIN = re.compile("[ -~" + "".join(re.escape(glyph) for glyph in ASCII_FOR) + "]*")
OSC = re.compile(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07")


class Clipboard:
    """What the app wrote past the screen."""

    def __init__(self, app: ReplayApp, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[str] = []
        monkeypatch.setattr(app._driver, "write", self.written.append)

    @property
    def texts(self) -> list[str]:
        # The shape of the mouse pointer is textual's.
        found = [OSC.fullmatch(item) for item in self.written if item != "\x1b]22;default\x07"]
        assert all(found), self.written
        return [b64decode(item[1], validate=True).decode() for item in found if item]


def lines_of(app: ReplayApp, name: str) -> list[Line]:
    pane = app.panes[name]
    return [pane.line_at(index) for index in range(pane.count())]


# --- what lines are about -----------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("kernel", [None, "v19", "7.3"])
async def test_every_filter_compiles_and_selects_the_exit_it_came_from(
    path: Path, kernel: str | None
) -> None:
    app = app_on(path, kernel=kernel)
    found = 0
    async with app.run_test(size=(200, 60)):
        for row in range(min(len(app.timeline), 16)):
            for step in range(min(app.timeline.steps(row), 3)):
                app.go(row, step)
                summary = app.timeline.summary(row)
                here = app.panes[QUEUE].line_at(row)
                for line in (here, *lines_of(app, DECODE), *lines_of(app, REGISTERS)):
                    text = filter_text_of(line)
                    if text is not None:
                        found += 1
                        assert compile_filter(text).matches(summary), (row, step, line.text, text)
    assert found > 3


@pytest.mark.parametrize(
    ("pane", "starts", "expected"),
    [
        (DECODE, "TDG.VP.VMCALL<MapGPA>", "leaf == MapGPA"),
        (DECODE, "├ GPA (R12)", "gpa == 0x40000000"),
        (DECODE, "├ size (R13)", "r13 == 0x800000"),
        (DECODE, "▶0 KVM_EXIT_HYPERCALL", "exit == KVM_EXIT_HYPERCALL"),
        (REGISTERS, "R12", "r12 == 0x8000040000000"),
        (REGISTERS, "RAX", None),
        (UAPI, "   8   exit_reason", "exit == KVM_EXIT_HYPERCALL"),
        (UAPI, "  32   hypercall.nr", None),
        (QUEUE, "▶   1", "leaf == MapGPA"),
        (QUEUE, "    0", "leaf == IO"),
    ],
)
async def test_filters_of_lines(pane: str, starts: str, expected: str | None) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(200, 60)):
        line = next(item for item in lines_of(app, pane) if item.text.startswith(starts))
        assert filter_text_of(line) == expected


async def test_values_are_the_numbers_that_are_shown() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(200, 60)):
        abouts = [line.about for name in (UAPI, REGISTERS) for line in lines_of(app, name)]
        values = {str(about.name): about.value for about in abouts if about is not None}
        assert values["r12"] == 0x4000_0000 | demo.SHARED
        assert values["hypercall.args[1]"] == 512
        assert values["hypercall.nr"] == 12
        places = {str(about.name): about.where for about in abouts if about is not None}
        assert places["hypercall.ret"] == (88, 8)
        assert places["flags"] == (14, 2)
        assert places["r12"] is None


# --- moving it ----------------------------------------------------------------------------


async def test_the_cursor_is_seen_where_it_matters_and_marked_by_a_glyph() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        assert not any(text.startswith("▶R") for text in screen_text(app))
        await pilot.press("4")
        assert "▶RCX" in "\n".join(screen_text(app))
        await pilot.press("down", "down", "down")
        assert "▶R12" in "\n".join(screen_text(app))
        await pilot.press("s")
        assert "▶R12" in "\n".join(screen_text(app)), "the same register in the next step"
        await pilot.press("j")
        assert "▶RCX" in "\n".join(screen_text(app)), "another exit"
        await pilot.press("5", "down")
        assert app.panes[GPA_MAP].pointer is None


@pytest.mark.parametrize("size", [(80, 24), (20, 8), (60, 15), (200, 60)])
async def test_it_stays_inside_and_in_view(size: tuple[int, int]) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=size) as pilot:
        for name in ("2", "3", "4"):
            await pilot.press(name)
            pane = app.focused_pane
            for key in ("up", "pagedown", "pagedown", "down", "ctrl+d", "pageup", "end", "down"):
                await pilot.press(key)
                pointer = pane.pointer
                assert pointer is None or 0 <= pointer < pane.count()
                if pane.at is not None and pane.rows:
                    assert pane.top <= pane.at < pane.top + pane.rows


# --- the clipboard ------------------------------------------------------------------------


async def test_a_value_is_copied_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        clipboard = Clipboard(app, monkeypatch)
        app.focus_pane(REGISTERS)
        await pilot.press("down", "down", "down", "y")
        assert app.hints.message.startswith("copied r12 = 0x8000040000000")
        assert "sent by OSC 52" in app.hints.message
        assert "x writes files" in app.hints.message
        app.focus_pane(UAPI)
        await pilot.press("y")
        app.focus_pane(QUEUE)
        await pilot.press("y", "Y")
        assert app.hints.message.startswith("copied exit 1 as text")
        texts = clipboard.texts
        assert texts[:3] == ["0x8000040000000", "3", "MapGPA"]
        assert texts[3].startswith("1  1.0")
        assert "TDG.VP.VMCALL<MapGPA>" in texts[3]


async def test_a_line_without_a_value_is_copied_as_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        clipboard = Clipboard(app, monkeypatch)
        app.focus_pane(UAPI)
        app.panes[UAPI].point(0)
        await pilot.press("y")
        assert clipboard.texts == ["KVM_RUN returned 0"]
        assert app.hints.message.startswith("copied the line")
        await pilot.press("enter")
        assert app.hints.message.startswith("no value in this line")
        app.focus_pane(GPA_MAP)
        await pilot.press("y")
        assert app.hints.message.startswith("nothing to copy")


async def test_nothing_hostile_is_copied_from_any_line(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(demo.hostile())
    async with app.run_test(size=(120, 40)):
        clipboard = Clipboard(app, monkeypatch)
        for name in (DECODE, UAPI, REGISTERS):
            app.focus_pane(name)
            for index in range(app.panes[name].count()):
                app.panes[name].point(index)
                app.action_copy()
        app.action_copy_exit()
        texts = clipboard.texts
    assert len(texts) > 40
    assert any("\\x1b" in text for text in texts)
    assert all(PLAIN.fullmatch(text.replace("\n", "")) for text in texts)


async def test_an_empty_recording_has_nothing_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(Recorder().trace())
    async with app.run_test(size=(80, 24)) as pilot:
        clipboard = Clipboard(app, monkeypatch)
        for key in ("y", "Y", "tab", "y", "Y", "enter", "tab", "down", "enter", "e", "u"):
            await pilot.press(key)
        assert all(text.startswith("No exits in this recording.") for text in clipboard.texts)


def test_a_long_text_is_cut_where_terminals_cut() -> None:
    found = OSC.fullmatch(osc52(Safe("a" * (MOST * 3))))
    assert found is not None
    text = b64decode(found[1]).decode()
    assert len(text) == MOST
    assert text.endswith("a...\n")
    assert len(found[0]) < 74_000
    whole = OSC.fullmatch(osc52(Safe("a" * MOST)))
    assert whole is not None
    assert b64decode(whole[1]).decode() == "a" * MOST


# --- decoded in place ---------------------------------------------------------------------


async def dialog_text(pilot: Pilot[int]) -> str:
    await pilot.pause()
    assert isinstance(pilot.app, ReplayApp)
    return "\n".join(screen_text(pilot.app))


def filter_of(app: ReplayApp) -> str:
    return app.matches.wanted.text if app.matches is not None else ""


async def test_enter_decodes_a_register(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        clipboard = Clipboard(app, monkeypatch)
        app.focus_pane(REGISTERS)
        await pilot.press("down", "down", "down", "enter")
        text = await dialog_text(pilot)
        assert "r12 = 0x8000040000000" in text
        assert "0x40000000  shared: shared bit 51 is set" in text
        assert "f  filter on this: r12 == 0x8000040000000" in text
        await pilot.press("enter")
        assert app.screen is app.screen_stack[0]
        assert filter_of(app) == "", "Enter closes it"
        await pilot.press("enter", "y")
        assert clipboard.texts == ["0x8000040000000"]
        await pilot.press("enter", "f")
        await pilot.pause()
        assert filter_of(app) == "r12 == 0x8000040000000"


async def test_enter_twice_in_the_tree_filters_on_its_row() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        app.focus_pane(DECODE)
        await pilot.press("home", "j", *["pageup"] * 3, "enter")
        assert "Enter  filter on this: leaf == MapGPA" in await dialog_text(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert filter_of(app) == "leaf == MapGPA"
        await pilot.press("n")
        assert app.cursor.row == 3


@pytest.mark.parametrize("size", [(80, 24), (30, 10), (20, 6)])
async def test_every_value_of_hostile_data_can_be_decoded(size: tuple[int, int]) -> None:
    app = app_on(demo.hostile())
    async with app.run_test(size=size) as pilot:
        for name in (UAPI, REGISTERS, DECODE):
            app.focus_pane(name)
            for index in range(0, app.panes[name].count(), 3):
                app.panes[name].point(index)
                await pilot.press("enter")
                text = await dialog_text(pilot)
                assert all(PLAIN.fullmatch(line) for line in text.split("\n"))
                await pilot.press("escape")
        assert len(app.screen_stack) == 1


# --- the mouse ----------------------------------------------------------------------------


def place_of(app: ReplayApp, text: str) -> tuple[int, int]:
    """Where a text stands on the screen."""
    for y, line in enumerate(screen_text(app)):
        if text in line:
            return line.index(text), y
    raise AssertionError(f"not on the screen: {text}")


async def test_a_click_points_and_a_double_click_decodes() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.click(offset=place_of(app, "R13 ◆"))
        assert app.focused is app.panes[REGISTERS]
        assert "▶R13" in "\n".join(screen_text(app))
        await pilot.double_click(offset=place_of(app, "R12 ◆"))
        assert "r12 = 0x8000040000000" in await dialog_text(pilot)
        await pilot.press("escape")
        await pilot.click(offset=place_of(app, "size (R13)"))
        about = app.panes[DECODE].about
        assert about is not None
        assert about.value == 8 << 20


async def test_a_double_click_on_an_exit_offers_its_kind() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.double_click(offset=place_of(app, "v1 HLT"))
        assert app.cursor.row == 2
        assert "Enter  filter on this: leaf == HLT" in await dialog_text(pilot)
        await pilot.click(offset=place_of(app, "Enter  filter on this"))
        await pilot.press("escape")


async def test_the_wheel_scrolls_what_is_under_it() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("?")
        await pilot.pause()
        first = screen_text(app)
        pane = app.screen.query_one("#help")
        await pilot._post_mouse_events([events_down()], pane, offset=(5, 5))
        await pilot.pause()
        assert screen_text(app) != first


def events_down() -> type:
    from textual.events import MouseScrollDown

    return MouseScrollDown


# --- bytes lit elsewhere ------------------------------------------------------------------


async def test_no_bytes_are_lit_from_a_pane_without_them() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("4", "down")
        uapi = "\n".join(line.text for line in lines_of(app, UAPI))
        assert "▶" not in uapi
