"""A compared row as text, as mail and as JSON.

Generations that do and give the same are one block. What the guest or the
trace wrote comes from `queue_line`, as `Safe` text; all else is this program's
own words and numbers. Layout does not escape a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import TextWrapper
from typing import Final

from tdxdbg.abi.kvm import exit_name
from tdxdbg.analysis.compare import (
    ComparedRow,
    ExitField,
    Side,
    ToGuest,
    ToUserspace,
    Written,
    differences,
)
from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.values import UNKNOWN, errno_text, hexa, reply_name, time_text
from tdxdbg.timeline.whatif import RowEnd

#: Columns of a mail: what survives being quoted.
MAIL_WIDTH: Final = 72
#: Columns of the text form: the mark, the generations, userspace; the guest has the rest.
_NAMES_WIDTH: Final = 10
_USERSPACE_WIDTH: Final = 62
_GUEST_WIDTH: Final = 40

#: The mark of what is not as in the reference.
DIFFERS: Final = "*"


def groups(row: ComparedRow) -> list[list[Side]]:
    """Sides that are the same, together; the reference's group first, then as given."""
    ordered = [row.sides[row.reference]]
    ordered += [side for at, side in enumerate(row.sides) if at != row.reference]
    found: list[list[Side]] = []
    for side in ordered:
        for group in found:
            if _alike(group[0], side):
                group.append(side)
                break
        else:
            found.append([side])
    return found


def _alike(one: Side, other: Side) -> bool:
    flags = (one.known, one.assumed, one.diverged)
    return flags == (other.known, other.assumed, other.diverged) and not differences(one, other)


# --- text -----------------------------------------------------------------------------


def text_lines(row: ComparedRow) -> list[Safe]:
    """The row's line, then three columns: generations, to userspace, to the guest."""
    head = (f"#{row.row}", time_text(row.time), f"v{row.vcpu}", row.name, row.arguments)
    lines = ["  ".join(cell for cell in head if cell)]
    found = groups(row)
    for group in found:
        side = group[0]
        names = ["all"] if len(found) == 1 and len(group) > 1 else [s.generation for s in group]
        names += _flags(side)
        userspace = _column(userspace_texts(side), _USERSPACE_WIDTH)
        guest = _column(guest_texts(side), _GUEST_WIDTH)
        mark = DIFFERS if side.differs else ""
        for name, left, right in zip_longest(names, userspace, guest, fillvalue=""):
            line = f"  {mark:2}{name:{_NAMES_WIDTH}}{left:{_USERSPACE_WIDTH}}  {right}"
            lines.append(line.rstrip())
            mark = ""
    return [Safe(line) for line in lines]


def mail_lines(row: ComparedRow) -> list[Safe]:
    """The same for a mailing list: at most 72 columns, a blank line at the end."""
    lines = _wrapped(f"exit {row.row}, vCPU {row.vcpu}: {row.name} {row.arguments}", "")
    for group in groups(row):
        side = group[0]
        words = _flags(side)
        if side.differs:
            words.insert(0, f"differs in {', '.join(side.differs)}")
        names = ", ".join(item.generation for item in group)
        title = f"{names} ({'; '.join(words)}):" if words else f"{names}:"
        lines += _wrapped(title, f"{DIFFERS if side.differs else ' '} ")
        for text in userspace_texts(side):
            lines += _wrapped(f"userspace: {text}", "    ")
        for text in guest_texts(side):
            lines += _wrapped(f"guest: {text}", "    ")
    return [Safe(line) for line in (*lines, "")]


class _Wrapper(TextWrapper):
    """Breaks lines at spaces, and behind the commas of an array."""

    wordsep_simple_re = re.compile(r"([\t\n ]+)|(?<=,)")


def _wrapped(text: str, indent: str) -> list[str]:
    following = " " * len(indent) + "  "
    return _Wrapper(
        MAIL_WIDTH, initial_indent=indent, subsequent_indent=following, break_on_hyphens=False
    ).wrap(text)


def _column(texts: Sequence[str], width: int) -> list[str]:
    wrapper = _Wrapper(width, subsequent_indent="  ", break_on_hyphens=False)
    return [line for text in texts for line in wrapper.wrap(text)]


def _flags(side: Side) -> list[str]:
    """What a reader must know before believing a side."""
    words = (
        ("assumed", side.assumed),
        ("diverged", side.diverged),
    )
    return [word for word, is_set in words if is_set]


def userspace_texts(side: Side) -> list[Safe]:
    """What userspace gets: the first exit, the last one, and how many lie between."""
    if not side.known:
        return [safe("too little was recorded to compute it")]
    if not side.exits:
        return [safe("nothing")]
    texts = [_exit_text(side.exits[0])]
    between = len(side.exits) - 2
    if between > 0:
        texts.append(f"... {between} more")
    if between >= 0:
        texts.append(_exit_text(side.exits[-1]))
    return [safe(text) for text in texts]


def _exit_text(item: ToUserspace) -> str:
    words = []
    if item.errno:
        words.append(f"KVM_RUN = -{errno_text(item.errno)}")
    if item.exit_reason is not None:
        words.append(exit_name(item.exit_reason))
    if item.run_flags:
        words.append(f"run.flags={_number(item.run_flags)}")
    return " ".join([*words, *_field_texts(item.fields)]) or UNKNOWN


def _field_texts(fields: Sequence[ExitField]) -> Iterator[str]:
    """`nr=0xc args=0x40000000,0x200,0 ret=0`, elements that KVM did not write left out."""
    texts: dict[str, list[str]] = {}
    for field in _worth_showing(fields):
        name, bracket, _ = field.name.partition("[")
        text = _value(field.value)
        if field.written is not Written.WRITTEN:
            if bracket:
                continue
            text = f"{text} (not written)" if field.written is Written.STALE else UNKNOWN
        texts.setdefault(name, []).append(text)
    for name, values in texts.items():
        yield f"{name}={','.join(values)}"


def _worth_showing(fields: Sequence[ExitField]) -> Iterator[ExitField]:
    """All fields, but of v19's raw exit no register that is 0 and no output that is as given."""
    values = {field.name: field.value for field in fields}
    for field in fields:
        given = field.name.replace("out_", "in_", 1)
        if given != field.name and values.get(given) == field.value:
            continue
        if field.name.startswith("in_") and field.value == 0:
            continue
        yield field


def _value(value: int | bytes | None) -> str:
    if value is None:
        return UNKNOWN
    return _number(value) if isinstance(value, int) else value.hex()


def _number(value: int) -> str:
    return str(value) if value < 10 else hexa(value)


def guest_texts(side: Side) -> list[Safe]:
    """What the guest gets: the status, R11, and what else changed."""
    if not side.known:
        return [safe(UNKNOWN)]
    if side.dead:
        return [safe("the VM is dead")]
    if side.guest is None:
        return [safe(_NOT_ENTERED[side.end])]
    return [safe(" ".join(_register_texts(side.guest)) or "goes on as it was")]


_NOT_ENTERED: Final = {
    RowEnd.ENTERED: "is not entered",
    RowEnd.STOPPED: "is not entered",
    RowEnd.UNRECORDED: "no entry recorded",
    RowEnd.CUT: "goes on; a row is not read further than this",
}


def _register_texts(guest: ToGuest) -> Iterator[str]:
    for name, value in guest.registers:
        if name == "r10":
            yield f"R10={reply_name(value, vendor=guest.vendor)}"
    for name, value in guest.registers:
        if name != "r10" and name in guest.changed:
            yield f"{name.upper()}={hexa(value)}"


# --- JSON -----------------------------------------------------------------------------


def json_object(row: ComparedRow) -> dict[str, object]:
    """One row; registers and fields are hex text, because they have 64 bits."""
    return {
        "row": row.row,
        "time_ns": row.time,
        "vcpu": row.vcpu,
        "name": row.name,
        "arguments": row.arguments,
        "reference": row.sides[row.reference].generation,
        "differs": row.differs,
        "generations": {side.generation: _json_side(side) for side in row.sides},
    }


def _json_side(side: Side) -> dict[str, object]:
    return {
        "recorded": side.recorded,
        "known": side.known,
        "assumed": side.assumed,
        "diverged": side.diverged,
        "differs": list(side.differs),
        "userspace": [_json_exit(item) for item in side.exits],
        "guest": None if side.guest is None else _json_guest(side.guest),
        "dead": side.dead,
        "end": side.end.value,
    }


def _json_exit(item: ToUserspace) -> dict[str, object]:
    return {
        "errno": item.errno,
        "exit": None if item.exit_reason is None else exit_name(item.exit_reason),
        "exit_reason": item.exit_reason,
        "run_flags": item.run_flags,
        "fields": {field.name: _json_value(field.value) for field in item.fields},
        "not_written": [f.name for f in item.fields if f.written is Written.STALE],
    }


def _json_value(value: int | bytes | None) -> str | None:
    if value is None:
        return None
    return hexa(value) if isinstance(value, int) else value.hex()


def _json_guest(guest: ToGuest) -> dict[str, object]:
    return {
        "registers": {name: hexa(value) for name, value in guest.registers},
        "changed": sorted(guest.changed),
    }
