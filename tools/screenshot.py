"""Draws docs/replay.svg: the screen on the MapGPA sample, made by the program itself.

Usage: python tools/screenshot.py [--check] [--size 120x36] [--theme NAME] [-o FILE] [TRACE [KEYS]]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SAMPLE = ROOT / "sample_traces" / "mapgpa_64mib_interrupted.tdxt"
PICTURE = ROOT / "docs" / "replay.svg"
#: From the exit after it back to the TD entry that tells the guest to retry.
KEYS = "S"


async def draw(trace: Path, keys: list[str], size: tuple[int, int], theme: str, at: int) -> str:
    """The screen after these keys, as SVG."""
    from tdxdbg.traces import open_trace
    from tdxdbg.ui.app import ReplayApp
    from tdxdbg.ui.themes import choose, load_themes

    with open_trace(trace) as opened:
        app = ReplayApp(opened, choose(load_themes(), theme), at=at, title=trace.name)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            return app.export_screenshot()


def main() -> int:
    """Write the picture, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("keys", nargs="*", default=KEYS.split())
    parser.add_argument("--at", type=int, default=10)
    parser.add_argument("--size", default="120x36")
    parser.add_argument("--theme", default="tdx-dark")
    parser.add_argument("-o", "--output", type=Path, default=PICTURE)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    # A picture is in colour, whatever the terminal that asks for it wants.
    os.environ.pop("NO_COLOR", None)
    width, height = (int(number) for number in options.size.split("x"))
    svg = asyncio.run(draw(options.trace, options.keys, (width, height), options.theme, options.at))
    if options.check:
        same = options.output.exists() and options.output.read_text("utf-8") == svg
        if not same:
            print(f"{options.output.name} is out of date: run tools/screenshot.py", file=sys.stderr)
        return 0 if same else 1
    options.output.write_text(svg, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
