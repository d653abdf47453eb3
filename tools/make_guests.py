"""Builds the sample guests: `make guests`.

Each `tdxdbg/guests/NAME.S` becomes NAME.elf beside it, with the GNU assembler
and linker. The images are committed, so nobody needs these to run a guest.
They hold line numbers and symbols, but no path and no name of a constant: the
same tools make the same bytes anywhere (`tests/guests` builds them again).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tdxdbg" / "guests"

#: Parts of guests; the linker takes from them what a guest calls.
LIBRARY = ("lib", "idt", "ve")
TOOLS = ("as", "ld", "nm", "objcopy")

AS_OPTIONS = ("--64", "-I", ".", "--gdwarf-5")
LD_OPTIONS = (
    *("-static", "-nostdlib", "--nmagic", "-z", "noseparate-code", "--gc-sections"),
    *("--build-id=none", "-T", "guest.ld"),
)


def names() -> list[str]:
    """Every guest that has a source."""
    return sorted(path.stem for path in FOLDER.glob("*.S") if path.stem not in LIBRARY)


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def version() -> str:
    """What the assembler writes into the images it makes, as `GNU AS 2.40`."""
    line = _run("as", "--version").splitlines()[0]
    return f"GNU AS {line.rsplit(maxsplit=1)[-1]}"


def build(out: Path, wanted: list[str] | None = None) -> None:
    """Writes NAME.elf into `out`."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        library = [_assemble(name, work) for name in LIBRARY]
        for name in names() if wanted is None else wanted:
            objects = [_assemble(name, work), *library]
            _link(objects, work / f"{name}.elf", work)
            shutil.copyfile(work / f"{name}.elf", out / f"{name}.elf")


def _assemble(name: str, work: Path) -> Path:
    target = work / f"{name}.o"
    _run("as", *AS_OPTIONS, f"--debug-prefix-map={FOLDER}=.", "-o", target, f"{name}.S")
    return target


def _link(objects: list[Path], target: Path, work: Path) -> None:
    _run("ld", *LD_OPTIONS, "-o", target, *objects)
    constants = [line.split()[2] for line in _run("nm", target).splitlines() if " a " in line]
    if constants:
        listing = work / "constants"
        listing.write_text("\n".join(constants) + "\n")
        _run("objcopy", f"--strip-symbols={listing}", target)


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    missing = missing_tools()
    if missing:
        raise SystemExit(f"cannot find {', '.join(missing)}: install the Debian package binutils")
    build(FOLDER, sys.argv[1:] or None)


if __name__ == "__main__":
    main()
