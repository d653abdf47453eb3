"""Looking things up in a decode tree."""

from __future__ import annotations

from collections.abc import Iterator

from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs
from tdxdbg.decode.node import Node
from tdxdbg.engine import TdExit

SHARED48 = 1 << 47
SHARED52 = 1 << 51
MIB = 1 << 20


def call(r11: int, *, rcx: int = LINUX_EXPOSE_MASK, vcpu: int = 0, **regs: int) -> TdExit:
    """A TDVMCALL of a Linux guest."""
    return TdExit(vcpu, 77, Regs(rcx=rcx, r11=r11, **regs))


def walk(tree: Node) -> Iterator[Node]:
    yield tree
    for child in tree.children:
        yield from walk(child)


def find(tree: Node, name: str) -> Node:
    return next(node for node in walk(tree) if node.name == name)


def rows(tree: Node) -> dict[str, tuple[str, str]]:
    """Direct children by name: raw and meaning."""
    return {child.name: (child.raw, child.meaning) for child in tree.children}
