"""The panes of the chain and the lanes in the app, and the keys that go along them."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import Status
from tdxdbg.decode.summary import RowSummary
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace, TraceMeta
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.layout import CHAIN, LANES, QUEUE
from tdxdbg.ui.lines import Line
from tdxdbg.ui.panes.chain import ChainPane
from tdxdbg.ui.panes.lanes import LanesPane
from tests.analysis.conversions import MIB, NO_RANGE, RETRY, A, Asked, Other, S, hlt, journal, rows
from tests.ui import demo
from tests.ui.screens import app_on, pane_text, screen_text

B = A + 4 * MIB
FIRST = Asked(S | A, 8 * MIB, RETRY, S | B)
REST = Asked(S | B, 4 * MIB)
INTERRUPTED = samples_dir() / "mapgpa_64mib_interrupted.tdxt"


def chain_pane(app: ReplayApp) -> ChainPane:
    pane = app.panes[CHAIN]
    assert isinstance(pane, ChainPane)
    return pane


def lanes_pane(app: ReplayApp) -> LanesPane:
    pane = app.panes[LANES]
    assert isinstance(pane, LanesPane)
    return pane


# --- the chain --------------------------------------------------------------------------------


async def test_each_request_has_a_line_with_a_bar() -> None:
    app = app_on(INTERRUPTED, at=11)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s", "s", "s", "s")
        text = pane_text(app, CHAIN).splitlines()
        assert text[0] == "P→S 74000000 +64 MiB  v0  3 requests"
        assert text[1] == "   9 █████···········   22M ↻ 75600000"
        assert text[2] == "▶ 11 ═════███████····   48M ↻ 77000000"
        assert text[3] == "    → chunk 5 of 13  75e00000 +2 MiB"
        assert text[4] == "    left private 16 MiB from 77000000"
        assert text[5] == "  14 ════════════████   64M ✓"
        assert [at for at, item in enumerate(chain_pane(app).lines) if item.current] == [2]


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        ("]", 11), ("] ]", 14), ("[", 9), ("] [", 9), ("] ] [ [", 9), ("[ [", 9),
        # Beyond the chain: another one, and none after that.
        ("] ] ]", 16), ("] ] ] ]", 16), ("] ] ] [", 14),
    ],
)  # fmt: skip
async def test_from_link_to_link(keys: str, row: int) -> None:
    app = app_on(INTERRUPTED, at=9)
    names = {"]": "right_square_bracket", "[": "left_square_bracket"}
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*(names[key] for key in keys.split()))
        assert (app.cursor.row, app.cursor.step) == (row, 0)


async def test_what_came_of_a_key_is_said() -> None:
    app = app_on(INTERRUPTED, at=16)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("left_square_bracket")
        assert app.hints.message == "another chain"
        await pilot.press("G", "right_square_bracket")
        assert app.hints.message == "no MapGPA after this exit"
        await pilot.press("g", "left_square_bracket")
        assert app.hints.message == "no MapGPA before it"


@pytest.mark.parametrize(
    ("at", "texts"),
    [
        (0, ["No MapGPA before this exit.", "] goes to the next one"]),
        # The chain is open: the guest still has to call again.
        (10, ["P→S 74000000 +64 MiB  v0  3 requests", "   9 "]),
        (15, ["not of this exit: the last one before", "  14 "]),
    ],
)
async def test_an_exit_that_is_no_request(at: int, texts: list[str]) -> None:
    app = app_on(INTERRUPTED, at=at)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        shown = pane_text(app, CHAIN)
        assert all(text in shown for text in texts)
        assert ("not of this exit" in shown) == (at == 15)


async def test_faults_stand_at_their_request_in_words() -> None:
    again = Asked(S | A, 8 * MIB, RETRY, S | A)
    lost = Asked(S | A, 8 * MIB, RETRY, B)
    app = app_on(journal(again, again, again, lost, hlt()), at=3)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("6", "escape", "z")
        await pilot.pause()
        text = pane_text(app, CHAIN).splitlines()
        shown = [line.strip()[:34] for line in text if line.strip().startswith(("·", "‼"))]
        assert shown == [
            "· RETRY without progress, 1 in a r", "· RETRY without progress, 2 in a r",
            "‼ RETRY without progress, 3 in a r", "‼ R11 has lost the shared bit: a g",
            "‼ not called again: the guest went", "‼ left private: 4 MiB, 40400000 to",
        ]  # fmt: skip
        roles = {line.text.strip()[0]: line.spans[0][1] for line in chain_pane(app).lines
                 if line.text.strip()[0] in "·‼"}  # fmt: skip
        assert roles == {"·": "retry", "‼": "error"}


async def test_where_there_is_little_room_the_first_problem_is_named() -> None:
    calls = [Asked(S | A + at * MIB, (9 - at) * MIB, RETRY, S | A + (at + 1) * MIB)
             for at in range(8)]  # fmt: skip
    app = app_on(journal(*calls, hlt()), at=0)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6", "escape")
        await pilot.pause()
        assert "‼ 2 problems, first at exit 7" in pane_text(app, CHAIN)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (Asked(S | A, 8 * MIB, Status.INVALID_OPERAND, S | A), "‼ INVALID_OPERAND"),
        (Asked(S | A, 8 * MIB, 7, S | A), "‼ 0x7"),
        (Asked(S | A, 0, Status.INVALID_OPERAND, S | A), "‼ INVALID_OPERAND"),
        (Asked(A, 8 * MIB), "S→P 40000000 +8 MiB"),
        (Asked(S | A, 8 * MIB, asked=NO_RANGE), "pages not recorded"),
        (Asked((1 << 64) - 1, (1 << 64) - 1, RETRY, (1 << 64) - 1), "↻ ffff7fffffffffff"),
    ],
)
@pytest.mark.parametrize("size", [(20, 5), (80, 24), (200, 60)])
async def test_any_request_is_shown(call: Asked, text: str, size: tuple[int, int]) -> None:
    app = app_on(journal(call), at=0)
    async with app.run_test(size=size) as pilot:
        await pilot.press("6", "escape")
        await pilot.pause()
        if size[0] > 20:
            assert text in pane_text(app, CHAIN)
        assert all(len(line) == size[0] for line in screen_text(app))


async def test_the_answer_of_userspace_is_waited_for() -> None:
    made = demo.Recorder()
    made.exit(demo.tdvmcall(0x10001, r12=demo.SHARED | A, r13=4 * MIB), lambda step, chunk: None)
    app = app_on(made.trace())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        text = pane_text(app, CHAIN)
        assert "← userspace" in text
        assert "userspace has not answered" in text


async def test_while_userspace_has_it_nobody_knows_how_many_chunks_there_will_be() -> None:
    made = demo.Recorder()
    made.exit(
        demo.tdvmcall(0x10001, r12=demo.SHARED | A, r13=8 * MIB),
        lambda step, chunk: demo.agree(step, chunk) if not chunk else None,
    )
    app = app_on(made.trace())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        await pilot.pause()
        assert "→ chunk 2 of 2+ " in pane_text(app, CHAIN)


async def test_a_click_goes_to_the_request_and_its_faults_are_its_own() -> None:
    app = app_on(journal(FIRST, Other(), Asked(S | B + MIB, 3 * MIB)))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("6", "escape", "z")
        await pilot.pause()
        pane = chain_pane(app)
        at = next(at for at, line in enumerate(pane.lines) if "skipped" in line.text)
        await pilot.click(pane, offset=(10, at + 1))
        assert app.cursor.row == 2
        at = next(at for at, line in enumerate(pane.lines) if line.text.startswith("   0 "))
        await pilot.click(pane, offset=(10, at + 1))
        assert app.cursor.row == 0


async def test_without_registers_it_is_said_why_there_is_none() -> None:
    records = [record._replace(known=0) for row in range(3) for record in rows(row, FIRST)]
    app = app_on(Trace.from_records(TraceMeta(), records))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        text = " ".join(pane_text(app, CHAIN).split())
        assert "The guest's registers were not recorded here" in text


async def test_a_far_request_is_found_while_the_screen_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdxdbg.ui.panes.chain._AT_ONCE", 1)
    trace = journal(FIRST, *[Other()] * 9000, REST)
    app = app_on(trace, at=9001)
    async with app.run_test(size=(120, 40)) as pilot:
        pane = chain_pane(app)
        pane.attach(Timeline(trace))
        pane.show(pane.moment)
        assert "Looking for the MapGPA" in pane_text(app, CHAIN).replace("\n", " ")
        for _ in range(100):
            await pilot.pause(0.02)
            if not pane.searching:
                break
        assert "2 requests" in pane_text(app, CHAIN)


async def test_a_long_search_does_not_hold_the_screen_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdxdbg.ui.chaining.SLICE", 0)
    app = app_on(journal(*[Other()] * 9000, FIRST, Other(vcpu=1)))
    async with app.run_test(size=(80, 24)) as pilot:
        for key in ("link", "same_vcpu"):
            getattr(app, f"action_{key}")(1)
            if app.cursor.row == 0:
                assert app.hints.message == "searching; Esc stops"
            await pilot.press("escape", "g")
            assert (app.hints.message, app.cursor.row) == ("", 0)
        monkeypatch.setattr("tdxdbg.ui.chaining.SLICE", 0.02)
        await pilot.press("right_square_bracket")
        for _ in range(100):
            await pilot.pause(0.02)
            if app.cursor.row:
                break
        assert app.cursor.row == 9000


# --- lanes ------------------------------------------------------------------------------------

MIXED = journal(
    FIRST, Other(30, vcpu=1), Other(), REST, hlt(0), Other(0x99, vcpu=1),
    Asked(A, 0, Status.INVALID_OPERAND, A),
)  # fmt: skip


async def test_a_lane_for_each_vcpu_a_column_for_each_exit() -> None:
    app = app_on(MIXED, at=3)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        lines = pane_text(app, LANES).splitlines()
        assert lines[0] == "▶v0 ↻M──" + "─c─M─h──" + "‼M"
        assert lines[1] == " v1 ───i──" + "────" + "─u──"
        assert lines[2] == "     0     ↑3"
        look = {str(text): role for text, role in lanes_pane(app).lines[0].spans}
        assert (look["↻"], look["‼"]) == ("retry", "error")
        assert badges(lanes_pane(app).lines[0]) == ["M"]
        await pilot.press("j", "j")
        assert badges(lanes_pane(app).lines[1]) == ["u"]
        assert pane_text(app, LANES).splitlines()[1].startswith("▶v1")


def badges(line: Line) -> list[str]:
    return [str(text) for text, role in line.spans if role == "badge"]


@pytest.mark.parametrize(
    ("at", "keys", "row"),
    [
        (0, "}", 2),
        (0, "} }", 3),
        (3, "{", 2),
        (3, "{ { {", 0),
        (1, "}", 5),
        (5, "{", 1),
        (6, "}", 6),
    ],
)
async def test_the_next_exit_of_the_same_vcpu(at: int, keys: str, row: int) -> None:
    app = app_on(MIXED, at=at)
    names = {"}": "right_curly_bracket", "{": "left_curly_bracket"}
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*(names[key] for key in keys.split()))
        assert app.cursor.row == row
        if at == row:
            assert app.hints.message == "no later exit of this vCPU"


async def test_many_vcpus_scroll_and_the_current_one_is_seen() -> None:
    app = app_on(journal(*[Other(vcpu=vcpu) for vcpu in range(40)]))
    async with app.run_test(size=(120, 40)) as pilot:
        pane = lanes_pane(app)
        for row in (0, 20, 39, 5):
            app.go(row)
            await pilot.pause()
            text = pane_text(app, LANES)
            assert f"▶v{row}" in text
            assert "↑" in text.splitlines()[-1]
        assert "of 40 vCPUs" in "".join(text for text, _ in pane.foot) or len(pane._vcpus) < 40
        app.go(39)
        app.go(0)
        shown = pane.lines[0].text
        await pilot.press("7", "escape", "down", "down")
        assert pane.lines[0].text != shown
        await pilot.press("j")
        assert "▶v1 " in pane_text(app, LANES)


async def test_only_the_exits_that_are_seen_are_read() -> None:
    trace = demo.long_run(3000)
    app = app_on(trace)
    async with app.run_test(size=(200, 60)) as pilot:
        pane = lanes_pane(app)
        # The queue's edge counts errors and retries of all of them, in its own time.
        app._surveyed.clear()
        read: list[int] = []
        summary = app.timeline.summary

        def seen_to_read(row: int) -> RowSummary:
            read.append(row)
            return summary(row)

        app.timeline.summary = seen_to_read  # type: ignore[method-assign]
        app.go(1500)
        await pilot.pause()
        assert len(set(read)) < 200
        assert pane_text(app, LANES).count("─i") == len(pane._seen_rows())
        assert 1500 in pane._seen_rows()
        seen = pane._seen_rows()
        await pilot.press("j")
        # The window stays as long as the exit is well inside it.
        assert pane._seen_rows() == seen
        await pilot.press("7", "escape", "right")
        assert pane._seen_rows().start == seen.start + 4


async def test_a_click_goes_to_the_exit_of_the_column() -> None:
    app = app_on(MIXED)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.click(LANES_ID, offset=(1 + 4 + 2 * 5, 2))
        assert app.cursor.row == 5
        await pilot.click(LANES_ID, offset=(30, 1))
        assert app.cursor.row == 5


LANES_ID = f"#{LANES}"


@pytest.mark.parametrize("trace", [journal(), demo.hostile()])
async def test_nothing_and_hostile_text(trace: Trace) -> None:
    app = app_on(trace)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("right_square_bracket", "left_square_bracket", "right_curly_bracket",
                          "left_curly_bracket", "6", "down", "7", "down", "right", "9")  # fmt: skip
        await pilot.pause()
        for name in (CHAIN, LANES):
            text = pane_text(app, name)
            assert text.strip()
            assert "\x1b" not in text
        if not len(trace):
            assert "Here stands how far a MapGPA has come" in pane_text(app, CHAIN).replace(
                "\n", " "
            )


async def test_ascii_only() -> None:
    app = app_on(INTERRUPTED, at=11, ascii_only=True)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("s")
        await pilot.pause()
        text = "\n".join(screen_text(app))
        assert all(" " <= character <= "~" or character == "\n" for character in text)
        assert "> 11 ====" in text
        assert "####----" in text


async def test_the_queue_and_the_chain_show_the_same_moment() -> None:
    app = app_on(INTERRUPTED, at=9)
    async with app.run_test(size=(120, 40)) as pilot:
        for key in ("right_square_bracket", "s", "v", "left_square_bracket"):
            await pilot.press(key)
            assert app.panes[CHAIN].moment is app.panes[QUEUE].moment
            assert app.panes[LANES].moment is app.panes[QUEUE].moment
