"""One conversion as the guest sees it: a MapGPA request and those that go on with it.

KVM may stop a MapGPA early with RETRY, and tells in R11 where; the guest is to
call again from there. A *chain* is the first request and those that go on. What
guests do with RETRY: facts ghci_and_guest 4.1, 4.2 and stories S01 to S05.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from tdxdbg.abi.ghci import Status


class Link(NamedTuple):
    """One request. Addresses have the shared bit as they are in the registers; None: not recorded.

    `start` and `size` are R12 and R13, `status` and `reply` R10 and R11 as the
    guest gets them (None also where the TD was not entered). `chunks` is how
    often userspace was asked, `converted` how many bytes from `start` on were.
    `hidden`: RCX does not let R10 and R11 through to the guest. `more`: the row
    has more chunks than were read.
    """

    row: int
    vcpu: int
    start: int | None
    size: int | None
    status: int | None
    reply: int | None
    outcome: str | None
    errno: int | None
    chunks: int
    converted: int | None
    hidden: bool = False
    more: bool = False

    @property
    def end(self) -> int | None:
        """The first address after the request."""
        return None if self.start is None or self.size is None else self.start + self.size

    @property
    def retried(self) -> bool:
        """Whether the guest was told to call again."""
        return self.status == Status.RETRY and self.outcome == "guest"

    @property
    def perhaps_retried(self) -> bool:
        """The same, also where the recording does not say what the guest was told."""
        return self.retried or (self.status is None and self.outcome == "guest")

    @property
    def done(self) -> bool:
        """Whether the guest was told that all of it is converted."""
        return self.status == Status.SUCCESS and self.outcome == "guest"


class Kind(Enum):
    """What is wrong with a chain, or worth knowing about it."""

    NO_PROGRESS = "retry without progress"
    GIVES_UP = "too many retries without progress"
    OUT_OF_RANGE = "R11 outside the request"
    SHARED_BIT = "R11 with another shared bit"
    HIDDEN = "R11 hidden from the guest"
    ELSEWHERE = "called again from elsewhere"
    GUEST_BIT = "called again with another shared bit"
    OTHER_END = "called again for another end"
    MOVED = "called again on another vCPU"
    IGNORED = "retry not followed"
    UNFOLLOWED = "retry not followed yet"
    REFUSED = "refused"
    FAILED = "KVM_RUN failed"
    FALSE_SUCCESS = "success without conversion"
    UNANSWERED = "not answered"
    MEDDLED = "another vCPU in the same range"
    LEFT = "left unconverted"
    UNKNOWN = "not recorded"


#: What is no mistake of anybody, only worth knowing.
_NOTES: Final = frozenset(
    {Kind.NO_PROGRESS, Kind.MOVED, Kind.UNFOLLOWED, Kind.UNANSWERED, Kind.UNKNOWN}
)


#: What follows from other exits than the request itself: an excerpt may not have them.
_OF_SEVERAL: Final = frozenset(
    {Kind.GIVES_UP, Kind.ELSEWHERE, Kind.GUEST_BIT, Kind.OTHER_END, Kind.MOVED, Kind.IGNORED,
     Kind.UNFOLLOWED, Kind.MEDDLED, Kind.LEFT}
)  # fmt: skip


class Fault(NamedTuple):
    """Something that stands out at the request of this row, and what it means for the guest."""

    kind: Kind
    row: int
    text: str

    @property
    def is_error(self) -> bool:
        """Whether somebody made a mistake, or the guest will suffer."""
        return self.kind not in _NOTES


class After(NamedTuple):
    """What followed the last request of a chain, on the same vCPU.

    `other`: the next MapGPA, which does not go on with the chain; `next`: the
    next exit, and its leaf. None: there is none, or it is too far away.
    `ends`: the recording was looked through to its end.
    """

    ends: bool = True
    next: int | None = None
    leaf: int | None = None
    halts: bool = False
    other: int | None = None


class Meddler(NamedTuple):
    """A MapGPA of another vCPU, of the same pages, between two requests of a chain."""

    row: int
    vcpu: int
    start: int
    size: int


Range = tuple[int, int]


class Chain(NamedTuple):
    """Requests in order. `start` and `end` have no shared bit; None: not recorded.

    `left` are the ranges that were asked for and are not converted; `earlier`
    and `later`: there are more requests than these.
    """

    links: tuple[Link, ...]
    start: int | None
    end: int | None
    shared: bool | None
    faults: tuple[Fault, ...]
    left: tuple[Range, ...]
    earlier: bool = False
    later: bool = False

    @property
    def vcpu(self) -> int:
        """The vCPU that began it."""
        return self.links[0].vcpu

    @property
    def finished(self) -> bool:
        """Whether everything that was asked for is converted."""
        return self.links[-1].done and not self.left and not self.later

    def of_an_excerpt(self) -> Chain:
        """The same without what only somebody can say who knows all exits."""
        faults = tuple(fault for fault in self.faults if fault.kind not in _OF_SEVERAL)
        return self._replace(faults=faults, left=())

    def holds(self, row: int) -> bool:
        """Whether this row is one of the requests."""
        return any(link.row == row for link in self.links)

    def open_at(self, row: int, vcpu: int) -> bool:
        """Whether the guest still has to call again, or is about to, at this exit of a vCPU."""
        if row < self.links[0].row:
            return False
        before = [link for link in self.links if link.row <= row]
        return before[-1].vcpu == vcpu and (len(before) < len(self.links) or before[-1].retried)

    def before(self, link: Link) -> int:
        """Bytes from the start of the chain to the start of this request; 0 where not known."""
        if link.start is None or self.start is None or self.end is None or self.shared is None:
            return 0
        at = link.start & ~self._bit
        return min(max(at - self.start, 0), self.end - self.start)

    @property
    def _bit(self) -> int:
        first = self.links[0].start
        return 0 if first is None or self.start is None else first ^ self.start

    @property
    def size(self) -> int | None:
        """Bytes that the chain is about."""
        return None if self.start is None or self.end is None else self.end - self.start


# --- does a request go on with another? -----------------------------------------------------


def goes_on(before: Link, start: int | None, size: int | None, mask: int) -> bool:
    """Whether a request of the same vCPU goes on with `before`, rightly or wrongly."""
    if not before.perhaps_retried:
        return False
    if before.start is None or before.size is None or start is None or size is None:
        # What is not recorded: the next request is taken for it.
        return True
    if before.reply is not None and (start ^ before.reply) & ~mask == 0:
        return True
    if (start ^ before.start) & mask:
        return False
    return overlap(before.start, before.size, start, size, mask)


def goes_on_elsewhere(before: Link, start: int | None, size: int | None) -> bool:
    """The same for another vCPU, where the guest's thread may have gone: no doubt is allowed."""
    if not before.retried or start is None or size is None or start != before.reply:
        return False
    return start != before.start and start + size == before.end


def overlap(one: int, one_size: int, other: int, other_size: int, mask: int) -> bool:
    """Whether two ranges have a page in common, shared bit or not."""
    one, other = one & ~mask, other & ~mask
    return one < other + other_size and other < one + one_size
