"""The tables of docs/filters.md, made from the table of fields."""

from __future__ import annotations

from collections.abc import Mapping

from tdxdbg.filters.fields import FIELDS, Field, Value


def fields_markdown() -> str:
    """A table of every field: name, type, meaning."""
    rows = [f"| `{row.name}` | {_type(row)} | {row.doc} |" for row in FIELDS.values()]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows]) + "\n"


def names_markdown() -> str:
    """A table of the names of values, of each field that has any."""
    rows = [
        f"| `{row.name}` | {_names(row.names)} | {_names(row.aliases)} |"
        for row in FIELDS.values()
        if row.names
    ]
    return "\n".join(["| field | names | also |", "|---|---|---|", *rows]) + "\n"


def _type(row: Field) -> str:
    return f"{row.type.value} (ns)" if row.nanoseconds else row.type.value


def _names(names: Mapping[str, Value]) -> str:
    prefix = _common_prefix(names)
    if prefix:
        return f"the same with `{prefix}` in front"
    return " ".join(f"`{name}`" for name in names)


def _common_prefix(names: Mapping[str, Value]) -> str:
    """`EXIT_REASON_` where all aliases begin so: a list of them would say nothing more."""
    for prefix in ("EXIT_REASON_", "TDVMCALL_STATUS_"):
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    return ""
