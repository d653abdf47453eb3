"""What a live run is made of, as a value: the same value gives the same run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from tdxdbg import guests
from tdxdbg.engine import BY_NAME
from tdxdbg.engine.generations import NEWEST
from tdxdbg.errors import SessionError
from tdxdbg.traces.meta import GPA_WIDTHS

#: Far more than a person gives.
_LONGEST: Final = 4096
_MOST_POLICIES: Final = 64

#: Engine steps that one exit of the budget may take: a MapGPA of 16 GiB fits.
STEPS_OF_EXIT: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """A guest, and the kernel, VM and VMM around it.

    `guest`: a sample guest's name, an ELF or a flat file; with `linux` the bzImage
    or vmlinux of a kernel, with `initrd` (a file) and `append` (its command line).
    `firmware`: a TDVF image that boots the kernel, "" none; its variables are
    left out unless `keep_variables`. `kernel`: a generation's name, "" the
    newest. `vcpus`: 0 is what the guest is made for. `memory` in MiB.
    `policies` of the VMM, by name. `record`: where the recording goes. `seed`:
    for RDRAND and RDSEED. `exits` and `instructions`: after how many the run
    stops for good, 0 never. Exits are those from the TD; as one MapGPA can be
    2^30 exits to userspace, STEPS_OF_EXIT engine steps for each end it too.
    """

    guest: str
    kernel: str = ""
    gpaw: int = 48
    vcpus: int = 0
    memory: int = 64
    policies: tuple[str, ...] = ()
    record: str = ""
    seed: int = 0
    exits: int = 0
    instructions: int = 0
    linux: bool = False
    initrd: str = ""
    append: str = ""
    firmware: str = ""
    keep_variables: bool = False

    def __post_init__(self) -> None:
        if self.kernel and self.kernel not in BY_NAME:
            raise SessionError(
                f"no kernel generation {self.kernel!r}: there are {', '.join(BY_NAME)}"
            )
        if self.gpaw not in GPA_WIDTHS:
            raise SessionError(f"a GPA width of {self.gpaw} bits: a TD has 48 or 52")
        for name, most in _NUMBERS.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= most:
                raise SessionError(f"{name} {value!r}: give a number from 0 to {most}")
        if len(self.policies) > _MOST_POLICIES:
            raise SessionError(f"{len(self.policies)} policies: at most {_MOST_POLICIES}")
        for name in ("linux", "keep_variables"):
            if type(getattr(self, name)) is not bool:
                raise SessionError(f"{name} {getattr(self, name)!r}: give true or false")
        texts: tuple[object, ...]
        texts = (self.guest, self.record, self.initrd, self.firmware, *self.policies)
        for text in texts:
            if not isinstance(text, str) or len(text) > _LONGEST or "\0" in text:
                raise SessionError(f"{str(text)[:40]!r} is no name of a guest, file or policy")
        append: object = self.append
        if not isinstance(append, str) or len(append) > _LONGEST:
            raise SessionError(f"append {str(append)[:40]!r}: no command line of a kernel")

    @property
    def generation(self) -> str:
        """The kernel generation's name."""
        return self.kernel or NEWEST.name

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> LiveConfig:
        """Raises SessionError for what is no configuration."""
        names = {item.name for item in fields(cls)}
        if not isinstance(data, dict) or not set(data) <= names or "guest" not in data:
            raise SessionError("not the configuration of a live run")
        policies = data.get("policies", ())
        if not isinstance(policies, (list, tuple)):
            raise SessionError("policies must be a list of names")
        return cls(**{**data, "policies": tuple(policies)})


_NUMBERS: Final = {
    "vcpus": 32,
    "memory": 3072,
    "seed": (1 << 64) - 1,
    "exits": (1 << 62) - 1,
    "instructions": (1 << 62) - 1,
}


def locate(guest: str) -> tuple[Path, int]:
    """The image of a guest, and how many vCPUs it is made for; raises SessionError.

    The name of a sample guest goes first: `./NAME` is the file of that name.
    """
    if guest.isidentifier():
        try:
            found = guests.find(guest)
        except SessionError:
            if not os.path.exists(guest):
                raise
        else:
            return found.image, found.vcpus
    path = Path(guest)
    if not path.is_file():
        raise SessionError(f"{guest}: no such file, and no sample guest; give an ELF or flat image")
    return path, 1
