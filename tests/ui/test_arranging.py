"""Sizes and layouts in the app: keys, the mouse, dialogs, another size of the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.ui.layout import CHAIN, DECODE, QUEUE, REGISTERS, UAPI
from tdxdbg.ui.layouts import layout_names
from tests.ui import demo
from tests.ui.screens import app_on, screen_text

SIZES = [(200, 60), (160, 40), (120, 40), (112, 30), (80, 50), (80, 24), (60, 15), (40, 10)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tdxdbg.ui.layouts.layouts_folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("keys", "wider", "higher"),
    [
        ("greater_than_sign", 4, 0),
        ("less_than_sign", -4, 0),
        ("ctrl+down", 0, 2),
        ("ctrl+up", 0, -2),
        ("greater_than_sign ctrl+down less_than_sign", 0, 2),
        ("greater_than_sign ctrl+up equals_sign", 0, 0),
        ("less_than_sign " * 30, -16, 0),
    ],
)
async def test_keys_move_borders(keys: str, wider: int, higher: int) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "escape")
        width, height = app.panes[UAPI].outer_size
        await pilot.press(*keys.split())
        await pilot.pause()
        assert app.panes[UAPI].outer_size == (width + wider, height + higher)
        assert app.focused is app.panes[UAPI]


@pytest.mark.parametrize(
    ("size", "text"),
    [((80, 24), "this border cannot be moved further"), ((40, 12), "one pane is shown")],
)
async def test_a_border_that_does_not_move_is_said(size: tuple[int, int], text: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=size) as pilot:
        await pilot.press("greater_than_sign")
        assert text in app.hints.message


async def test_the_mouse_drags_a_border() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        decode = app.panes[DECODE]
        width, height = decode.outer_size
        await pilot.mouse_down(decode, offset=(width - 1, 3))
        await pilot.hover(decode, offset=(width + 4, 3))
        await pilot.mouse_up(decode, offset=(width + 4, 3))
        await pilot.pause()
        assert decode.outer_size == (width + 5, height)
        await pilot.hover(decode, offset=(10, 3))
        await pilot.pause()
        assert decode.outer_size == (width + 5, height)


async def test_a_layout_is_saved_and_used_by_name(folder: Path) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "escape", "greater_than_sign", "greater_than_sign")
        await pilot.press("ctrl+w", "s", *"mine", "enter")
        await pilot.pause()
        assert app.hints.message == "layout mine saved: Ctrl-w brings it back"
        wide = app.panes[UAPI].outer_size
        await pilot.press("ctrl+w", "1")
        await pilot.pause()
        assert app.panes[UAPI].outer_size.width == wide.width - 8
        assert app.focused is app.panes[QUEUE]
        await pilot.press("ctrl+w", "2")
        await pilot.pause()
        assert app.panes[UAPI].outer_size == wide
        assert app.focused is app.panes[UAPI]
        assert layout_names(folder) == ["mine"]
        assert app.layout_names() == ["default", "mine"]
        app.action_layout_delete("mine")
        assert app.hints.message == "layout mine deleted"
        assert layout_names(folder) == []


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("use", "there is no layout nope; layouts: default"),
        ("save", "layout nope not saved: "),
        ("delete", "there is no saved layout nope"),
    ],
)
async def test_what_goes_wrong_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, action: str, text: str
) -> None:
    (folder / "file").write_text("")
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)):
        if action == "save":
            monkeypatch.setattr("tdxdbg.ui.layouts.layouts_folder", lambda: folder / "file")
        getattr(app, f"action_layout_{action}")("nope")
        assert app.hints.message.startswith(text)


async def test_a_wrong_name_is_not_taken() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+w", "s", *"../x", "enter")
        assert "a name has lower-case letters" in "\n".join(screen_text(app))
        await pilot.press("escape")
        assert app.hints.message == ""
        await pilot.press("ctrl+w", "escape")
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("keys", ["2 escape", "6 escape z", "4 escape less_than_sign"])
async def test_focus_zoom_and_scroll_outlive_any_size(keys: str) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s", *keys.split())
        await pilot.pause()
        view = app.desk.view
        places = app.desk.arrangement.places
        pane = app.panes[view.focus]
        scrolled = pane.top, pane.left, pane.pointer
        for size in (*SIZES, *reversed(SIZES)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.focused is app.panes[view.focus]
            assert app.panes[view.focus].outer_size.width > 0
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert app.desk.view == view
        assert app.desk.arrangement.places == places
        assert (pane.top, pane.left, pane.pointer) == scrolled


async def test_a_pane_that_was_scrolled_stays_so() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(80, 24)) as pilot:
        registers = app.panes[REGISTERS]
        await pilot.press("4", "escape")
        registers.scroll_lines(3)
        assert registers.top == 3
        for size in ((200, 60), (60, 15), (120, 40), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        assert registers.top == 3
        await pilot.press("j")
        assert registers.top == 0


async def test_sizes_belong_to_a_shape() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("6", "escape", "greater_than_sign", "ctrl+down")
        await pilot.pause()
        mine = app.panes[CHAIN].outer_size
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        await pilot.press("less_than_sign")
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert app.panes[CHAIN].outer_size == mine


@pytest.mark.parametrize(
    ("text", "good", "says", "start", "words"),
    [
        ("", True, "layouts: default, mine", 0, ("default", "mine", "save", "delete")),
        ("m", False, "layouts: default, mine", 0, ("mine",)),
        ("mine", True, "layout mine", 0, ("mine",)),
        ("default", True, "layout default", 0, ("default",)),
        ("save mine", True, "in place of the layout mine", 5, ("mine",)),
        ("save other", True, "layout other", 5, ()),
        ("save ../x", False, "a name has", 5, ()),
        ("save default", False, "take another name", 5, ()),
        ("delete m", False, "forget", 7, ("mine",)),
        ("delete mine", True, "forget the layout mine", 7, ("mine",)),
    ],
)
async def test_a_layout_on_a_command_line(
    text: str, good: bool, says: str, start: int, words: tuple[str, ...]
) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)):
        app.command_layout("save mine")
        verdict = app.judge_layout(text, len(text))
        assert (verdict.good, verdict.start, verdict.words) == (good, start, words)
        assert says in verdict.says


async def test_commands_of_layouts(folder: Path) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("6", "escape", "greater_than_sign", "z")
        app.command_layout("save mine")
        before = app.desk.view
        app.command_layout("default")
        assert app.desk.view != before
        app.command_layout("mine")
        assert app.desk.view == before
        app.command_layout("delete mine")
        assert layout_names(folder) == []
        app.command_layout("mine")
        assert app.hints.message.startswith("there is no layout mine")
        app.command_layout("")
        await pilot.pause()
        assert len(app.screen_stack) == 2


async def test_the_panes_of_a_screen_as_plain_data() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        assert app.save_view() is None
        await pilot.press("3", "escape", "less_than_sign")
        saved, view = app.save_view(), app.desk.view
        app.action_layout_use("default")
        assert app.load_view(saved) == "layout"
        assert app.desk.view == view
        assert app.load_view({"version": 1, "focus": "uapi"}) == ""
        nonsense: tuple[object, ...] = (None, [], {"version": 9})
        for wrong in nonsense:
            with pytest.raises(ValueError, match="is no layout"):
                app.load_view(wrong)
