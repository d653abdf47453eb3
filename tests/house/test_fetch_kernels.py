"""tools/fetch_kernels, with an apt that is made up: what it fetches, and how it says no."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

SCRIPT: Final = Path(__file__).resolve().parents[2] / "tools" / "fetch_kernels"
#: What it may use of the real system; apt and dpkg are made up.
REAL: Final = (
    "awk", "basename", "cat", "dirname", "find", "grep", "mkdir", "mktemp", "mv", "rm", "sed",
    "sh", "sort", "tail", "tar",
)  # fmt: skip
FAKES: Final = {
    # Knows two archives; the first is somebody else's and has no updates.
    "apt-get": """
        case "$*" in
            *--print-uris*)
                printf "'%s/dists/%s/InRelease' x 0\\n" \
                    http://other.example bookworm http://mirror.example/debian bookworm \
                    http://mirror.example/debian bookworm-updates ;;
            *update*) [ ! -e "$FAKE/offline" ] || { echo "W: hm" >&2
                echo "E: Failed to fetch it" >&2; echo "E: Some failed" >&2; exit 100; }
                cat "$(echo "$*" | sed 's/.*-c \\([^ ]*\\).*/\\1/; s/apt.conf$/sources/')" \
                    >>"$FAKE/sources" ;;
            *download*) echo "$*" | sed 's/.*download \\([^ ]*\\).*/\\1/' >>"$FAKE/log"
                echo deb >package_1.deb ;;
        esac
    """,
    "apt-cache": """
        case "$*" in
            *"depends linux-image-cloud-amd64 "*) echo "  Depends: linux-image-9-cloud-amd64" ;;
            *"depends linux-image-9-cloud-amd64 "*) echo "  Depends: kmod"
                echo "  Depends: linux-binary-9-cloud-amd64" ;;
        esac
    """,
    "dpkg-deb": """
        [ ! -e "$FAKE/damaged" ] || { echo "dpkg-deb: error: cut off" >&2; exit 2; }
        cat "$FAKE/package.tar"
    """,
}


class Machine:
    """A Debian machine whose mirror has one package for everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name in REAL:
            found = shutil.which(name)
            assert found, name
            (self.programs / name).symlink_to(found)
        for name, text in FAKES.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{text}")
            (self.programs / name).chmod(0o755)
        plain = folder / "plain"
        for file in ("boot/vmlinuz-9", "usr/share/ovmf/OVMF.inteltdx.ms.fd", "bin/busybox"):
            (plain / file).parent.mkdir(parents=True, exist_ok=True)
            (plain / file).write_text(file)
        subprocess.run(["tar", "-cf", folder / "package.tar", "-C", plain, "."], check=True)

    def run(self, *picks: str) -> tuple[int, list[str], list[str]]:
        """Exit status, what it prints, and what it says of errors."""
        where = {"TDXDBG_KERNELS": str(self.cache), "FAKE": str(self.folder)}
        done = subprocess.run(
            ["sh", SCRIPT, *picks],
            env={"PATH": str(self.programs), **where},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if not Path("/etc/debian_version").exists():
        pytest.skip("/etc/debian_version is not there: the script works on Debian alone")
    return Machine(tmp_path)


def test_the_file_is_fetched_once(machine: Machine) -> None:
    kernel = machine.cache / "cloud" / "vmlinuz"
    assert machine.run("cloud")[:2] == (0, [str(kernel)])
    assert kernel.read_text() == "boot/vmlinuz-9"
    assert (machine.cache / "cloud" / "package").read_text() == "package_1.deb\n"
    assert machine.run("cloud") == (0, [str(kernel)], [])
    # Through both packages that only depend on others.
    assert (machine.folder / "log").read_text() == "linux-binary-9-cloud-amd64\n"
    assert sorted(os.listdir(machine.cache)) == ["cloud"]


def test_the_mirror_is_the_systems_own(machine: Machine) -> None:
    machine.run("newer")
    assert " http://mirror.example/debian sid main" in (machine.folder / "sources").read_text()


def test_all_of_them(machine: Machine) -> None:
    status, printed, _ = machine.run("all")
    assert status == 0
    assert [str(Path(line).relative_to(machine.cache)) for line in printed] == [
        "cloud/vmlinuz",
        "generic/vmlinuz",
        "newer/vmlinuz",
        "firmware/OVMF.inteltdx.ms.fd",
        "busybox/busybox",
    ]
    assert all(Path(line).is_file() for line in printed)


FAILURES: Final = {
    "offline": "fetch_kernels: bookworm-backports: E: Failed to fetch it",
    "damaged": "fetch_kernels: linux-binary-9-cloud-amd64 has no */vmlinuz*: ",
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_is_one_line_and_leaves_nothing(machine: Machine, name: str) -> None:
    (machine.folder / name).touch()
    status, printed, said = machine.run("cloud")
    assert (status, printed) == (1, [])
    assert said[-1].startswith(FAILURES[name])
    assert said[:-1] in ([], ["fetch_kernels: fetching linux-image-cloud-amd64 from "
                              "bookworm-backports"])  # fmt: skip
    assert os.listdir(machine.cache) == []


def test_without_apt(machine: Machine) -> None:
    (machine.programs / "apt-get").unlink()
    status, _, said = machine.run("cloud")
    assert (status, len(said)) == (1, 1)
    assert "needs apt-get" in said[0]


@pytest.mark.parametrize("picks", [(), ("nope",), ("cloud", "nope"), ("all", "cloud")])
def test_what_is_not_there_to_pick_prints_the_usage(machine: Machine, picks: list[str]) -> None:
    status, _, said = machine.run(*picks)
    assert status == 2
    assert any("tools/fetch_kernels firmware" in line for line in said)
