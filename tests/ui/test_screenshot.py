"""The picture in docs/ is what the program draws today."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_picture_is_up_to_date() -> None:
    tool = [sys.executable, str(ROOT / "tools" / "screenshot.py"), "--check"]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_picture_shows_a_retry() -> None:
    root = ET.fromstring((ROOT / "docs" / "replay.svg").read_text("utf-8"))
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert "RETRY @+22M" in text
    assert "an event" in text
