"""The hex pane beside the uAPI pane: what is lit in one is lit in the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace, open_trace
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.layout import HEX, QUEUE, REPLAY, UAPI, Band, Place, Plan
from tdxdbg.ui.panes.hex import HexPane
from tdxdbg.ui.themes import choose, load_themes
from tests.ui import demo
from tests.ui.demo import Recorder, tdvmcall


class HexApp(ReplayApp, inherit_bindings=False):
    """The queue over uAPI and hex at every size, so that both are seen."""

    BINDINGS = ReplayApp.BINDINGS
    PLAN: ClassVar[Plan] = Plan(
        REPLAY.panes,
        dict.fromkeys(
            REPLAY.shapes,
            (Band((Place((QUEUE,)),), 4), Band((Place((UAPI,)), Place((HEX,))), 36)),
        ),
    )


def hex_app(trace: Trace, at: int = 0, *, ascii_only: bool = False) -> HexApp:
    return HexApp(trace, choose(load_themes(), None), at=at, ascii_only=ascii_only)


def pane_of(app: HexApp) -> HexPane:
    pane = app.panes[HEX]
    assert isinstance(pane, HexPane)
    return pane


def rows(app: HexApp) -> dict[str, str]:
    """The lines by their offset."""
    pane = pane_of(app)
    texts = [pane.line_at(index).text for index in range(pane.count())]
    return {text[:4]: text[4:] for text in texts}


async def test_exit_reason_flags_and_the_member_in_hex_and_ascii() -> None:
    app = hex_app(demo.mapgpa(), 1)
    async with app.run_test(size=(160, 40)):
        found = rows(app)
        assert found["0000"].startswith(" " * 25 + "03 00 00 00")
        assert found["0020"].startswith(" 0c 00 00 00 00 00 00 00 00 00 00 40 00 00 00 00 ")
        assert found["0020"].rstrip().endswith(".......@....")
        assert found["0040"].startswith(" ??" * 16), "arguments that KVM does not write"
        assert "more bytes: " in found["0070"]


async def test_port_data_and_unknown_bytes() -> None:
    made = Recorder()
    made.exit(tdvmcall(SubFunction.IO, r12=1, r13=1, r14=0x3F8, r15=ord("h")))
    app = hex_app(made.trace())
    async with app.run_test(size=(160, 40)):
        found = rows(app)
        assert found["1000"].lstrip().startswith("68")
        assert "h" in found["1000"][-16:]
    with open_trace(samples_dir() / "v1_stale_hypercall_ret.tdxt") as trace:
        app = hex_app(trace, 1)
        async with app.run_test(size=(160, 40)):
            assert "·" in rows(app)["0050"], "ret, which this kernel does not write"
            assert "208 not recorded" not in rows(app)["0050"]
            assert "??" in "".join(rows(app).values())


@pytest.mark.parametrize(("width", "count"), [(80, 8), (160, 16), (40, 4)])
async def test_as_many_bytes_in_a_line_as_fit(width: int, count: int) -> None:
    app = hex_app(demo.mapgpa(), 1)
    async with app.run_test(size=(width, 40)):
        pane = pane_of(app)
        # A terminal of 40 cells shows one pane.
        app.focus_pane(HEX)
        assert pane.width == (count if width > 60 else 4)
        assert all(len(line.text) <= pane.columns for line in pane.lines[:-1])


async def test_the_field_under_the_cursor_of_uapi_is_lit_in_hex() -> None:
    app = hex_app(demo.mapgpa(), 1)
    async with app.run_test(size=(160, 40)) as pilot:
        app.focus_pane(UAPI)
        uapi = app.panes[UAPI]
        for index in range(uapi.count()):
            about = uapi.line_at(index).about
            if about is None or about.where is None:
                continue
            uapi.point(index)
            width = pane_of(app).width * 3 + 1
            digits = "".join(line.text[4 : 4 + width] for line in pane_of(app).lines)
            assert digits.count("[") == 1, (about, digits)
            assert digits.count("]") == 1
            inside = digits[digits.index("[") + 1 : digits.index("]")].split()
            value = about.value
            if isinstance(value, int):
                expected = value.to_bytes(about.where[1], "little").hex(" ").split()
                assert inside[: len(expected)] == expected
        await pilot.press("1")
        assert "[" not in "".join(rows(app).values())


async def test_the_byte_under_the_cursor_of_hex_is_lit_in_uapi() -> None:
    app = hex_app(demo.mapgpa(), 1)
    async with app.run_test(size=(160, 40)) as pilot:
        app.focus_pane(HEX)
        pane = pane_of(app)
        assert pane.about is not None
        assert pane.about.name == "exit_reason"
        await pilot.press("down")
        assert pane.byte == 0x28
        assert pane.about is not None
        assert pane.about.name == "hypercall.args[0]"
        lit = [line.text for line in app.panes[UAPI].lines if line.text[4:5] == "▶"]
        assert [text.split()[1] for text in lit] == [".args[0]"]
        await pilot.press("right", "right", "y")
        assert pane.byte == 0x2A
        assert app.hints.message.startswith("copied hypercall.args[0] = 0x40000000")
        for cells, lines in [(-4, 0)] * 80 + [(0, -1)] * 9:
            app.action_arrow(cells, lines)
        assert pane.byte == 8
        for cells, lines in [(4, 0)] * 400 + [(0, 1)] * 40:
            app.action_arrow(cells, lines)
        assert pane.byte == max(at for at in pane._bytes if at < 0x70)


async def test_a_click_chooses_a_byte() -> None:
    app = hex_app(demo.mapgpa(), 1)
    async with app.run_test(size=(160, 40)) as pilot:
        pane = pane_of(app)
        row = pane._line_of(0x58)
        await pilot.click(pane, offset=(1 + 4 + 3 * 8 + 1, row + 1))
        assert pane.byte == 0x58
        assert pane.about is not None
        assert pane.about.name == "hypercall.ret"
        await pilot.double_click(pane, offset=(1 + 4 + 1, row + 1))
        await pilot.pause()
        assert len(app.screen_stack) == 2


async def test_a_step_and_an_exit_without_bytes_say_so() -> None:
    app = hex_app(demo.mapgpa(), 1)
    async with app.run_test(size=(160, 40)) as pilot:
        before = rows(app)
        app.go(1, app.timeline.steps(1) - 1)
        assert rows(app).keys() == before.keys(), "what the last exit left there"
        await pilot.press("j")
        assert "Handled in the kernel" in "".join(pane_of(app).lines[0].text)
        app.focus_pane(HEX)
        for key in ("down", "right", "y", "enter", "pagedown"):
            await pilot.press(key)
        assert pane_of(app).about is None


def test_every_exit_of_every_sample_can_be_drawn() -> None:
    drawn = 0
    for path in sorted(samples_dir().glob("*.tdxt")):
        with open_trace(path) as trace:
            line = Timeline(trace)
            pane = HexPane(HEX)
            pane.attach(line)
            for row in range(len(line)):
                moment = line.moment(row, 0)
                drawn += len(pane.draw(moment)[0])
    assert drawn > 500


@pytest.mark.parametrize("ascii_only", [False, True])
def test_hex(snap_compare: Callable[..., bool], ascii_only: bool) -> None:
    app = hex_app(demo.mapgpa(), 1, ascii_only=ascii_only)
    assert snap_compare(app, press=["3", "escape", *["down"] * 5], terminal_size=(120, 30))
