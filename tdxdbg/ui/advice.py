"""What to say of a filter that selects nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from tdxdbg.decode.summary import RowSummary
from tdxdbg.filters import FIELDS, Field, Filter
from tdxdbg.filters.tree import Compare, Leaf, leaves, value_text
from tdxdbg.filters.values import nearest

#: Rows that are looked at: a few milliseconds.
SAMPLE: Final = 128
_LISTED: Final = 6


def advice(
    wanted: Filter, total: int, summaries: Sequence[RowSummary], key: Callable[[str], str]
) -> list[str]:
    """One line each: that nothing matches, near names, and what `summaries` have instead.

    `key`: what a user presses, by id.
    """
    lines = [
        f"0 of {total:,} exits match {wanted.text}",
        f"{key('stop')} clears the filter, {key('filter')} changes it.",
    ]
    seen = set()
    for leaf in leaves(wanted.tree):
        if leaf.field in seen:
            continue
        seen.add(leaf.field)
        field = FIELDS[leaf.field]
        near = _near(field, leaf)
        if near:
            lines.append(f"Like it: {' or '.join(f'{field.name} == {name}' for name in near)}")
        lines.append(_instead(field, summaries))
    return lines


def _near(field: Field, leaf: Leaf) -> list[str]:
    """The names that look like the one that was asked for."""
    if not isinstance(leaf, Compare) or leaf.value not in field.shown:
        return []
    name = field.shown[leaf.value]
    return nearest(name, [each for each in field.shown.values() if each != name])


def _instead(field: Field, summaries: Sequence[RowSummary]) -> str:
    """The values of a field that are there, the most frequent first."""
    found = Counter(each for row in summaries for each in _values(getattr(row, field.name)))
    of = f"Of {len(summaries):,} exits around here"
    if not found:
        return f"{of} none says its {field.name}."
    common = [value_text(field, value) for value, _ in found.most_common(_LISTED)]
    more = f" and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
    return f"{of}, {field.name} is {' '.join(common)}{more}"


def _values(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
