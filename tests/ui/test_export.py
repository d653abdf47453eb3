from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tdxdbg.ui.export import offline_svg, write_svg
from tests.ui import demo
from tests.ui.screens import app_on


@pytest.mark.parametrize("keys", ["", "a", "question_mark"])
async def test_the_picture_is_well_formed_and_loads_nothing(keys: str) -> None:
    app = app_on(demo.hostile())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*keys.split())
        await pilot.pause()
        svg = app.export_screenshot()
    root = ET.fromstring(svg)
    text = "".join(root.itertext())
    if keys != "question_mark":
        assert "\\x1b]0;owned\\x07" in text.replace("\xa0", " ")
    assert loads_from(svg) == []
    assert 'font-family: "Fira Code", "DejaVu Sans Mono"' in svg


def loads_from(svg: str) -> list[str]:
    """What a viewer of the picture would fetch."""
    return re.findall(r"@font-face|@import|<script|<image|href=|url\((?!#)", svg)


def test_what_is_removed() -> None:
    svg = (
        "<svg><!-- made --><style>@font-face { src: url(x) }\n"
        ".a{font-family: Fira Code, monospace}</style></svg>"
    )
    made = offline_svg(svg)
    assert "@font-face" not in made
    assert "made" not in made
    assert "Menlo" in made


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "tdxdbg-1.svg").write_text("mine")
    assert write_svg("a", tmp_path).name == "tdxdbg-2.svg"
    assert write_svg("b", tmp_path).name == "tdxdbg-3.svg"
    assert (tmp_path / "tdxdbg-1.svg").read_text() == "mine"
