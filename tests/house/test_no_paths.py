"""Nothing in the project depends on, or tells, whose machine it was written on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Put together here, so that this file does not hold what it looks for.
FORBIDDEN = [
    b"/" + b"work/",
    b"/" + b"root/",
    b"/" + b"opt/py" + b"pi",
    b"py" + b"pi.org",
    b"python" + b"hosted.org",
    b"registry." + b"npmjs",
    b"deb." + b"debian.org",
    b"--index" + b"-url",
    b"--extra-index" + b"-url",
]

#: What tools leave behind; looked past where git cannot say what is ours.
LEFT_BEHIND = {".cache", ".git", ".venv", "__pycache__", "build", "dist"}


def sources() -> list[Path]:
    """Tracked files and new ones that are not ignored."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        found = (p for p in ROOT.rglob("*") if not any(_is_left_behind(s) for s in p.parts))
    else:
        found = (ROOT / name.decode() for name in listing.split(b"\0") if name)
    return [p for p in found if p.is_file()]


def _is_left_behind(part: str) -> bool:
    return part in LEFT_BEHIND or part.endswith(("_cache", ".egg-info"))


def test_there_are_sources_to_look_at() -> None:
    assert ROOT / "pyproject.toml" in sources()


@pytest.mark.parametrize("text", FORBIDDEN, ids=lambda text: text.decode())
def test_no_source_mentions(text: bytes) -> None:
    assert [str(p.relative_to(ROOT)) for p in sources() if text in p.read_bytes()] == []


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_requirements_are_pinned_by_hash_and_name_no_index(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith("#")]
    starts = [i for i, line in enumerate(code) if not line.startswith(" ")]
    assert starts
    assert all("==" in code[i] and code[i].endswith("\\") for i in starts)
    assert all(code[i + 1].startswith("    --hash=sha256:") for i in starts)


@pytest.mark.parametrize("name", ["run", "build"])
def test_dev_pins_the_same_versions(name: str) -> None:
    def pins(file: str) -> set[str]:
        text = (ROOT / "requirements" / f"{file}.txt").read_text()
        return {line.rstrip(" \\") for line in text.splitlines() if "==" in line}

    assert pins(name) <= pins("dev")
