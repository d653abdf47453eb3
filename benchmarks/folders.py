"""Folders of their own for what is measured: no run finds what another one left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

_FOLDERS: Final = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
_PROGRAM: Final = "import tdxdbg.cli, tdxdbg.ui.run, tdxdbg.index.server"


def use_own_folders(directory: Path) -> None:
    """Settings, memory, cache and compiled code below this directory, for all that is started.

    A remembered filter or place would make another screen of the same trace.
    """
    for name in _FOLDERS:
        os.environ[name] = str(directory / name)
    # Compiled once, as a program that is installed.
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True)
