"""A decode tree as lines, wrapped to a width."""

from __future__ import annotations

from typing import Final

from tdxdbg.decode.readings import number_in
from tdxdbg.decode.tree import Node
from tdxdbg.ui.lines import About, Line, Span, concat, line, own, wrap

_INNER: Final = own("├ ")
_LAST: Final = own("└ ")
_BAR: Final = own("│ ")
_EMPTY: Final = own("  ")
_GAP: Final = own("  ")
_COLON: Final = own(": ")
WHY: Final = "why"


def tree_lines(
    nodes: tuple[Node, ...], width: int, indent: tuple[Span, ...] = (), depth: int = 9
) -> list[Line]:
    """The nodes and what is below them, at most `depth` deep, each behind `indent`."""
    lines: list[Line] = []
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        head: Span = (_LAST if last else _INNER, "frame")
        below: Span = (_EMPTY if last else _BAR, "frame")
        children = node.children if depth > 1 else ()
        lines += node_lines(node, width, (*indent, head), (*indent, below))
        lines += tree_lines(children, width, (*indent, below), depth - 1)
    return lines


def node_lines(
    node: Node,
    width: int,
    first: tuple[Span, ...] = (),
    rest: tuple[Span, ...] = (),
    *,
    current: bool = False,
    role: str = "name",
) -> list[Line]:
    """One node: name, number, meaning; the meaning is wrapped below where it does not fit."""
    about = about_node(node)
    if node.name == WHY:
        return _why_lines(node, width, first, rest, current)
    head: list[Span] = [*first, (node.name, role)]
    if node.raw:
        head += [(_GAP, "text"), (node.raw, "value")]
    if not node.meaning:
        return [line(*head, current=current, about=about)]
    used = sum(len(text) for text, _ in head) + 2
    indent = (*rest, (_GAP, "frame"))
    room = width - sum(len(text) for text, _ in indent)
    if used + len(node.meaning) <= width:
        head += [(_GAP, "text"), (node.meaning, "text")]
        return [line(*head, current=current, about=about)]
    pieces = wrap(node.meaning, room)
    return [
        line(*head, current=current, about=about),
        *(line(*indent, (piece, "text"), current=current, about=about) for piece in pieces),
    ]


def about_node(node: Node) -> About:
    """What a row of a tree is about."""
    return About(node.name, node.raw or node.meaning, number_in(node.raw), node.filter)


def _why_lines(
    node: Node, width: int, first: tuple[Span, ...], rest: tuple[Span, ...], current: bool
) -> list[Line]:
    """A note: the kernel function, and what it decided."""
    text = concat(node.raw, _COLON, node.meaning) if node.raw else node.meaning
    room = width - sum(len(piece) for piece, _ in first)
    pieces = wrap(text, room)
    lines = [line(*first, (pieces[0], "why"), current=current)]
    return lines + [line(*rest, (piece, "why"), current=current) for piece in pieces[1:]]
