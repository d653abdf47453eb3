"""The decoded form: a tree of rows, and the registers that a decoder reads from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import RCX, REG_NAMES, Regs
from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.values import NOT_RECORDED, UNKNOWN, exit_reason_of, hexa
from tdxdbg.engine.state import Td, TdExit

#: Register numbers by name.
NUMBERS: Final = {name: number for number, name in enumerate(REG_NAMES)}
#: Registers that the display filter does not have: RAX is another thing there.
UNFILTERED: Final = frozenset({"rax", "rsp", "rbp"})


class Node(NamedTuple):
    """One row of a decode tree; `raw` is the number as it is, `meaning` what it says.

    `filter` is a display-filter expression that selects rows with this value.
    """

    name: Safe
    raw: Safe
    meaning: Safe
    children: tuple[Node, ...] = ()
    filter: str | None = None


def node(
    name: str,
    raw: str = "",
    meaning: str = "",
    *children: Node,
    where: str | None = None,
) -> Node:
    """A row out of any text: this is where it goes through `safe`, once."""
    return Node(safe(name), safe(raw), safe(meaning), children, where)


#: A register's value to its meaning, or a fixed meaning.
Meaning = Callable[[int], str] | str


class Operands(NamedTuple):
    """A register file with what is known of it and what the RCX bitmap selects.

    `mask` is RCX of a TDVMCALL, None when nothing is hidden (an asynchronous
    exit) or when RCX was not recorded; `reason` is the 32-bit VMX exit reason.
    """

    regs: Regs
    known: int
    mask: int | None
    td: Td
    reason: int = 0

    def get(self, name: str) -> int | None:
        """The value that KVM sees; None when it was not recorded."""
        number = NUMBERS[name]
        if self.known >> number & 1:
            return self.regs[number]
        return 0 if self.hidden(name) else None

    def hidden(self, name: str) -> bool:
        """Whether RCX leaves this register out, so that KVM reads 0 (facts: kernel_exits 2)."""
        number = NUMBERS[name]
        return self.mask is not None and number != RCX and not self.mask >> number & 1

    def row(
        self,
        label: str,
        name: str,
        meaning: Meaning = "",
        *children: Node,
        where: str | None = None,
    ) -> Node:
        """A row for one operand register, saying so when it is hidden or was not recorded."""
        number = NUMBERS[name]
        title = f"{label} ({name.upper()})" if label else name.upper()
        if self.hidden(name):
            why = f"hidden: RCX bit {number} is clear, so KVM reads 0"
            return node(title, "0x0", why, *children, where=where)
        value = self.get(name)
        if value is None:
            return node(title, UNKNOWN, NOT_RECORDED)
        text = meaning if isinstance(meaning, str) else meaning(value)
        if where is None and name not in UNFILTERED:
            where = f"{name} == {hexa(value)}"
        return node(title, hexa(value), text, *children, where=where)


def operands(td_exit: TdExit, known: int, td: Td) -> Operands:
    """The registers of a TD exit; `known` as in a record, bit n for register n."""
    both = td_exit.known & known
    hides = is_tdcall(td_exit) and both >> RCX & 1
    reason = exit_reason_of(td_exit.vp_enter_ret) or 0
    return Operands(td_exit.regs, both, td_exit.regs.rcx if hides else None, td, reason)


def is_tdcall(td_exit: TdExit) -> bool:
    """Whether this TD exit is a TDVMCALL, as the TDX module reports it."""
    reason = exit_reason_of(td_exit.vp_enter_ret)
    return reason is not None and reason & vmx.BASIC_MASK == vmx.TDCALL


def bit(label: str, value: int, number: int, yes: str, no: str) -> Node:
    """A row for one bit of a qualification."""
    is_set = value >> number & 1
    return node(f"bit {number} {label}", str(is_set), yes if is_set else no)
