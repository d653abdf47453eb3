"""The pictures in docs/ are what the program draws today, and need nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: What each picture has to show.
PARTS = {
    "linux": [
        *("vmlinuz", "HELD", "leaf == MapGPA", "RETRY @+0B", "3 in a"),
        *("CPA VMM failure to convert memory", "to shared: -5", "__tdcall_saved_ret"),
    ],
    "replay": ["RETRY @+22M", "an event"],
    "live": ["HELD", "your answer", "EAGAIN", "TDG.VP.VMCALL<MapGPA>", "TDXDBG"],
    "start": ["filter retry", "sample recordings", "sample guests, run live", "mapgpa_retry"],
    "light": ["RETRY @+22M", "GPA"],
    "contrast": ["RETRY @+22M", "GPA"],
}


@pytest.mark.parametrize("name", sorted(PARTS.keys() - {"linux"}))
def test_the_picture_is_up_to_date(name: str) -> None:
    tool = [sys.executable, str(ROOT / "tools" / "screenshot.py"), "--check", name]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(PARTS))
def test_the_picture_shows_it(name: str) -> None:
    root = ET.fromstring((DOCS / f"{name}.svg").read_text("utf-8"))
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert [part for part in PARTS[name] if part not in text] == []


def test_every_picture_is_drawn_by_the_tool_and_nothing_is_loaded() -> None:
    pictures = sorted(DOCS.glob("*.svg"))
    assert [path.stem for path in pictures] == sorted(PARTS)
    for path in pictures:
        svg = path.read_text("utf-8")
        assert not re.findall(r"@font-face|@import|url\((?!#)|<image|xlink:href", svg)
        # The one address is the name of the format.
        assert set(re.findall(r"https?://[^\"'<\s]+", svg)) == {"http://www.w3.org/2000/svg"}


def test_the_pictures_of_the_readme_exist() -> None:
    shown = re.findall(r"!\[[^\]]*\]\((docs/[^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert len(shown) >= 2
    assert [path for path in shown if not (ROOT / path).is_file()] == []
