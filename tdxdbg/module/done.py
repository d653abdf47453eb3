"""A TDCALL leaf that ran to its end."""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.regs import Regs


class Done(NamedTuple):
    """`status` for RAX; `regs` are the guest's, with the outputs in them."""

    status: int
    regs: Regs


def with_outputs(regs: Regs, outputs: dict[int, int]) -> Regs:
    """`regs` with some replaced, by register number."""
    values = list(regs)
    for number, value in outputs.items():
        values[number] = value
    return tuple.__new__(Regs, values)
