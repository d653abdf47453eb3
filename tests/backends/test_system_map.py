"""System.map: read, or refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.backends.system_map import read_system_map
from tdxdbg.errors import BackendError

SOUND = """\
0000000000000000 D __per_cpu_start
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000040 t local
ffffffff81000050 W weak
"""


def read(folder: Path, text: str) -> list[tuple[int, str]]:
    path = folder / "System.map"
    path.write_text(text)
    return [(each.address, each.name) for each in read_system_map(path)]


def test_the_kernels_half_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, SOUND) == [
        (0xFFFF_FFFF_8100_0000, "_stext"),
        (0xFFFF_FFFF_8100_0000, "_text"),
        (0xFFFF_FFFF_8100_0040, "local"),
        (0xFFFF_FFFF_8100_0050, "weak"),
    ]


def test_modules_are_left_out(tmp_path: Path) -> None:
    module = "ffffffffc0000000 t init\t[virtio]\n"
    assert read(tmp_path, SOUND + module) == read(tmp_path, SOUND)


REFUSED = {
    "nothing": ("", "has no symbol of a kernel"),
    "hidden addresses": ("0000000000000000 T _text\n", "has no symbol of a kernel"),
    "an address of 65 bits": ("1ffffffff81000000 T _text\n", "has no symbol of a kernel"),
    "Debian's placeholder": (
        "ffffffffffffffff B The real System.map is in the linux-image-6.12-dbg package\n",
        "the kernel has names of its own",
    ),
    "two words": (SOUND + "ffffffff81000000 T\n", "line 6 of System.map"),
    "an empty line": ("\n" + SOUND, "line 1 of System.map"),
    "no number": ("0xffg T x\n", "line 1 of System.map"),
    "no type": ("ffffffff81000000 TT x\n", "line 1 of System.map"),
    "a name of a megabyte": (f"ffffffff81000000 T {'x' * (1 << 20)}\n", "line 1 of System.map"),
    "an ELF": ("\x7fELF\2\1\1\0\0\0", "line 1 of System.map"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_system_map_is_refused(tmp_path: Path, name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(BackendError, match=reason):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="nowhere"):
        read_system_map(tmp_path / "nowhere")
