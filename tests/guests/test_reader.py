"""The list of guests, and `tdxdbg guests`."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tdxdbg.cli.group import cli
from tdxdbg.errors import SessionError
from tdxdbg.guests import FOLDER, find, guests


def test_every_source_is_a_guest_and_every_guest_has_everything() -> None:
    parts = {"lib", "idt", "ve"}
    names = [guest.name for guest in guests()]
    assert names == sorted({path.stem for path in FOLDER.glob("*.S")} - parts)
    assert names == sorted(path.stem for path in FOLDER.glob("*.elf"))
    for guest in guests():
        assert guest.source.is_file()
        assert guest.image.read_bytes().startswith(b"\x7fELF")


def test_a_source_says_what_its_guest_is_and_how_it_ends() -> None:
    for guest in guests():
        lines = guest.source.read_text().splitlines()
        head = lines[: next(at for at, line in enumerate(lines) if not line.startswith("#"))]
        assert head[0].startswith(f"# {guest.name}: "), guest.name
        assert any(line.startswith("# Ends: ") for line in head), guest.name


def test_one_is_found_by_name() -> None:
    guest = find("two_vcpus")
    assert (guest.name, guest.vcpus, guest.image.name) == ("two_vcpus", 2, "two_vcpus.elf")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("hello", "did you mean hello_serial"),
        ("", "tdxdbg guests lists them"),
        ("../guests/fatal", "did you mean|lists them"),
        ("fatal.toml", "did you mean fatal"),
        ("f\x1b", "tdxdbg guests lists them"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_a_remedy(name: str, remedy: str) -> None:
    with pytest.raises(SessionError, match=f"there is no guest .*{remedy}"):
        find(name)


def test_the_command_lists_name_vcpus_and_story() -> None:
    result = CliRunner().invoke(cli, ["guests"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [guest.name for guest in guests()]
    assert all(len(line) <= 100 for line in lines)
    assert "2 vCPUs  one vCPU wakes the other" in next(x for x in lines if x.startswith("two_"))
    assert "tdxdbg live NAME" in result.stderr
