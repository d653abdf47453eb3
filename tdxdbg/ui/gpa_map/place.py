"""What a person types to name a place of the map: `40000000`, `4G+2M`, `r12-4K`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Final

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.timeline import Moment
from tdxdbg.ui.gpa_map.window import TOP
from tdxdbg.ui.live.targets import TargetError
from tdxdbg.ui.prompt import Verdict

_LONGEST: Final = 80
_TERMS: Final = re.compile(r"([+-]?)\s*([^\s+-]+(?:\s+[a-z]i?b?(?=\s|$|[+-]))?)\s*")
_SIZE: Final = re.compile(r"([0-9]+)\s*([kmgtp])(?:i?b)?")
_HEX: Final = re.compile(r"(?:0x)?[0-9a-f]+")
_SHIFTS: Final = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_HOW: Final = "an address: 40000000, 4G, r12, with + or - another of these"


def registers_of(moment: Moment) -> dict[str, int]:
    """The registers of a moment that are known, as they are after its step."""
    found = {}
    for number, name in enumerate(REG_NAMES):
        if moment.after_known >> number & 1:
            found[name] = moment.after[number]
        elif moment.before_known >> number & 1:
            found[name] = moment.before[number]
    return found


def parse_gpa(text: str, registers: Mapping[str, int], shared_mask: int) -> int:
    """The GPA that a text names, without the shared bit; raises TargetError.

    Numbers are hexadecimal, as everywhere on the screen; with a unit (4G, 512
    KiB) they are decimal.
    """
    rest = text.strip().lower()
    if not rest or len(rest) > _LONGEST:
        raise TargetError(_HOW)
    value, at = 0, 0
    while at < len(rest):
        match = _TERMS.match(rest, at)
        if match is None or bool(match[1]) == (at == 0):
            raise TargetError(f"{rest[at:]!r} is not {_HOW}")
        value += _term(match[2], registers) * (-1 if match[1] == "-" else 1)
        at = match.end()
    gpa = value & ~shared_mask
    if not 0 <= gpa < TOP:
        raise TargetError(f"{value:#x} is not an address of 52 bits")
    return gpa


def _term(text: str, registers: Mapping[str, int]) -> int:
    if text in registers:
        return registers[text]
    if size := _SIZE.fullmatch(text):
        return int(size[1]) << _SHIFTS[size[2]]
    if _HEX.fullmatch(text):
        return int(text, 16)
    if text in REG_NAMES:
        raise TargetError(f"{text} was not recorded here")
    near = difflib.get_close_matches(text, registers, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise TargetError(f"{text!r} is not {_HOW}{hint}")


def judge_gpa(
    text: str,
    cursor: int,
    registers: Mapping[str, int],
    shared_mask: int,
    describe: Callable[[int], str],
) -> Verdict:
    """What a text that is being typed means; `describe` says what is at a GPA."""
    before = text[:cursor]
    start = max(before.rfind(mark) for mark in " +-") + 1
    typed = before[start:].lower()
    words = tuple(name for name in registers if typed and name != typed and name.startswith(typed))
    if not text.strip():
        return Verdict(False, "", start, words)
    try:
        gpa = parse_gpa(text, registers, shared_mask)
    except TargetError as error:
        return Verdict(False, str(error), start, words)
    return Verdict(True, describe(gpa), start, words)
