from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.backends.emulated.guests import IMAGES, MACROS, SOURCES

HAS_ASSEMBLER = shutil.which("as") is not None and shutil.which("ld") is not None


@pytest.mark.skipif(not HAS_ASSEMBLER, reason="needs the GNU assembler")
@pytest.mark.parametrize("name", SOURCES)
def test_the_bytes_are_what_the_assembler_makes(name: str, tmp_path: Path) -> None:
    source, image = tmp_path / "guest.S", tmp_path / "guest.o"
    binary = tmp_path / "guest.bin"
    source.write_text(MACROS + SOURCES[name] + "\n")
    made = subprocess.run(["as", "-o", image, source], capture_output=True, text=True, check=False)
    if "no such instruction: `tdcall'" in made.stderr:
        pytest.skip("the assembler does not know TDCALL")
    assert made.returncode == 0, made.stderr
    subprocess.run(
        ["ld", "-Ttext=0x100000", "--oformat", "binary", "-o", binary, image], check=True
    )
    data = binary.read_bytes()
    ours = bytearray(len(data))
    for at, text in IMAGES[name]:
        part = bytes.fromhex(text)
        ours[at : at + len(part)] = part
    assert ours == data
