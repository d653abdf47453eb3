"""The layering is a test, not a promise."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Rooms that know no clock, chance, environment or thread.
PURE = (
    "abi",
    "engine",
    "module",
    "decode",
    "filters",
    "analysis",
    "breakpoints",
    "timeline",
    "vmm",
)

#: Rooms that are named in the layers before they are built.
LATER = ("session", "breakpoints", "backends", "module")


def contract(name: str) -> dict[str, Any]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = [c for c in config["tool"]["importlinter"]["contracts"] if c["id"] == name]
    assert len(found) == 1
    result: dict[str, Any] = found[0]
    return result


def rooms() -> list[str]:
    """The modules and packages directly below tdxdbg that exist."""
    package = ROOT / "tdxdbg"
    files = [p.stem for p in package.glob("*.py") if p.stem != "__init__"]
    return sorted(files + [p.parent.name for p in package.glob("*/__init__.py")])


def test_every_import_points_down() -> None:
    code = (
        "import sys; from importlinter.cli import lint_imports;"
        " sys.exit(lint_imports(is_debug_mode=False, no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_is_held_to_it_as_soon_as_it_exists(room: str) -> None:
    listed = f"tdxdbg.{room}" in contract("pure")["source_modules"]
    assert listed == (room in rooms())


@pytest.mark.parametrize("room", LATER)
def test_a_room_is_optional_only_until_it_is_built(room: str) -> None:
    layers = " ".join(contract("layers")["layers"])
    assert (f"({room})" in layers) == (room not in rooms())


def test_only_these_rooms_may_be_missing() -> None:
    layers = " ".join(contract("layers")["layers"])
    assert {word[1:-1] for word in layers.split() if word.startswith("(")} <= set(LATER)


def test_all_rooms_but_ui_are_kept_from_textual() -> None:
    contracted = {name.removeprefix("tdxdbg.") for name in contract("screen")["source_modules"]}
    packages = {p.parent.name for p in (ROOT / "tdxdbg").glob("*/__init__.py")}
    assert packages - {"ui"} <= contracted
