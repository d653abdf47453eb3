"""What a text that is being typed into a prompt means, said at each key."""

from __future__ import annotations

from itertools import chain, islice

from tdxdbg.filters import FilterError, complete, completion_start
from tdxdbg.ui.live.targets import (
    CONSOLE,
    Address,
    Names,
    TargetError,
    parse_address,
    parse_stop,
    parse_written,
)
from tdxdbg.ui.prompt import Verdict

_NAMES_OFFERED = 12


def judge_stop(text: str, cursor: int, names: Names) -> Verdict:
    """A breakpoint."""
    words, start = _stop_words(text, cursor, names)
    if not text.strip():
        return Verdict(False, "", start, words)
    try:
        stop = parse_stop(text, names)
    except TargetError as error:
        return Verdict(False, str(error), start, words)
    except FilterError as error:
        return Verdict(False, str(error), start, words)
    if stop.address is None:
        return Verdict(True, "stops at each exit to userspace, answer or entry like this",
                       start, words)  # fmt: skip
    place = _place(stop.address)
    if stop.kind == "code":
        return Verdict(True, f"stops before the instruction at {place}", start, words)
    if stop.kind == "mapping":
        first, last = stop.address.value, stop.address.value + stop.size - 1
        says = f"stops after pages in {first:#x}..{last:#x} are converted"
        return Verdict(True, says, start, words)
    many = f"{stop.size} byte{'s' * (stop.size != 1)}"
    return Verdict(True, f"stops before a write to {many} at {place}", start, words)


def judge_address(text: str, cursor: int, names: Names) -> Verdict:
    """An address."""
    words, start = _symbol_words(text, cursor, names)
    if not text.strip():
        return Verdict(False, "", start, words)
    try:
        return Verdict(True, _place(parse_address(text, names)), start, words)
    except TargetError as error:
        return Verdict(False, str(error), start, words)


def judge_vector(text: str, cursor: int) -> Verdict:
    """An interrupt vector and, after a blank, a vCPU."""
    try:
        vector, vcpu = parse_vector(text)
    except TargetError as error:
        return Verdict(False, str(error) if text.strip() else "")
    return Verdict(True, f"raises vector {vector:#x} at vCPU {vcpu}")


def parse_vector(text: str) -> tuple[int, int]:
    """Vector and vCPU; raises TargetError."""
    words = text.split()
    try:
        numbers = [int(item, 0) for item in words]
    except ValueError:
        raise TargetError("a vector from 16 to 255, as 33 or 0x21") from None
    if not 1 <= len(numbers) <= 2 or not 16 <= numbers[0] <= 255 or min(numbers) < 0:
        raise TargetError("a vector from 16 to 255, as 33 or 0x21, and perhaps a vCPU")
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def judge_written(text: str, cursor: int, direction: int) -> Verdict | None:
    """A text that the guest is to write; None for a place of another kind."""
    try:
        found = parse_written(text, direction)
    except TargetError as error:
        return Verdict(False, str(error), cursor, unfinished=text.strip() == CONSOLE)
    if found is None:
        return None
    return Verdict(True, f"on until the guest has written {_shown(found)} to its console", cursor)


def _shown(data: bytes) -> str:
    return repr(data)[1:]


def with_console(verdict: Verdict, text: str, cursor: int) -> Verdict:
    """With the word that begins such a text, where that could be meant."""
    typed = text[:cursor].lstrip()
    if not typed or not CONSOLE.startswith(typed):
        return verdict
    start = len(text[:cursor]) - len(typed)
    words = verdict.words if verdict.start == start else ()
    return verdict._replace(start=start, words=(f"{CONSOLE} ", *words))


def _place(address: Address) -> str:
    return f"{'' if address.linear else 'GPA '}{address.value:#x}"


def _stop_words(text: str, cursor: int, names: Names) -> tuple[tuple[str, ...], int]:
    first = text[:cursor].lstrip().partition(" ")
    if first[0] in ("watch", "at") and first[1]:
        return _symbol_words(text, cursor, names)
    found = complete(text, cursor)
    symbols, start = _symbol_words(text, cursor, names)
    if found:
        return tuple(found), completion_start(text, cursor)
    return symbols, start


def _symbol_words(text: str, cursor: int, names: Names) -> tuple[tuple[str, ...], int]:
    before = text[:cursor]
    start = max(before.rfind(" "), before.rfind("+"), before.rfind("-")) + 1
    typed = before[start:]
    if not typed:
        return (), start
    every = chain(names.symbols.names(), names.registers)
    found = (name for name in every if name.startswith(typed) and name != typed)
    return tuple(islice(found, _NAMES_OFFERED)), start
