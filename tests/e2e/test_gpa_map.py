"""The GPA map at a pty: zoom, pan, an address, the list, and back to the exit."""

from __future__ import annotations

from tdxdbg.resources import samples_dir
from tests.e2e.terminal import Terminal

RETRY = str(samples_dir() / "mapgpa_64mib_interrupted.tdxt")


def test_zoom_and_pan_and_back() -> None:
    with Terminal("replay", RETRY, "--at", "9", columns=120, rows=40) as terminal:
        terminal.wait_for("exit 9/21", "follows")
        terminal.send("s5")
        terminal.wait_for("╔═ 5 GPA map", "changed 74000000 +2 MiB → shared", "here    74000000")
        terminal.send("z\x1b[H")
        terminal.wait_for("2 PiB ▸ whole ▸ 1 TiB a cell", "stays, . follows")
        terminal.send("+" * 5)
        terminal.wait_for("▸ 128 MiB a cell", "here    70000000 +128 MiB mixed", gone="whole")
        terminal.send("-" * 5)
        terminal.wait_for("2 PiB ▸ whole")
        terminal.send("@")
        terminal.wait_for("GPA map at")
        terminal.send("r12+1M")
        terminal.wait_for("GPA 74100000: shared, 74000000 +2 MiB")
        terminal.send("\r")
        terminal.wait_for("74000000 +2 MiB", gone="GPA map at")
        terminal.send("+" * 12)
        terminal.wait_for(
            "here    74100000 +4 KiB shared, in this step, of 74000000 +2 MiB", "4 KiB a cell"
        )
        terminal.send("\x1b[C" * 3)
        terminal.wait_for("here    74103000 +4 KiB shared")
        terminal.send("\x1b[B")
        terminal.wait_for("here    74143000 +4 KiB shared")
        terminal.send("\x1b[6~" * 40)
        terminal.wait_for("[exit]  74000000 +64 MiB shared ↑", gone="[ ] 74")
        terminal.send("\r")
        terminal.wait_for("▶74200000")
        terminal.send("\x1b[A")
        terminal.wait_for("▶74000000")
        terminal.send("\r")
        terminal.wait_for("here    74000000", "shared, in this step, of 74000000 +2 MiB")
        terminal.send(".")
        terminal.wait_for("follows the exit")
        terminal.send("1j")
        terminal.wait_for("exit 10/21")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_ascii_without_colour_has_a_glyph_for_each_state() -> None:
    arguments = ("replay", RETRY, "--at", "9", "--ascii")
    with Terminal(*arguments, columns=120, rows=40, env={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("exit 9/21")
        terminal.send("s" * 5 + "5z")
        terminal.wait_for(
            "# shared . private % mixed - not mapped",
            "[exit]",
            "74000000[*###",
            "74800000[################.....",
        )
        assert terminal.text.isascii()


def test_without_colour_a_cell_is_a_glyph_too() -> None:
    arguments = ("replay", RETRY, "--at", "9")
    with Terminal(*arguments, columns=120, rows=40, env={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("exit 9/21")
        terminal.send("s" * 5)
        terminal.wait_for("74000000[▓▓▓▓▓", "▓░░")
        assert "▀" not in terminal.text
