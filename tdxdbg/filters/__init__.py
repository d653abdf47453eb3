"""The display filter: one language for the queue, breakpoints, print, export and find.

    wanted = compile_filter("leaf == MapGPA and gpa in 2G..3G")
    wanted.matches(row)     # one row
    wanted.mask(columns)    # many rows at once

Importing this imports neither lark nor numpy; compiling the first filter that is
more than a flag (or `prepare`) and asking for the first mask do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tdxdbg.filters.errors import ColumnUnavailableError, FilterError
from tdxdbg.filters.fields import FIELDS, Field, Type
from tdxdbg.filters.scalar import Row, predicate
from tdxdbg.filters.tree import Compare, Node, leaves

if TYPE_CHECKING:
    from tdxdbg.filters.columns import Columns, Mask

__all__ = [
    "FIELDS",
    "ColumnUnavailableError",
    "Field",
    "Filter",
    "FilterError",
    "Type",
    "compile_filter",
    "complete",
    "completion_start",
    "prepare",
]


@dataclass(frozen=True)
class Filter:
    """A compiled filter. `fields`: the names of the fields it looks at, each once."""

    text: str
    tree: Node
    fields: tuple[str, ...] = field(init=False, compare=False)
    _predicate: Callable[[Row], bool | None] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = dict.fromkeys(leaf.field for leaf in leaves(self.tree))
        object.__setattr__(self, "fields", tuple(names))
        object.__setattr__(self, "_predicate", predicate(self.tree))

    def __reduce__(self) -> tuple[Any, ...]:
        return Filter, (self.text, self.tree)

    def matches(self, row: Row) -> bool:
        """Whether a row (an attribute per field, None is unknown) surely matches."""
        return self._predicate(row) is True

    def mask(self, columns: Columns) -> Mask:
        """The same for many rows; see `columns` for what a column may be.

        Raises ColumnUnavailableError where a field that is needed has no
        usable column.
        """
        from tdxdbg.filters import columns as by_column

        return by_column.mask(self.tree, columns)

    def candidates(self, columns: Columns) -> tuple[Mask, bool]:
        """The rows that may match, as far as these columns can say.

        The second value: whether they surely do; else `matches` decides on each.
        Raises ColumnUnavailableError only if there is no column at all.
        """
        from tdxdbg.filters import columns as by_column

        return by_column.candidates(self.tree, columns)


def compile_filter(text: str) -> Filter:
    """Raises FilterError, and nothing else, on any text."""
    known = FIELDS.get(text)
    if known is not None and known.type is Type.BOOLEAN:
        # `error`, `retry`: what every screen counts is no reason to load a parser.
        return Filter(text, Compare(text, "==", 1))
    from tdxdbg.filters.language import parse

    return Filter(text, parse(text))


def prepare() -> None:
    """Load the parser, which the first filter would wait for; any thread may do that."""
    compile_filter("not retry")


def complete(text: str, cursor: int) -> list[str]:
    """The words that could stand at the cursor; they replace `text[completion_start():cursor]`."""
    from tdxdbg.filters import completion

    return completion.complete(text, cursor).words


def completion_start(text: str, cursor: int) -> int:
    """Where the word begins that the words of `complete` replace."""
    from tdxdbg.filters import completion

    return completion.complete(text, cursor).start
