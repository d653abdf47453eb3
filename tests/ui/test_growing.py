"""A recording that grows while one looks at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.traces import Record, TraceMeta, Writer, open_trace
from tests.ui import demo
from tests.ui.screens import app_on, screen_text
from tests.ui.test_filtering import SIZE, listed


def journal() -> list[Record]:
    made = demo.Recorder()
    for count in range(12):
        made.exit(demo.tdvmcall(30, r12=1, r13=1, r14=0x3F8 + count % 2, r15=65 + count))
    return made.records


async def test_it_stays_at_the_end_until_one_looks_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdxdbg.ui.growing.POLL", 1000)
    records = journal()
    path = tmp_path / "growing.tdxt"
    meta = TraceMeta(generation="7.2", td=demo.TD, source="the tests")
    with Writer(path, meta) as writer:

        def write(row: int) -> None:
            for record in records:
                if record.row == row:
                    writer.write(record)

        write(0)
        app = app_on(open_trace(path))
        app.follow_from_start()
        async with app.run_test(size=SIZE) as pilot:
            assert " FOLLOW " in screen_text(app)[0]
            app.action_breakpoint("port == 0x3f8")
            app.command_filter("port == 0x3f9")
            await pilot.pause(0.1)
            for row in range(1, 6):
                write(row)
                app._poll()
                await pilot.pause(0.1)
                assert app.cursor.row == row
                assert app.matches is not None
                assert [*app.matches.rows] == [*range(1, row + 1, 2)]
                assert app.stops.listing()[0]["hits"] == row // 2 + 1
            await pilot.press("escape", "k")
            assert " FOLLOW " not in screen_text(app)[0]
            write(6)
            app._poll()
            await pilot.pause(0.1)
            assert app.cursor.row == 4
            assert listed(app) == [*range(7)], "the rows are there all the same"
            await pilot.press("f")
            assert app.cursor.row == 6
            assert app.hints.message.startswith("following the recording")
            await pilot.press("S")
            write(7)
            app._poll()
            assert app.cursor.row == 6, "a step back is a look elsewhere"
            await pilot.press("G")
            write(8)
            app._poll()
            await pilot.pause()
            assert app.cursor.row == 7, "the last exit has steps behind the first"
            app.trace.close()


async def test_what_cannot_grow_says_so() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("f")
        assert "does not grow" in app.hints.message
        assert "FOLLOW" not in screen_text(app)[0]


async def test_from_the_first_exit_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdxdbg.ui.growing.POLL", 1000)
    path = tmp_path / "growing.tdxt"
    meta = TraceMeta(generation="7.2", td=demo.TD, source="the tests")
    with Writer(path, meta) as writer:
        app = app_on(open_trace(path), wanted="port == 0x3f8")
        app.follow_from_start()
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            assert "No exits in this recording." in "\n".join(screen_text(app))
            for record in journal()[:12]:
                writer.write(record)
                app._poll()
                await pilot.pause()
                assert "▶   0" in "\n".join(screen_text(app)) or app.cursor.row
            await pilot.pause(0.1)
            assert app.cursor.row == 2
            assert listed(app) == [0, 2]
            app.trace.close()


async def test_a_file_that_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "cut.tdxt"
    path.write_bytes(demo.long_run(3000).data())
    app = app_on(path)
    async with app.run_test(size=SIZE) as pilot:
        assert "port 0x3f8 1B 0x0" in screen_text(app)[2]
        path.write_bytes(b"another file")
        app._poll()
        assert "overwritten or cut while it was open" in app.hints.message
        await pilot.pause()
        assert "port 0x3f8 1B 0x0" in screen_text(app)[2], "what was read stays"
        await pilot.press("G", "k", "S", "s", "/", *"port == 1", "enter")
        await pilot.pause(0.1)
        assert app.cursor.row
    app.trace.close()
