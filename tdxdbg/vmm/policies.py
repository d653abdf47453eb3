"""Policies: what a VMM does otherwise than QEMU, by name.

A policy wraps what is below it: QEMU's behaviour, or another policy. It sees
each exit, and can answer it, or ask what is below and change that. What it
remembers is `state`, one immutable value; the rest follows:

    >>> import errno
    >>> from tdxdbg.vmm import Policy, Reply, Vmm
    >>> class Refuse(Policy):
    ...     '''The first conversion fails.'''
    ...     state = 0
    ...     def reply(self, ask, below):
    ...         if ask.is_conversion and not self.state:
    ...             self.state = 1
    ...             return Reply(ask.conversion_answer(errno.EINVAL))
    ...         return below(ask)
    >>> vmm = Vmm([Refuse(), "event-every:2"])

One that is to have a name is a line in POLICIES. On the command line a name
takes its parameters behind colons: `eagain:2`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from tdxdbg.abi.kvm import (
    MSR_EXIT_REASON_FILTER,
    MSR_EXIT_REASON_INVAL,
    MSR_EXIT_REASON_UNKNOWN,
)
from tdxdbg.engine import Td
from tdxdbg.errors import SessionError
from tdxdbg.vmm.ask import Ask, Board, Reply

Below = Callable[[Ask], Reply]

#: The vector of `event-every`; one that no PC gives a meaning.
EVENT_VECTOR: Final = 0x40
_MSR_EXITS: Final = MSR_EXIT_REASON_INVAL | MSR_EXIT_REASON_UNKNOWN | MSR_EXIT_REASON_FILTER
_MANY: Final = 1 << 32


class Policy:
    """Does nothing else than what is below. Override what is to be otherwise."""

    #: What it remembers: an immutable value, part of every checkpoint.
    state: Any = None

    def reply(self, ask: Ask, below: Below) -> Reply:
        """The reply to an exit; `below(ask)` says what it would be without this policy."""
        return below(ask)

    def td(self, td: Td) -> Td:
        """The TD as it is to be set up."""
        return td

    def board(self, board: Board) -> Board:
        """What the VM is built of."""
        return board


class Eagain(Policy):
    """The first N conversions are answered with EAGAIN, and nothing is converted."""

    def __init__(self, count: int) -> None:
        self.state: int = count

    def reply(self, ask: Ask, below: Below) -> Reply:
        if not self.state or not ask.is_conversion:
            return below(ask)
        self.state -= 1
        return Reply(ask.conversion_answer(errno.EAGAIN))


class ConvertNothing(Policy):
    """Every conversion is answered with success, and nothing is converted.

    What faults later is converted all the same, or the guest would never go on.
    """

    def reply(self, ask: Ask, below: Below) -> Reply:
        return Reply(ask.conversion_answer(0)) if ask.is_conversion else below(ask)


class EventEvery(Policy):
    """At every K-th conversion an interrupt becomes pending for the vCPU."""

    def __init__(self, every: int, vector: int) -> None:
        self.every = every
        self.vector = vector
        self.state: int = 0

    def reply(self, ask: Ask, below: Below) -> Reply:
        if ask.is_conversion:
            self.state = (self.state + 1) % self.every
            if not self.state:
                ask.events.raise_vector(ask.vcpu, self.vector)
        return below(ask)


class NoHypercallCap(Policy):
    """KVM_CAP_EXIT_HYPERCALL is never enabled: KVM refuses every MapGPA by itself."""

    def td(self, td: Td) -> Td:
        return replace(td, exit_hypercall=False)


class MsrExits(Policy):
    """KVM_CAP_X86_USER_SPACE_MSR: MSR accesses that KVM refuses exit to userspace."""

    def td(self, td: Td) -> Td:
        return replace(td, user_space_msr_mask=_MSR_EXITS)


class NoQuotingService(Policy):
    """GetQuote finds nobody who makes quotes."""

    def board(self, board: Board) -> Board:
        return board._replace(quoting_service=False)


class QuoteAfter(Policy):
    """A quote is there N exits to userspace after it was asked for; until then it is in flight."""

    def __init__(self, exits: int) -> None:
        self.exits = exits

    def board(self, board: Board) -> Board:
        return board._replace(quote_delay=self.exits)


class Parameter(NamedTuple):
    """A number behind the name of a policy, from `low` to `high`; it may be left out if
    there is a `default`.
    """

    name: str
    low: int
    high: int
    default: int | None = None


class Entry(NamedTuple):
    """A policy that has a name; `make` takes its parameters in order."""

    name: str
    story: str
    make: Callable[..., Policy]
    parameters: tuple[Parameter, ...] = ()

    @property
    def usage(self) -> str:
        """`event-every:K[:VECTOR]`."""
        text = self.name
        for parameter in self.parameters:
            piece = f":{parameter.name}"
            text += piece if parameter.default is None else f"[{piece}]"
        return text


#: What every VMM does below all policies; it can be named, as the first.
BASE: Final = "qemu"

POLICIES: Final[dict[str, Entry]] = {
    entry.name: entry
    for entry in (
        Entry(BASE, "what QEMU does", Policy),
        Entry(
            "eagain",
            "answers the first N conversions with EAGAIN",
            Eagain,
            (Parameter("N", 1, _MANY),),
        ),
        Entry(
            "event-every",
            "an interrupt becomes pending at every K-th conversion",
            EventEvery,
            (Parameter("K", 1, _MANY), Parameter("VECTOR", 32, 255, EVENT_VECTOR)),
        ),
        Entry("no-hypercall-cap", "never enables KVM_CAP_EXIT_HYPERCALL", NoHypercallCap),
        Entry("convert-nothing", "says that it converted, and does not", ConvertNothing),
        Entry("msr-exits", "gets the MSR accesses that KVM refuses, and fails them", MsrExits),
        Entry("no-quoting-service", "has nobody to ask for quotes", NoQuotingService),
        Entry(
            "quote-after",
            "a quote takes N exits to userspace",
            QuoteAfter,
            (Parameter("N", 1, _MANY),),
        ),
    )
}


def make_policies(policies: Sequence[str | Policy]) -> tuple[Policy, ...]:
    """Policies out of names with parameters, in order; raises SessionError."""
    made = []
    for place, policy in enumerate(policies):
        if isinstance(policy, Policy):
            made.append(policy)
            continue
        if policy == BASE and place:
            raise SessionError(f"policy {BASE!r} is below all others: name it first, or not at all")
        made.append(_make(policy))
    return tuple(made)


def _make(text: str) -> Policy:
    name, *given = text.split(":")
    entry = POLICIES.get(name)
    if entry is None:
        near = get_close_matches(name, POLICIES, n=3, cutoff=0.5) or list(POLICIES)
        usages = ", ".join(POLICIES[each].usage for each in near)
        raise SessionError(f"no policy {name!r}: did you mean {usages}?")
    if len(given) > len(entry.parameters):
        raise SessionError(f"policy {text!r} has too many parameters: give {entry.usage}")
    values = []
    for place, parameter in enumerate(entry.parameters):
        if place < len(given):
            values.append(_number(text, given[place], entry, parameter))
        elif parameter.default is None:
            raise SessionError(f"policy {text!r} lacks {parameter.name}: give {entry.usage}")
        else:
            values.append(parameter.default)
    return entry.make(*values)


def _number(text: str, given: str, entry: Entry, parameter: Parameter) -> int:
    try:
        value = int(given, 0)
    except ValueError:
        value = parameter.low - 1
    if not parameter.low <= value <= parameter.high:
        raise SessionError(
            f"policy {text!r}: {parameter.name} is not a number from {parameter.low} to"
            f" {parameter.high}; give {entry.usage}"
        )
    return value
