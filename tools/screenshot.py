"""Draws the pictures in docs/, made by the program itself.

linux.svg is a kernel that boots as a TD: it asks for its bounce buffers, is told
EAGAIN until it gives up, and says so. replay.svg is a recording, live.svg a guest
on the emulated vCPU at the second chunk of its MapGPA, while an answer is typed,
start.svg the start page, light.svg and contrast.svg the recording in other themes.

Usage: python tools/screenshot.py [--check] [NAME...]
       python tools/screenshot.py -o FILE [--size 120x36] [--theme NAME] TRACE|GUEST|start [KEYS]

To look at one as pixels: chromium --headless --screenshot=OUT.png --window-size=1482,928 FILE
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from tdxdbg.ui.live.app import LiveApp

#: A file of the cache: what tools/fetch_kernels fetched.
KERNEL: Final = "cloud/vmlinuz"
#: Lines without a time are seen whole.
_APPEND: Final = "console=ttyS0 earlyprintk=ttyS0 printk.time=0"

#: Seconds for the worker to answer after a key; what is on the screen then has to stay.
_SETTLE: Final = 0.15


def _cache() -> Path:
    """Where tools/fetch_kernels leaves what it fetches."""
    from tools.make_initramfs import CACHE

    return CACHE


class Picture(NamedTuple):
    """What to open, where, and the keys; a key with a space at its end is typed."""

    subject: str
    keys: tuple[str, ...] = ()
    size: str = "120x36"
    at: int = 0
    theme: str = "tdx-dark"


#: From the exit after it back to the TD entry that tells the guest to retry.
_RETRY: Final = Picture("sample_traces/mapgpa_64mib_interrupted.tdxt", ("S",), at=10)
#: Linux takes a RETRY without progress three times: that of its second piece has some.
_REFUSED: Final = ("e", "EAGAIN ", "enter", "s")

PICTURES: Final[dict[str, Picture]] = {
    "linux": Picture(
        KERNEL,
        (
            *("b", "leaf == MapGPA && size == 64M ", "enter", "c", "s", *_REFUSED * 4),
            *("t", "console to shared: -5 ", "enter", "6", *("down",) * 3),
            *("/", "leaf == MapGPA ", "enter"),
        ),
        size="136x42",
    ),
    "replay": _RETRY,
    "live": Picture(
        "mapgpa_retry",
        ("@", "1000 ", "enter", "b", "leaf == MapGPA ", "enter", "c", "s", "e", "EAGAIN "),
        size="130x44",
    ),
    "start": Picture("start", ("/", "retry "), size="120x24"),
    "light": _RETRY._replace(theme="tdx-light", size="100x30"),
    "contrast": _RETRY._replace(theme="tdx-high-contrast", size="100x30"),
}


async def replay(picture: Picture) -> str:
    """A recording after these keys, as SVG."""
    from tdxdbg.traces import open_trace
    from tdxdbg.ui.app import ReplayApp
    from tdxdbg.ui.themes import choose, load_themes

    trace = ROOT / picture.subject
    with open_trace(trace) as opened:
        app = ReplayApp(
            opened, choose(load_themes(), picture.theme), at=picture.at, title=trace.name
        )
        async with app.run_test(size=_size(picture)) as pilot:
            await pilot.pause()
            await pilot.press(*picture.keys)
            await pilot.pause()
            return app.export_screenshot()


async def start(picture: Picture) -> str:
    """The start page of somebody who has opened nothing yet, as SVG."""
    from tdxdbg.guests import guests
    from tdxdbg.ui.start.app import StartApp
    from tdxdbg.ui.start.entries import guest_entries, sample_entries
    from tdxdbg.ui.themes import choose, load_themes

    offered = [*sample_entries(), *guest_entries(guests())]
    app = StartApp(offered, choose(load_themes(), picture.theme), False)
    async with app.run_test(size=_size(picture)) as pilot:
        for key in picture.keys:
            await pilot.press(*(key.rstrip() if " " in key else (key,)))
        await pilot.pause()
        return app.export_screenshot()


async def live(picture: Picture) -> str:
    """A guest after these keys, as SVG."""
    from tdxdbg.session import Session
    from tdxdbg.session.config import locate
    from tdxdbg.ui.live.app import LiveApp
    from tdxdbg.ui.live.image import Image
    from tdxdbg.ui.themes import choose, load_themes

    path, _ = locate(picture.subject)
    with Session.open(picture.subject, kernel="7.2") as session:
        app = LiveApp(
            session,
            choose(load_themes(), picture.theme),
            program=Image.read(path),
            start=lambda: session,
            title=picture.subject,
        )
        return await _driven(app, picture)


async def linux(picture: Picture) -> str:
    """A kernel that boots as a TD, after these keys, as SVG."""
    from tdxdbg.session import LiveConfig, Session
    from tdxdbg.ui.live.app import LinuxApp
    from tdxdbg.ui.live.image import Image
    from tdxdbg.ui.themes import choose, load_themes

    path = _cache() / picture.subject
    config = LiveConfig(str(path), kernel="7.2", memory=512, linux=True, append=_APPEND)
    with Session.start(config) as session:
        app = LinuxApp(
            session,
            choose(load_themes(), picture.theme),
            program=Image.read(path).wait(),
            start=lambda: session,
            title=path.name,
        )
        return await _driven(app, picture)


async def _driven(app: LiveApp, picture: Picture) -> str:
    """The screen after the keys, each when what the one before did is done."""
    async with app.run_test(size=_size(picture)) as pilot:
        svg = ""
        for key in ("", *picture.keys):
            if key:
                await pilot.press(*(key.rstrip() if " " in key else (key,)))
            before = ""
            while svg != before or not svg or app.world.running:
                before = svg
                await pilot.pause(_SETTLE)
                svg = app.export_screenshot()
        app.close()
        return svg


def _size(picture: Picture) -> tuple[int, int]:
    width, height = picture.size.split("x")
    return int(width), int(height)


def draw(picture: Picture) -> str:
    """As SVG."""
    if picture.subject == "start":
        return asyncio.run(start(picture))
    if picture.subject == KERNEL:
        return asyncio.run(linux(picture))
    return asyncio.run((replay if "." in picture.subject else live)(picture))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures, or with --check say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "subject",
        nargs="*",
        help=f"of {', '.join(PICTURES)}; with -o a trace,"
        " a guest or start, and keys: their names, or text that ends with a space",
    )
    parser.add_argument("--at", type=int, default=0)
    parser.add_argument("--size", default="120x36")
    parser.add_argument("--theme", default="tdx-dark")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    # A picture is in colour, whatever the terminal that asks for it wants.
    os.environ.pop("NO_COLOR", None)
    if options.output is not None:
        subject, *keys = options.subject
        picture = Picture(subject, tuple(keys), options.size, options.at, options.theme)
        options.output.write_text(draw(picture), "utf-8")
        return 0
    stale = 0
    for name, picture in PICTURES.items():
        if options.subject and name not in options.subject:
            continue
        path = ROOT / "docs" / f"{name}.svg"
        if picture.subject == KERNEL and (options.check or not (_cache() / KERNEL).is_file()):
            # The distribution's kernel of today need not be the one of the picture.
            why = "it is not compared" if options.check else "first: tools/fetch_kernels cloud"
            print(f"{path.name} stays as it is: {why}", file=sys.stderr)
            continue
        svg = draw(picture)
        if not options.check:
            path.write_text(svg, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != svg:
            print(f"{path.name} is out of date: run tools/screenshot.py", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
