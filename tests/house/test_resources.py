"""The shipped data is found wherever the package lies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tdxdbg.resources import samples_dir, themes_dir

ROOT = Path(__file__).resolve().parents[2]


def test_a_checkout_has_them_beside_the_package() -> None:
    assert themes_dir() == ROOT / "themes"
    assert samples_dir() == ROOT / "sample_traces"


@pytest.mark.parametrize("call", ["themes_dir", "samples_dir"])
def test_an_installed_package_has_them_inside(tmp_path: Path, call: str) -> None:
    package = tmp_path / "tdxdbg"
    for name in ("themes", "sample_traces"):
        (package / "data" / name).mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "resources.py").write_text((ROOT / "tdxdbg/resources.py").read_text())
    code = f"from tdxdbg.resources import {call}; print({call}())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    name = {"themes_dir": "themes", "samples_dir": "sample_traces"}[call]
    assert Path(done.stdout.strip()) == package.resolve() / "data" / name
