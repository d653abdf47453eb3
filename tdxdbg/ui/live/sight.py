"""What is seen of a vCPU at one place of a run, as plain values for the panes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class CodeLine(NamedTuple):
    """An instruction. All text in it is untrusted: symbols and sources come from a file.

    `label` is a symbol that begins here, `comment` what a TDCALL asks for, or
    where a branch goes, `source` file and line where the image knows them.
    """

    address: int
    data: bytes
    text: str
    comment: str = ""
    label: str = ""
    source: str = ""

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + len(self.data)

    @property
    def is_tdcall(self) -> bool:
        return self.text == "tdcall"


@dataclass(frozen=True)
class Sight:
    """`place`: engine steps and guest instructions done; `where`: RIP by symbol, "" without.

    `registers` hold rip and the general registers at least. `exited`: the vCPU
    is out of the TD, in the instruction before RIP if that is a TDCALL.
    """

    place: tuple[int, int]
    vcpu: int
    vcpus: int
    registers: Mapping[str, int] = field(default_factory=dict)
    code: tuple[CodeLine, ...] = ()
    where: str = ""
    exited: bool = False

    @property
    def rip(self) -> int:
        return self.registers.get("rip", 0)
