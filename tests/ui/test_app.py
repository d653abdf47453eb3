"""Keys, focus and what the panes say, on the app without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.engine import GENERATIONS
from tdxdbg.traces import Trace, TraceMeta
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.keys import BY_ID, HINTS, KEYS
from tdxdbg.ui.layout import CHAIN, CODE, DECODE, GPA_MAP, LANES, QUEUE, REGISTERS, UAPI
from tdxdbg.ui.panes import PANES
from tests.ui import demo
from tests.ui.screens import app_on, pane_text, screen_text

LAST = 10


def place(app: ReplayApp) -> tuple[int, int]:
    return app.cursor.row, app.cursor.step


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("j", (1, 0)),
        ("j j k", (1, 0)),
        ("k", (0, 0)),
        ("down down up", (1, 0)),
        ("s", (0, 1)),
        ("s s", (1, 0)),
        ("s s S", (0, 1)),
        ("space space backspace", (0, 1)),
        ("S", (0, 0)),
        ("G", (LAST, 0)),
        ("end home", (0, 0)),
        ("G g", (0, 0)),
        ("G j", (LAST, 0)),
        ("3 G", (3, 0)),
        ("1 0 G", (10, 0)),
        ("4 1 5 G", (LAST, 0)),
        ("3 escape G", (LAST, 0)),
        ("3 j G", (LAST, 0)),
        ("pagedown", (7, 0)),
        ("ctrl+d ctrl+d", (6, 0)),
        ("G ctrl+u", (7, 0)),
        ("G pageup", (3, 0)),
        ("n", (0, 0)),
    ],
)
async def test_moving(keys: str, expected: tuple[int, int]) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys.split())
        assert place(app) == expected
        moment = app.panes[QUEUE].moment
        assert moment is not None
        assert (moment.row, moment.step) == expected
        assert all(pane.moment is moment for pane in app.panes.values())


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("n", 1), ("n n", 3), ("n n N", 1), ("n n n n n n", 8), ("N", 0), ("G N", 7)],
)
async def test_matches_of_the_filter(keys: str, expected: int) -> None:
    app = app_on(demo.mapgpa(), wanted="leaf == MapGPA")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause(0.1)
        assert place(app) == (expected, 0)
        assert "5 matches" in "\n".join(screen_text(app))


async def test_no_more_match_is_said() -> None:
    app = app_on(demo.mapgpa(), wanted="status == RETRY", at=8)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        assert app.hints.message == "no match after this exit"
        await pilot.press("j")
        assert app.hints.message == ""


async def test_a_long_search_does_not_hold_the_screen_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdxdbg.ui.core.SLICE", 0)
    app = app_on(demo.long_run(1500), wanted="index == 1499")
    async with app.run_test(size=(80, 24)) as pilot:
        app.action_match(1)
        assert app.hints.message == "searching; Esc stops"
        await pilot.press("escape")
        assert app.hints.message == ""
        assert place(app) == (0, 0)
        monkeypatch.setattr("tdxdbg.ui.core.SLICE", 0.02)
        await pilot.press("n")
        for _ in range(300):
            await pilot.pause(0.02)
            if app.cursor.row:
                break
        assert place(app) == (1499, 0)


# --- focus and panes ----------------------------------------------------------------------


async def test_the_queue_has_the_focus_first() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert app.focused is app.panes[QUEUE]


@pytest.mark.parametrize(
    ("keys", "focus"),
    [
        ("tab", DECODE),
        ("tab tab", UAPI),
        ("shift+tab", CODE),
        ("tab tab tab tab tab tab tab tab tab", QUEUE),
        ("6", CHAIN),
        ("7", LANES),
        ("9", CODE),
        ("4", REGISTERS),
        ("5 1", QUEUE),
        ("4 1 G", QUEUE),
        ("0", QUEUE),
    ],
)
@pytest.mark.parametrize("size", [(40, 10), (120, 40)])
async def test_focus(keys: str, focus: str, size: tuple[int, int]) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=size) as pilot:
        for key in keys.split():
            await pilot.press(key)
            # A count would go on otherwise.
            if key.isdigit() and "G" not in keys:
                await pilot.press("escape")
        await pilot.pause()
        assert app.focused is app.panes[focus]
        assert app.panes[focus].size.width > 0


async def test_arrows_point_in_the_focused_pane_and_j_moves_in_the_queue() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab", "up", "up", "right")
        decode = app.panes[DECODE]
        assert place(app) == (1, 0)
        pointer, top = decode.pointer or 0, decode.top
        await pilot.press("down")
        assert decode.pointer == pointer + 1
        await pilot.press("pagedown")
        assert decode.pointer == pointer + 1 + decode.rows
        assert decode.top > top
        await pilot.press("pageup", "pageup", "pageup")
        assert (decode.pointer, decode.top) == (0, 0)
        await pilot.press("j")
        assert place(app) == (2, 0)
        assert any(item.current for item in decode._seen())


async def test_zoom_shows_one_pane_and_comes_back() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "z")
        await pilot.pause()
        assert app.panes[UAPI].size == (120, 38)
        assert app.panes[QUEUE].size.width == 0
        await pilot.press("j", "z")
        await pilot.pause()
        seen = app.desk.arrangement.places
        assert all(pane.size.width for name, pane in app.panes.items() if name in seen)
        assert "▶   2" in "\n".join(screen_text(app))


async def test_the_mouse_chooses_rows_tabs_and_panes_and_scrolls() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.click(app.panes[QUEUE], offset=(20, 4))
        assert place(app) == (3, 0)
        decode = app.panes[DECODE]
        await pilot.click(decode, offset=(16, 0))
        await pilot.pause()
        assert app.focused is app.panes[UAPI]
        await pilot.click(app.panes[REGISTERS], offset=(5, 5))
        assert app.desk.view.focus == REGISTERS
        app.panes[QUEUE].wheel(3)
        await pilot.pause()
        assert app.panes[QUEUE].top == 3
        assert place(app) == (3, 0)


@pytest.mark.parametrize("size", [(1, 1), (19, 4), (20, 5), (300, 99)])
async def test_any_size_and_live_resizing(size: tuple[int, int]) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=size) as pilot:
        await pilot.press("j", "s", "tab", "z", "z")
        for other in ((200, 60), (80, 24), (1, 1), (120, 40), size):
            await pilot.resize_terminal(*other)
            await pilot.press("s", "tab")
        await pilot.pause()
        assert len(screen_text(app)) == size[1]
        assert all(len(text) == size[0] for text in screen_text(app))


def without_marks(lines: list[str]) -> list[str]:
    """Without the queue's edge: what was found of the rest of the recording comes there later."""
    edge = lines[1].index("╗")
    return [line[:edge] + line[edge + 1 :] for line in lines]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_first_frame_has_everything(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=size):
        expected = without_marks(screen_text(app))
    # What comes when the panes are told their size comes a frame later.
    for base in {base for pane in PANES.values() for base in pane.__mro__}:
        if "on_resize" in vars(base):
            monkeypatch.setattr(base, "on_resize", lambda pane: None)
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=size):
        assert without_marks(screen_text(app)) == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((30, 10), "enlarge to 80x24"),
        ((40, 10), "Tab: next pane"),
        ((79, 14), "one pane at a time"),
        ((70, 20), "enlarge to 80x24"),
        ((10, 3), "20x5"),
    ],
)
async def test_a_small_terminal_says_so(size: tuple[int, int], text: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert text in "\n".join(screen_text(app))


# --- panes ----------------------------------------------------------------------------------


async def test_a_retry_is_explained() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s", "s")
        decode = pane_text(app, DECODE)
        assert "▶2 TD entry  RETRY" in decode
        assert "an event is pending" in " ".join(decode.split())
        registers = pane_text(app, REGISTERS)
        assert "R10 ◆ 0 → 1 RETRY" in registers
        assert "R11 ◆ 10001 → 8000040400000 resume here" in registers
        gpa_map = pane_text(app, GPA_MAP)
        assert "[exit]  40000000 +8 MiB shared" in gpa_map
        assert "1 shared range, 4 MiB" in gpa_map
        assert "exit 1/10  step 2/2  v0  kernel 7.2 recorded" in screen_text(app)[0]


async def test_userspace_sees_a_chunk() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        uapi = pane_text(app, UAPI)
        assert "hypercall.nr" in uapi
        assert "MAP_GPA pending" in uapi
        assert "← hypercall.ret" in uapi
        assert "changed 40000000 +2 MiB → shared" in pane_text(app, GPA_MAP)
        assert "TD not entered" in pane_text(app, REGISTERS)


async def test_the_conversion_of_a_step_is_lit() -> None:
    app = app_on(demo.mapgpa(), at=8)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        text = pane_text(app, GPA_MAP)
        assert "[exit]  40000000 +4 KiB private" in text
        assert "changed 40000000 +4 KiB → private" in text
        roles = {role for item in app.panes[GPA_MAP].lines for _, role in item.spans}
        assert any("private_now" in role for role in roles)


async def test_an_exit_done_in_the_kernel_says_so() -> None:
    app = app_on(demo.mapgpa(), at=9)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "Handled in the kernel" in pane_text(app, UAPI)


async def test_registers_that_rcx_hides_are_marked() -> None:
    made = demo.Recorder()
    made.exit(demo.tdvmcall(0x1, mask=0x0C00, r12=5))
    app = app_on(made.trace())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        registers = pane_text(app, REGISTERS)
        assert "R12 · hidden" in registers
        assert "R10 ◆" in registers


async def test_no_exits() -> None:
    app = app_on(Trace.from_records(TraceMeta(), []))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "s", "S", "G", "g", "n", "v", "V", "3", "G", "tab", "z", "pagedown")
        await pilot.press("escape", "a")
        await pilot.pause()
        await pilot.press("escape")
        assert "No exits in this recording." in "\n".join(screen_text(app))


# --- another kernel ---------------------------------------------------------------------------


async def test_every_kernel_in_place_and_back() -> None:
    app = app_on(demo.mapgpa(), at=7)
    async with app.run_test(size=(120, 40)) as pilot:
        names = []
        for _ in GENERATIONS:
            await pilot.press("v")
            names.append(app.timeline.generation.name)
            assert place(app) == (7, 0)
            assert ("WHAT IF" in screen_text(app)[0]) == (names[-1] != "7.2")
        assert sorted(names) == sorted(item.name for item in GENERATIONS)
        assert names[-1] == "7.2"
        await pilot.press("V")
        assert app.timeline.generation.name == "6.16"


async def test_another_kernel_gives_the_guest_another_status() -> None:
    app = app_on(demo.mapgpa(), at=10)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "SUBFUNC_UNSUPPORTED" in pane_text(app, DECODE)
        await pilot.press("V", "V")
        assert app.timeline.generation.name == "6.16-rc1"
        assert "INVALID_OPERAND" in pane_text(app, DECODE)


async def test_the_kernel_chooser() -> None:
    app = app_on(demo.mapgpa(), at=3)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("K", "g", "enter")
        await pilot.pause()
        assert app.timeline.generation.name == "v19"
        await pilot.press("K", "j", "escape")
        await pilot.pause()
        assert app.timeline.generation.name == "v19"
        assert app.focused is app.panes[QUEUE]


# --- the rest ---------------------------------------------------------------------------------


async def test_help_lists_every_key() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(200, 70)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        text = "\n".join(screen_text(app))
        for key in KEYS:
            assert key.shown in text
            assert key.help in text
        await pilot.press("q")
        await pilot.pause()
        assert app.focused is app.panes[QUEUE]
        assert app.is_running


async def test_about_lists_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.tdxt"
    whole = demo.mapgpa().data()
    path.write_bytes(whole[:-100])
    app = app_on(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert app.hints.message.startswith("‼ 1 problem in this file")
        await pilot.press("a")
        await pilot.pause()
        text = "\n".join(screen_text(app))
        assert "damaged, missing" in text
        assert "MapGPA of 8 MiB, interrupted twice" in text


async def test_export_writes_a_new_file_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        for number in (1, 2):
            await pilot.press("x", "enter")
            await pilot.pause()
            assert app.hints.message == f"wrote tdxdbg-{number}.svg"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["tdxdbg-1.svg", "tdxdbg-2.svg"]


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("ctrl+q", 0), ("ctrl+c", 130)])
async def test_quitting(key: str, code: int) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
    assert app.return_code == code


async def test_ascii_mode_draws_ascii_only() -> None:
    app = app_on(demo.mapgpa(), at=1, ascii_only=True, wanted="retry")
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("s", "s")
        assert all(" " <= character <= "~" for text in screen_text(app) for character in text)


def test_keys_are_unique_and_have_actions() -> None:
    names = [name for key in KEYS for name in key.keys.split(",")]
    assert len(names) == len(set(names))
    for key in KEYS:
        assert hasattr(ReplayApp, f"action_{key.action.partition('(')[0]}")
        assert key.id in BY_ID
    assert all(id in BY_ID for ids, _ in HINTS for id in ids)
