"""Processes of our own: modules of this package that run beside it."""

from __future__ import annotations

import os
import subprocess
import sys


def command(module: str, *arguments: object) -> list[str]:
    """What runs a module in a Python like this one; nothing is found in the current folder."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """The one of this process, and modules are found where this process finds them."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), **more}


def wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait so long for one that was told to end, and then no longer."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
