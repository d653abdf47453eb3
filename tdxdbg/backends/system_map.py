"""System.map: the symbols of a kernel as text, a line for each, as nm writes them.

A file that was made of /proc/kallsyms is read too; its modules are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tdxdbg.backends.debug_info import Symbol
from tdxdbg.backends.elf import read_file
from tdxdbg.backends.kallsyms import KERNEL, LONGEST_NAME, rank
from tdxdbg.errors import BackendError

#: Of a kernel it has about 10 MB.
_LARGEST: Final = 64 << 20
#: Debian's file in the place of the real one, which is in the package with DWARF.
_PLACEHOLDER: Final = "The real System.map is in"


def read_system_map(path: Path) -> list[Symbol]:
    """The kernel's half of it; raises BackendError."""
    data = read_file(path, "a System.map")
    if len(data) > _LARGEST:
        raise BackendError(f"{path.name} has {len(data)} bytes, the most is {_LARGEST}")
    found = []
    for number, line in enumerate(data.decode("latin-1").splitlines(), 1):
        if _PLACEHOLDER in line:
            raise BackendError(
                f"{path.name} says: {line[:120]}; leave it away, the kernel has names of its own"
            )
        words = line.split()
        if len(words) == 4 and words[3].startswith("["):
            continue
        if len(words) != 3 or len(words[1]) != 1 or len(words[2]) > LONGEST_NAME:
            raise _bad(path, number)
        try:
            address = int(words[0], 16)
        except ValueError:
            raise _bad(path, number) from None
        if KERNEL <= address < 1 << 64:
            found.append(Symbol(address, rank(words[1]), words[2]))
    if not found:
        raise BackendError(
            f"{path.name} has no symbol of a kernel: give the System.map of this one"
        )
    return found


def _bad(path: Path, number: int) -> BackendError:
    return BackendError(
        f"line {number} of {path.name} is no address, type and name: give the kernel's System.map"
    )
