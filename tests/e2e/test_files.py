"""Another answer, the clipboard and files, by the real program at a pty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdxdbg.resources import samples_dir
from tests.e2e.terminal import Terminal
from tests.e2e.test_hostile_text import TEXT, copied, unexplained, well_formed

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
HOSTILE = samples_dir() / "fatal_error_hostile_text.tdxt"


def test_another_answer_shows_both_outcomes_until_it_is_dropped() -> None:
    arguments = ("replay", str(RETRY), "--at", "9", "--kernel", "7.2")
    with Terminal(*arguments, columns=200, rows=60) as terminal:
        terminal.wait_for("exit 9/21", "kernel 7.2 WHAT IF")
        terminal.send("eEAG")
        terminal.wait_for("another answer", "EAGAIN")
        terminal.send("AIN\r")
        terminal.wait_for("both outcomes stand in the uAPI pane; u drops it", "e edits it")
        terminal.wait_for(
            "│       7.2 as is              │what if",
            "│≠VMM   ret = 0x0 success      │ret = 0xb EAGAIN (11)",
            "│≠R11   0x8000075600000        │0x8000074000000",
            "│≠map   74000000 +22 MiB shared│unchanged",
        )
        terminal.send("j")
        terminal.wait_for("exit 10/21", gone="e edits it")
        terminal.send("k")
        terminal.wait_for("exit 9/21", "e edits it")
        terminal.send("u")
        terminal.wait_for("exit 9/21", gone="e edits it")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_what_is_copied_is_sent_by_osc_52(tmp_path: Path) -> None:
    with Terminal("replay", str(RETRY), "--at", "9") as terminal:
        terminal.wait_for("exit 9/21")
        terminal.send("4")
        terminal.wait_for("╔═ 4 regs")
        terminal.send("\x1b")
        terminal.settle(0.3)
        terminal.send("\x1b[B" * 3 + "y")
        terminal.wait_for("copied r12 = 0x8000074000000")
        terminal.send("Y")
        terminal.wait_for("copied exit 9")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
        value, text = copied(bytes(terminal.output))
    assert value == "0x8000074000000"
    assert text.startswith("9  1.204756  v0  MapGPA")
    assert "R11 = the next chunk" in text


#: The key in the menu, the end of the file's name, and what is in it.
FILES = [("s", "svg"), ("t", "txt"), ("e", "txt"), ("o", "json"), ("l", "jsonl")]


@pytest.mark.parametrize("trace", [RETRY, HOSTILE], ids=["plain", "hostile"])
def test_every_file_is_written_whole_and_harmless(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = {"txt": 0, "svg": 0, "json": 0, "jsonl": 0}
    with Terminal("replay", str(trace), columns=120, rows=40) as terminal:
        terminal.wait_for("exit 0/")
        for key, suffix in FILES:
            numbers[suffix] += 1
            terminal.send("x")
            terminal.wait_for("as JSON Lines")
            terminal.send(key)
            terminal.wait_for(f"wrote tdxdbg-{numbers[suffix]}.{suffix}", gone="╔═ export")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
        assert unexplained(bytes(terminal.output)) == []
    text = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert sorted(text) == [
        "tdxdbg-1.json", "tdxdbg-1.jsonl", "tdxdbg-1.svg", "tdxdbg-1.txt", "tdxdbg-2.txt",
    ]  # fmt: skip
    well_formed(text["tdxdbg-1.svg"])
    assert "1 exits" in text["tdxdbg-1.txt"].splitlines()[1]
    assert text["tdxdbg-2.txt"].startswith("0  ")
    rows = [json.loads(line) for line in text["tdxdbg-1.jsonl"].splitlines()]
    assert [row["row"] for row in rows] == list(range(len(rows)))
    assert rows[0] == json.loads(text["tdxdbg-1.json"])
    assert [name for name, content in text.items()
            if not TEXT.fullmatch(content.replace("\n", "").replace("&#160;", ""))
            and not name.endswith(".svg")] == []  # fmt: skip
    if trace is HOSTILE:
        assert any("\\x1b" in (row["message"] or "") for row in rows)


def test_a_recording_by_standard_input_gets_its_keys_from_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Terminal("replay", "-", stdin=RETRY) as terminal:
        terminal.wait_for("standard i", "exit 0/21")
        terminal.send("G")
        terminal.wait_for("exit 21/21")
        terminal.send("xl")
        terminal.wait_for("wrote tdxdbg-1.jsonl: 22 exits")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tdxdbg-1.jsonl"]
