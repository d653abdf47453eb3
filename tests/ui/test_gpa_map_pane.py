"""The map on the screen: keys, mouse, what it says, and what it makes of a hostile recording."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.engine import GpaMap, SetMemoryAttributes, Td
from tdxdbg.export import FORMATS, Job, Level
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace
from tdxdbg.traces.records import memory_attributes
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.keys import KEYS, LIVE_KEYS
from tdxdbg.ui.layout import GPA_MAP, QUEUE
from tdxdbg.ui.panes.gpa_map import GpaMapPane
from tests.export.outputs import written
from tests.ui import demo
from tests.ui.live import fill, live_app, until
from tests.ui.screens import app_on, screen_text

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
PAGE = 4096


@asynccontextmanager
async def map_of(
    trace: Trace | Path = RETRY,
    at: int = 9,
    size: tuple[int, int] = (120, 40),
    keys: str = "5 escape z",
    ascii_only: bool = False,
) -> AsyncIterator[tuple[ReplayApp, Pilot[int], GpaMapPane]]:
    app = app_on(trace, at=at, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause()
        yield app, pilot, app.gpa_map


async def test_without_registers_it_says_that_nothing_is_known() -> None:
    job = Job(Timeline(demo.mapgpa()), level=Level.REGISTERS)
    app = app_on(Trace(written(FORMATS["tdxt"].write, job)))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        text = " ".join(screen_text(app))
        assert "Not known: register values were" in text
        assert "still being read" not in text
        assert app.gpa_map.known() is None


def text_of(pane: GpaMapPane) -> str:
    return "\n".join(item.text for item in pane.lines)


def foot_of(pane: GpaMapPane) -> str:
    return "".join(text for text, _ in pane.foot)


def show(pane: GpaMapPane, gpa_map: GpaMap, td: Td | None = None) -> None:
    """Another map, as if the recording had it here."""
    assert pane.moment is not None
    moment = pane.moment._replace(gpa_map=gpa_map, changed=None)
    pane.show(moment if td is None else moment._replace(td=td))


# --- keys -----------------------------------------------------------------------------------


async def test_the_map_follows_the_exit_until_a_key_moves_it() -> None:
    async with map_of(keys="5 escape") as (app, pilot, pane):
        assert "follows" in foot_of(pane)
        first = pane.view.window
        await pilot.press("right")
        assert "stays" in foot_of(pane)
        await pilot.press("1", "escape", "G")
        assert app.cursor.row == 21
        assert pane.view.window == first
        await pilot.press("full_stop")
        assert "follows" in foot_of(pane)
        assert app.desk.view.focus == QUEUE


@pytest.mark.parametrize("key", ["escape", "full_stop"])
async def test_back_to_the_exit(key: str) -> None:
    async with map_of() as (_, pilot, pane):
        before = pane.view.window
        await pilot.press("home", "plus", "plus", "down", key)
        assert pane.view.window == before
        assert not pane.view.moved


@pytest.mark.parametrize("key", ["0", "home"])
async def test_the_whole_map_and_down_to_pages(key: str) -> None:
    async with map_of() as (app, pilot, pane):
        await pilot.press(key)
        assert "2 PiB ▸ whole ▸ 1 TiB a cell" in foot_of(pane)
        assert app.cursor.row == 9
        await pilot.press(*["plus"] * 12)
        assert "▸ 4 KiB a cell" in foot_of(pane)
        assert pane.view.window.sees(0x7400_0000)
        await pilot.press(*["minus"] * 12)
        assert "2 PiB ▸ whole ▸ 1 TiB a cell" in foot_of(pane)


async def test_elsewhere_the_keys_mean_what_they_did() -> None:
    async with map_of(keys="j") as (app, pilot, pane):
        await pilot.press("home")
        assert app.cursor.row == 0
        await pilot.press("1", "0", "G")
        assert app.cursor.row == 10
        await pilot.press("down", "pagedown")
        assert app.cursor.row > 11
        await pilot.press("enter")
        assert not pane.view.listing
        assert not pane.view.moved


async def test_a_count_is_one_also_on_the_map() -> None:
    async with map_of() as (app, pilot, pane):
        await pilot.press("1", "0", "G")
        assert app.cursor.row == 10
        assert not pane.view.moved


@pytest.mark.parametrize(
    ("keys", "cells"),
    [("right", 1), ("left", -1), ("down", 64), ("up", -64), ("right right down left", 65)],
)
async def test_arrows_move_the_cursor_by_cells_and_rows(keys: str, cells: int) -> None:
    async with map_of() as (_, pilot, pane):
        cell, at = pane.view.window.cell, pane.view.at
        assert pane.view.window.columns == 64
        await pilot.press(*keys.split())
        assert pane.view.at == at + cells * cell
        assert f"here    {pane.view.at:x} " in text_of(pane)


async def test_pages_move_the_window() -> None:
    async with map_of() as (_, pilot, pane):
        window = pane.view.window
        await pilot.press("pagedown")
        assert pane.view.window.start == window.end
        assert "[exit]  74000000 +64 MiB shared ↑ " in text_of(pane)
        await pilot.press("pageup", "ctrl+d", "ctrl+u")
        assert pane.view.window == window


async def test_enter_goes_to_the_list_and_back_to_a_range_of_it() -> None:
    async with map_of(at=10, keys="S 5 escape z") as (_, pilot, pane):
        await pilot.press("enter", "home", "enter", "enter")
        await pilot.press("up", "up")
        assert "▶       0 +1856 MiB" in text_of(pane)
        await pilot.press("down")
        assert pane.view.at == 0x7400_0000
        await pilot.press("enter")
        assert pane.view.window.holds(0x7400_0000, 22 << 20)
        assert not pane.view.listing


async def test_a_small_pane_shows_the_list_instead_of_the_map() -> None:
    async with map_of(size=(80, 24), keys="5 escape") as (_, pilot, pane):
        assert "▓ shared" in text_of(pane)
        show(pane, GpaMap(tuple(range(0x40000, 0x40000 + 2000))))
        await pilot.press("enter", "pagedown")
        assert text_of(pane).startswith("1,000 shared ranges, 4000 KiB  1,9")
        assert sum("▶" in item.text for item in pane.lines) == 1
        assert "here" not in text_of(pane)


async def test_at_goes_to_an_address() -> None:
    async with map_of() as (app, pilot, pane):
        await pilot.press("at")
        await fill(pilot, "r12+20M", enter=False)
        assert "GPA 75400000: private" in "\n".join(screen_text(app))
        await pilot.press("enter")
        await pilot.pause()
        assert pane.view.at == 0x7540_0000
        assert "here    75400000" in text_of(pane)


async def test_a_hidden_map_comes_to_the_front_first() -> None:
    async with map_of(size=(80, 24), keys="j") as (app, pilot, pane):
        assert GPA_MAP not in app.desk.arrangement.places
        await pilot.press("plus")
        await pilot.pause()
        assert GPA_MAP in app.desk.arrangement.places
        assert app.desk.view.focus == QUEUE
        assert not pane.view.moved
        await pilot.press("plus")
        assert pane.view.moved


def test_a_live_run_has_the_keys_but_for_those_it_uses_itself() -> None:
    ids = {key.id for key in LIVE_KEYS}
    assert {"map_in", "map_out", "map_follow", "act", "home"} <= ids
    assert "map_address" not in ids
    for table in (KEYS, LIVE_KEYS):
        names = [name for key in table for name in key.keys.split(",")]
        assert len(names) == len(set(names))


async def test_in_a_live_run_memory_is_told_from_where_there_is_none(tmp_path: Path) -> None:
    app = live_app(tmp_path)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("s", "s", "s")
            await until(pilot, app.gpa_map.known)
            show(app.gpa_map, GpaMap(), replace(Td(), memslots=((0, 256),)))
            await pilot.press("5", "escape", "home")
            assert "whole" in foot_of(app.gpa_map)
            show(app.gpa_map, GpaMap(), replace(Td(), memslots=((0, 256),)))
            assert "▀····" in text_of(app.gpa_map)
    finally:
        app.close()


# --- what it says ---------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "keys"), [((80, 24), "5"), ((120, 40), "5"), ((200, 60), "5 z")])
async def test_the_exit_is_outlined_at_every_zoom(size: tuple[int, int], keys: str) -> None:
    async with map_of(size=size, keys=f"{keys} escape") as (_, pilot, pane):
        for key in ("home", *["plus"] * 12):
            await pilot.press(key)
            roles = {role for item in pane.lines for _, role in item.spans}
            assert any("[" in item.text and "]" in item.text for item in pane.lines[:-6])
            assert any("_lit" in role or "_here" in role for role in roles)
        pane.go_to(1 << 40)
        assert any(item.text.count("↑") == 2 for item in pane.lines)
        assert "74000000 +64 MiB shared ↑ ~10" in text_of(pane)
        pane.go_to(0)
        assert any(item.text.count("↓") == 2 for item in pane.lines)
        assert "74000000 +64 MiB shared ↓ " in text_of(pane)


async def test_what_just_changed_is_lit_and_the_cursor_says_so() -> None:
    async with map_of(keys="s 5 escape z") as (_, _, pane):
        assert "changed 74000000 +2 MiB → shared" in text_of(pane)
        roles = {role for item in pane.lines for _, role in item.spans}
        assert any("shared_now" in role for role in roles)
        assert "shared, in this step" in text_of(pane)


async def test_without_colours_to_mix_a_glyph_says_what_a_cell_is() -> None:
    async with map_of(keys="s 5 escape z", ascii_only=True) as (_, _, pane):
        assert not pane.halves
        assert pane.view.window.pitch == 1
        rows = [item.text for item in pane.lines if "]" in item.text]
        assert "74000000[◆▓▓" in rows[0]
        assert "▓░░" in rows[0]
        assert "▀" not in text_of(pane)


async def test_memory_slots_are_told_from_the_rest() -> None:
    async with map_of(keys="5 escape z home") as (_, pilot, pane):
        td = Td(gpaw=52, memslots=((0, 0x80000), (0x100000, 0x180000)))
        show(pane, GpaMap().convert(0x1000, PAGE, private=False), td)
        await pilot.press("at")
        await fill(pilot, "90000000")
        show(pane, GpaMap().convert(0x1000, PAGE, private=False), td)
        pane.view.zoom(20)
        show(pane, GpaMap().convert(0x1000, PAGE, private=False), td)
        text = text_of(pane)
        assert "not mapped, of 80000000 +2 GiB" in text
        assert "100000000 +2 GiB    ░ private" in text
        assert "180000000 +~2.0 PiB · none" in text
        assert "8 GiB" in text


async def test_where_the_history_is_unknown_the_keys_do_nothing() -> None:
    async with map_of() as (_, pilot, pane):
        assert pane.moment is not None
        unknown = pane.moment._replace(gpa_map=None)
        pane.show(unknown)
        assert "still being read" in " ".join(text_of(pane).split())
        assert not pane.pan(1, 0)
        assert not pane.zoom(1)
        await pilot.hover(pane, offset=(30, 10))
        await pilot.click(pane, offset=(30, 10))
        assert not pane.view.moved


async def test_an_empty_recording_has_no_map() -> None:
    async with map_of(demo.Recorder().trace(), at=0) as (_, pilot, pane):
        await pilot.press("plus", "down", "0", "enter", "at", "full_stop")
        assert "No exits in this recording." in text_of(pane)


# --- the mouse ------------------------------------------------------------------------------


async def test_the_mouse_says_what_is_under_it_and_a_click_puts_the_cursor_there() -> None:
    async with map_of() as (_, pilot, pane):
        window = pane.view.window
        # The frame, the overview, and 13 digits and a bracket before the first cell.
        x, y = 1 + 14 + 5, 1 + 1 + 3
        upper = window.start + 6 * window.row + 5 * window.cell
        await pilot.hover(pane, offset=(x, y))
        assert f"here    {upper:x} " in text_of(pane)
        assert not pane.view.moved
        await pilot.click(pane, offset=(x, y))
        assert pane.view.at == upper
        await pilot.click(pane, offset=(x, y))
        assert pane.view.at == upper + window.row
        await pilot.hover(QUEUE_AWAY)
        assert f"here    {upper + window.row:x} " in text_of(pane)


QUEUE_AWAY = "#status"


def wheel(x: int, y: int, *, ctrl: bool = False) -> events.MouseScrollUp:
    return events.MouseScrollUp(None, x, y, 0, 0, 0, False, False, ctrl, x, y)


async def test_the_wheel_zooms_the_map_at_the_mouse_and_scrolls_the_list() -> None:
    async with map_of() as (_, pilot, pane):
        show(pane, GpaMap(tuple(range(0x40000, 0x40000 + 2000))))
        cell = pane.view.window.cell
        pane.post_message(wheel(30, 10))
        await pilot.pause()
        assert pane.view.window.cell < cell
        cell = pane.view.window.cell
        show(pane, GpaMap(tuple(range(0x40000, 0x40000 + 2000))))
        first = pane.lines[1].text
        pane.post_message(wheel(100, 10))
        await pilot.pause()
        assert pane.lines[4].text.split()[-4:-2] == first.split()[-4:-2]
        assert pane.view.window.cell == cell
        pane.post_message(wheel(100, 10, ctrl=True))
        await pilot.pause()
        assert pane.view.window.cell < cell


async def test_a_click_on_a_range_goes_there() -> None:
    async with map_of(at=10, keys="S 5 escape z") as (_, pilot, pane):
        await pilot.click(pane, offset=(100, 2))
        assert pane.view.at == 0
        await pilot.click(pane, offset=(100, 3))
        assert pane.view.at == 0x7400_0000
        await pilot.click(pane, offset=(100, 30))
        assert pane.view.at == 0x7400_0000


# --- hostile recordings and sizes ------------------------------------------------------------


def hostile() -> Trace:
    """Conversions of everything, of nothing, and around the end; a VMM that converts too much."""
    made = demo.Recorder()
    top = (1 << 64) - 1
    for gpa, size in ((0, top), (top, top), (0, 0), (1 << 51, 1 << 51), ((1 << 52) - PAGE, PAGE)):
        event = demo.tdvmcall(SubFunction.MAP_GPA, r12=gpa, r13=size)
        made.exit(event, demo.interrupted_after(2))
        made.exit(demo.tdvmcall(SubFunction.MMIO, r12=top, r13=1, r14=gpa, r15=top))
        body = SetMemoryAttributes(gpa & ~0xFFF, (size & ~0xFFF) % (1 << 63), False)
        made.records.append(memory_attributes(made.row - 1, 0, body, made.tick()))
    made.exit(demo.tdvmcall(SubFunction.HLT, r12=0))
    return made.trace()


@pytest.mark.parametrize("size", [(20, 5), (30, 10), (60, 15), (80, 24), (200, 60)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_no_range_is_too_odd_to_be_drawn(size: tuple[int, int], ascii_only: bool) -> None:
    async with map_of(hostile(), 0, size, "5 escape", ascii_only) as (app, _, pane):
        for row in range(11):
            app.go(row)
            for action in (
                pane.see_all, lambda: pane.zoom(1), lambda: pane.page(9), lambda: pane.zoom(9),
                lambda: pane.pan(-1, 1), pane.enter, lambda: pane.pan(0, 2), pane.enter,
                lambda: pane.go_to((1 << 52) - 1), pane.follow,
            ):  # fmt: skip
                assert action()
                assert pane.view.window.sees(pane.view.at)
                assert len(pane.lines) <= max(pane.rows, 1)
        assert app.cursor.row == 10


async def test_resizing_keeps_what_is_looked_at() -> None:
    async with map_of(keys="5 escape z down down right") as (_, pilot, pane):
        at, cell = pane.view.at, pane.view.window.cell
        for width, height in ((200, 60), (60, 15), (20, 5), (80, 24), (10, 3), (120, 40)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert pane.view.at == at
            assert pane.view.window.sees(at)
        assert pane.view.window.cell == cell


async def test_a_step_makes_only_the_rows_anew_that_it_changed() -> None:
    async with map_of(keys="5 escape z") as (_, _, pane):
        gpa_map = GpaMap(tuple(range(0x74000, 0x74000 + 4000)))
        show(pane, gpa_map)
        pane.go_to(0x7400_0000)
        pane.zoom(20)
        before = list(pane.lines)
        show(pane, gpa_map.convert(0x7400_1000, PAGE, private=False))
        changed = [
            old.text[:78] != new.text[:78] for old, new in zip(before, pane.lines, strict=True)
        ]
        assert sum(changed[:-4]) <= 2
        assert all(changed[at] or before[at] == pane.lines[at] for at in range(40, len(changed)))
