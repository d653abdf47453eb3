"""Setting up: what `make` says where something is missing, and when it does nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: What any Debian system has, and `make`.
TOOLS = ("make", "sh", "cat", "cp", "mkdir", "rm", "sha256sum", "dirname")

#: An interpreter that makes a virtual environment of itself and notes what pip is asked.
FAKE = """#!/bin/sh
case "$*" in
    *ensurepip*) exit {without_venv} ;;
    *version_info*) echo {version} ;;
    -V) echo "Python {version}" ;;
    "-m venv"*) rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *"-m pip"*) echo "$*" >>pip.log; [ ! -e pip.broken ] ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the set-up reads, where it has not run yet."""
    root = tmp_path / "checkout"
    root.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for name in ("tools", "requirements"):
        shutil.copytree(ROOT / name, root / name)
    return root


def make(
    checkout: Path, pythons: dict[str, str], target: str = "run", **env: str
) -> tuple[int, list[str]]:
    """Runs make where only TOOLS and `pythons` (name: script) exist."""
    programs = checkout.parent / "bin"
    shutil.rmtree(programs, ignore_errors=True)
    programs.mkdir()
    for tool in TOOLS:
        path = shutil.which(tool)
        assert path is not None
        (programs / tool).symlink_to(path)
    for name, script in pythons.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [programs / "make", "--no-print-directory", target],
        cwd=checkout,
        env={"PATH": str(programs), "LC_ALL": "C", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith("make: ***")]
    return done.returncode, said


def fake(version: str, *, without_venv: bool = False) -> str:
    return FAKE.format(version=version, without_venv=int(without_venv))


MISSING = {
    "no python": ({}, "python3-venv"),
    "too old": ({"python3": fake("3.9")}, "python3.11-venv"),
    "too new": ({"python3": fake("3.14")}, "python3.13-venv"),
    "no venv": ({"python3": fake("3.11", without_venv=True)}, "python3-venv"),
    "no venv for the newer one": (
        {"python3": fake("3.10"), "python3.12": fake("3.12", without_venv=True)},
        "python3.12-venv",
    ),
    "a python that does not start": ({"python3": "#!/bin/sh\nexit 127\n"}, "python3-venv"),
}


@pytest.mark.parametrize("target", ["run", "test"])
@pytest.mark.parametrize(("pythons", "package"), MISSING.values(), ids=MISSING.keys())
def test_one_line_names_the_package(
    checkout: Path, pythons: dict[str, str], package: str, target: str
) -> None:
    status, said = make(checkout, pythons, target)
    assert status != 0
    assert len(said) == 1, said
    assert said[0].endswith(f"install the Debian package {package}")
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ("python3=3.11 python3.12=3.12 python3.13=3.13", "3.13"),
        ("python3=3.12 python3.11=3.11", "3.12"),
        ("python3=3.9 python3.11=3.11", "3.11"),
        ("python3=3.14 python3.12=3.12", "3.12"),
    ],
)
def test_the_newest_suitable_python_is_taken(checkout: Path, pythons: str, chosen: str) -> None:
    named = dict(text.split("=") for text in pythons.split())
    _, said = make(checkout, {name: fake(version) for name, version in named.items()})
    assert said[0] == f"tdxdbg: setting up .venv with Python {chosen} (this once)"


def test_without_a_target_it_lists_them(checkout: Path) -> None:
    status, said = make(checkout, {}, "help")
    assert status == 0
    assert [line.split()[1] for line in said] == [
        "run",
        "linux",
        "test",
        "test-linux",
        "lint",
        "unit",
        "fuzz",
        "samples",
        "guests",
        "screenshots",
        "lock",
        "clean",
    ]


def asked_of_pip(checkout: Path) -> list[str]:
    """What pip was asked since the last call, without the options that are always there."""
    log = checkout / "pip.log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line.split("--disable-pip-version-check ")[1] for line in lines]


def test_it_installs_what_is_pinned_and_then_the_project(checkout: Path) -> None:
    assert make(checkout, {"python3": fake("3.11")}, "setup")[0] == 0
    pinned = "--no-deps --require-hashes --only-binary :all: -r requirements"
    editable = "--no-index --no-build-isolation --no-deps --editable ."
    assert asked_of_pip(checkout) == [
        f"{pinned}/run.txt",
        f"{pinned}/build.txt",
        editable,
    ]
    assert make(checkout, {"python3": fake("3.11")}, "setup-dev")[0] == 0
    assert asked_of_pip(checkout) == [f"{pinned}/dev.txt", editable]


@pytest.mark.parametrize(
    ("first", "second"),
    [("setup", "setup"), ("setup-dev", "setup-dev"), ("setup-dev", "setup")],
)
def test_the_second_time_it_does_nothing(checkout: Path, first: str, second: str) -> None:
    make(checkout, {"python3": fake("3.11")}, first)
    assert asked_of_pip(checkout)
    # Not even a Python is looked for.
    assert make(checkout, {}, second) == (0, [])
    assert asked_of_pip(checkout) == []


@pytest.mark.parametrize("file", ["requirements/run.txt", "pyproject.toml", "tools/setup"])
def test_a_change_of_what_is_needed_sets_up_again(checkout: Path, file: str) -> None:
    make(checkout, {"python3": fake("3.11")}, "setup")
    asked_of_pip(checkout)
    with (checkout / file).open("a") as stream:
        stream.write("\n# changed\n")
    assert make(checkout, {"python3": fake("3.11")}, "setup")[0] == 0
    assert asked_of_pip(checkout)


def test_an_environment_whose_python_is_gone_is_made_again(checkout: Path) -> None:
    make(checkout, {"python3": fake("3.11")}, "setup")
    (checkout / ".venv/bin/python").unlink()
    _, said = make(checkout, {"python3": fake("3.12")}, "setup")
    assert said == ["tdxdbg: setting up .venv with Python 3.12 (this once)"]


def test_a_moved_checkout_is_set_up_again(checkout: Path) -> None:
    make(checkout, {"python3": fake("3.11")}, "setup")
    moved = checkout.rename(checkout.parent / "moved")
    asked_of_pip(moved)
    assert make(moved, {"python3": fake("3.11")}, "setup")[0] == 0
    assert asked_of_pip(moved)


def test_a_failed_set_up_says_so_and_is_tried_again(checkout: Path) -> None:
    (checkout / "pip.broken").touch()
    status, said = make(checkout, {"python3": fake("3.11")}, "setup")
    assert status != 0
    assert said[1:] == [
        "tdxdbg: could not install the packages listed in requirements/ (pip's reason is above)"
    ]
    (checkout / "pip.broken").unlink()
    asked_of_pip(checkout)
    assert make(checkout, {"python3": fake("3.11")}, "setup")[0] == 0
    assert len(asked_of_pip(checkout)) == 3


@pytest.mark.parametrize(("asked", "again"), [("python3.12", True), ("python3", False)])
def test_a_python_that_is_asked_for_is_used(checkout: Path, asked: str, again: bool) -> None:
    pythons = {"python3": fake("3.13"), "python3.12": fake("3.12")}
    make(checkout, pythons, "setup")
    _, said = make(checkout, pythons, "setup", PYTHON=asked)
    assert said == ["tdxdbg: setting up .venv with Python 3.12 (this once)"] * again
