"""The pictures in docs/ are what the program draws today."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["replay", "live"])
def test_the_picture_is_up_to_date(name: str) -> None:
    tool = [sys.executable, str(ROOT / "tools" / "screenshot.py"), "--check", name]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("replay", ["RETRY @+22M", "an event"]),
        ("live", ["HELD", "your answer", "EAGAIN", "TDG.VP.VMCALL<MapGPA>", "TDXDBG"]),
    ],
)
def test_the_picture_shows_it(name: str, parts: list[str]) -> None:
    root = ET.fromstring((ROOT / "docs" / f"{name}.svg").read_text("utf-8"))
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert [part for part in parts if part not in text] == []
