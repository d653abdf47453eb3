"""The wheel, built and used where there is nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import tdxdbg

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.needs_index,
    pytest.mark.timeout(600),
    # One build and one environment serve all tests of this file.
    pytest.mark.xdist_group("wheel"),
]


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output; nothing of this environment but the pip settings is visible."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has only the wheel."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=True)
    python = home / "venv/bin/python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "-q", "--no-input"]
    pinned: list[str | Path] = [
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        ROOT / "requirements/run.txt",
    ]
    run(*pip, *pinned, cwd=home)
    run(*pip, "--no-index", "--no-deps", wheel, cwd=home)
    run(python, "-m", "pip", "check", cwd=home)
    return home / "venv/bin"


def shipped(folder: str, suffix: str) -> list[str]:
    return sorted(p.name for p in (ROOT / folder).glob(f"*{suffix}*"))


@pytest.mark.parametrize(("folder", "suffix"), [("themes", ".toml"), ("sample_traces", ".tdxt")])
def test_the_shipped_data_is_inside(wheel: Path, folder: str, suffix: str) -> None:
    prefix = f"tdxdbg/data/{folder}/"
    names = zipfile.ZipFile(wheel).namelist()
    inside = sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix))
    assert inside
    assert inside == shipped(folder, suffix)


@pytest.mark.parametrize("suffix", [".S", ".elf", ".toml", ".inc", ".ld", ".md"])
def test_the_guests_are_inside_with_their_sources(wheel: Path, suffix: str) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    missing = {f"tdxdbg/guests/{name}" for name in shipped("tdxdbg/guests", suffix)} - set(names)
    assert shipped("tdxdbg/guests", suffix)
    assert missing == set()


def test_nothing_but_the_package_is_inside(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top == {"tdxdbg", f"tdxdbg-{tdxdbg.__version__}.dist-info"}


def test_it_says_its_version(installed: Path, tmp_path: Path) -> None:
    assert tdxdbg.__version__ in run(installed / "tdxdbg", "--version", cwd=tmp_path)


def test_it_lists_and_reads_its_samples(installed: Path, tmp_path: Path) -> None:
    listing = run(installed / "tdxdbg", "samples", cwd=tmp_path)
    missing = [n for n in shipped("sample_traces", ".tdxt") if n.partition(".")[0] not in listing]
    assert missing == []
    sample = installed.parent.glob("lib/*/site-packages/tdxdbg/data/sample_traces/mapgpa*.tdxt")
    assert "MapGPA" in run(installed / "tdxdbg", "print", next(sample), cwd=tmp_path)


def test_it_lists_its_guests(installed: Path, tmp_path: Path) -> None:
    listing = run(installed / "tdxdbg", "guests", cwd=tmp_path)
    missing = [n for n in shipped("tdxdbg/guests", ".elf") if n.partition(".")[0] not in listing]
    assert missing == []


def test_it_finds_its_themes(installed: Path, tmp_path: Path) -> None:
    code = "from tdxdbg.resources import themes_dir as d; print(*[p.name for p in d().iterdir()])"
    found = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert sorted(found) == shipped("themes", ".toml")
