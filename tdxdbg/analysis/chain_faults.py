"""What is wrong with a MapGPA chain, in words that say what it means for the guest."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tdxdbg.analysis.chain import After, Chain, Fault, Kind, Link, Meddler, Range
from tdxdbg.decode.values import errno_text, is_error_reply, leaf_short, size_text, status_name

#: RETRYs in a row without progress after which Linux, EDK2 and td-shim give up.
GIVES_UP: Final = 3
_SPACE_END: Final = 1 << 52
#: Ranges that are named.
_NAMED: Final = 4

_OF_RANGE_UNKNOWN: Final = (
    "R12 and R13 were not recorded here: which pages the guest asked for is not known"
)
_STATUS_UNKNOWN: Final = "R10 was not recorded: whether the guest was to call again is not known"
_REPLY_UNKNOWN: Final = "R11 was not recorded: where the guest was to go on is not known"
_HIDDEN: Final = (
    "RCX does not let R10 and R11 through: the guest never learns that it is to call again, nor "
    "from where"
)
_LOST_BIT: Final = (
    "R11 has lost the shared bit: a guest that compares it with its range finds it outside and "
    "gives up, one that follows it asks for private pages"
)
_GAINED_BIT: Final = (
    "R11 has a shared bit that the request had not: a guest that compares it with its range "
    "finds it outside and gives up, one that follows it asks for shared pages"
)
_AFTER_RANGE: Final = (
    "Linux fails at once; a guest that does not check takes this for the end, and the rest "
    "stays as it was"
)
_BEFORE_RANGE: Final = "Linux fails at once; a guest that follows it converts other pages"
_REFUSED: Final = (
    "to the guest this is failure; Linux gives -EIO to the caller, who must not use these "
    "pages again"
)
_BAD_ANSWER: Final = (
    ": userspace's answer was neither 0, EAGAIN nor EINVAL. The next KVM_RUN tells the guest "
    "SUCCESS all the same"
)
_FALSE_SUCCESS: Final = (
    "the guest was told SUCCESS, but KVM_RUN had failed (-EINVAL) on the way, which ends the "
    "call: userspace's answer was neither 0, EAGAIN nor EINVAL"
)
_AS_AN_ERROR: Final = "the guest takes RETRY for an error, or has not come back to it"


class _Case(NamedTuple):
    """What a chain is judged by; `mask` is the shared bit."""

    links: Sequence[Link]
    mask: int
    after: After
    meddlers: Sequence[Meddler]

    def bare(self, gpa: int) -> int:
        """Without the shared bit."""
        return gpa & ~self.mask

    def other_bit(self, one: int, other: int) -> bool:
        """Whether one is shared and the other is not."""
        return bool((one ^ other) & self.mask)


def judge(
    links: Sequence[Link],
    mask: int,
    after: After,
    meddlers: Sequence[Meddler] = (),
    *,
    earlier: bool = False,
    later: bool = False,
) -> Chain:
    """A chain with everything that can be said about it; `mask` is the shared bit."""
    case = _Case(links, mask, after, meddlers)
    first = links[0]
    start = None if first.start is None else case.bare(first.start)
    end = None if start is None or first.size is None else start + first.size
    shared = None if first.start is None else bool(first.start & mask)
    left = _left(case, start, end)
    faults = [fault for at in range(len(links)) for fault in _of_link(case, at)]
    if not later:
        faults += _end(case)
        faults += _unconverted(case, left, shared)
    return Chain(
        tuple(links), start, end, shared, tuple(faults), left, earlier=earlier, later=later
    )


def _of_link(case: _Case, at: int) -> Iterator[Fault]:
    if at:
        yield from _called_again(case, case.links[at - 1], case.links[at])
    yield from _reply(case, at)
    yield from _meddled(case, at)


# --- the answer to a request ----------------------------------------------------------------


def _reply(case: _Case, at: int) -> Iterator[Fault]:
    link = case.links[at]
    if link.start is None or link.size is None:
        yield Fault(Kind.UNKNOWN, link.row, _OF_RANGE_UNKNOWN)
        return
    if link.outcome == "guest" and link.status is None:
        yield Fault(Kind.UNKNOWN, link.row, _STATUS_UNKNOWN)
    if not link.retried:
        return
    if link.hidden:
        yield Fault(Kind.HIDDEN, link.row, _HIDDEN)
    if link.reply is None:
        yield Fault(Kind.UNKNOWN, link.row, _REPLY_UNKNOWN)
        return
    if case.other_bit(link.reply, link.start):
        text = _LOST_BIT if link.start & case.mask else _GAINED_BIT
        yield Fault(Kind.SHARED_BIT, link.row, text)
    reply, start = case.bare(link.reply), case.bare(link.start)
    if not start <= reply < start + link.size:
        means = _BEFORE_RANGE if reply < start else _AFTER_RANGE
        where = f"R11 = {reply:x} is outside the request ({start:x} to {start + link.size:x})"
        yield Fault(Kind.OUT_OF_RANGE, link.row, f"{where}: {means}")
    elif reply == start:
        yield _no_progress(case, at)


def _no_progress(case: _Case, at: int) -> Fault:
    """Guests count how often they got no further; a RETRY that gets further starts anew."""
    count = 0
    while count <= at and _stands_still(case, case.links[at - count]):
        count += 1
    text = f"RETRY without progress, {count} in a row: "
    row = case.links[at].row
    if count < GIVES_UP:
        more = f"R11 is where the request began. {GIVES_UP - count} more, and Linux gives up"
        return Fault(Kind.NO_PROGRESS, row, text + more)
    means = f"Linux, EDK2 and td-shim give up after {GIVES_UP}, and the caller fails (-EIO)"
    return Fault(Kind.GIVES_UP, row, text + means)


def _stands_still(case: _Case, link: Link) -> bool:
    if not link.retried or link.start is None or link.reply is None:
        return False
    return case.bare(link.start) == case.bare(link.reply)


# --- how the guest goes on --------------------------------------------------------------------


def _called_again(case: _Case, before: Link, link: Link) -> Iterator[Fault]:
    if link.vcpu != before.vcpu:
        text = f"the guest's thread went on on vCPU {link.vcpu}"
        yield Fault(Kind.MOVED, link.row, text)
    if link.start is None or before.start is None:
        return
    if case.other_bit(link.start, before.start):
        had = before.start & case.mask
        way = "dropped the shared bit" if had else "added the shared bit"
        side = "private" if had else "shared"
        text = f"the guest {way} on its way: now it asks for {side} pages"
        yield Fault(Kind.GUEST_BIT, link.row, text)
    if before.reply is not None and case.bare(link.start) != case.bare(before.reply):
        text = _elsewhere(case.bare(link.start), case.bare(before.reply))
        yield Fault(Kind.ELSEWHERE, link.row, text)
    end = case.links[0].end
    if end is not None and link.end is not None and case.bare(link.end ^ end):
        text = f"called again up to {case.bare(link.end):x}, at first up to {case.bare(end):x}"
        yield Fault(Kind.OTHER_END, link.row, text)


def _elsewhere(at: int, reply: int) -> str:
    text = f"called again from {at:x}, not from R11 = {reply:x}: "
    if at > reply:
        return f"{text}the {size_text(at - reply)} between were skipped"
    return f"{text}{size_text(reply - at)} are converted once more"


def _meddled(case: _Case, at: int) -> Iterator[Fault]:
    """Requests of other vCPUs between this request and the next one."""
    row = case.links[at].row
    stop = case.links[at + 1].row if at + 1 < len(case.links) else row
    for item in case.meddlers:
        if row < item.row < stop:
            way = "P→S" if item.start & case.mask else "S→P"
            pages = f"{case.bare(item.start):x} +{size_text(item.size)}"
            text = f"meanwhile vCPU {item.vcpu} asked for {way} of {pages} (exit {item.row}): "
            yield Fault(Kind.MEDDLED, row, text + "what these pages are depends on who was last")


# --- how it ends --------------------------------------------------------------------------


def _end(case: _Case) -> Iterator[Fault]:
    """How the chain ends, where it does not end well."""
    last = case.links[-1]
    status = last.status
    if last.outcome == "guest" and status is not None and is_error_reply(status, vendor=False):
        yield Fault(Kind.REFUSED, last.row, f"{status_name(status)}: {_REFUSED}")
    elif last.outcome == "dead":
        yield Fault(Kind.FAILED, last.row, "KVM has bugged the VM: no vCPU runs any more")
    elif last.outcome == "error":
        why = "?" if last.errno is None else errno_text(last.errno)
        means = _BAD_ANSWER if last.chunks and last.errno == errno.EINVAL else ""
        yield Fault(Kind.FAILED, last.row, f"KVM_RUN failed with -{why}{means}")
    elif last.outcome == "userspace":
        yield Fault(Kind.UNANSWERED, last.row, "userspace has not answered the last chunk yet")
    elif last.done and last.converted is not None and last.converted != last.size:
        yield Fault(Kind.FALSE_SUCCESS, last.row, _FALSE_SUCCESS)
    elif last.retried:
        yield _not_followed(last.row, case.after)


def _not_followed(row: int, after: After) -> Fault:
    """The guest was told to call again, and did not."""
    if after.other is not None:
        text = f"not called again: the next MapGPA of this vCPU (exit {after.other}) is for other "
        return Fault(Kind.IGNORED, row, f"{text}pages. Either {_AS_AN_ERROR}")
    if after.halts and after.next is not None:
        leaf = "?" if after.leaf is None else leaf_short(after.leaf)
        text = f"not called again: the guest went on to {leaf} (exit {after.next}), as one does "
        return Fault(Kind.IGNORED, row, f"{text}that takes RETRY for an error")
    if after.ends and after.next is None:
        text = "the recording has no later exit of this vCPU: whether it calls again is not known"
        return Fault(Kind.UNFOLLOWED, row, text)
    if after.ends:
        text = f"not called again to the end of the recording: {_AS_AN_ERROR}"
        return Fault(Kind.IGNORED, row, text)
    text = f"not called again in the records that were looked at: {_AS_AN_ERROR}"
    return Fault(Kind.UNFOLLOWED, row, text)


def _left(case: _Case, start: int | None, end: int | None) -> tuple[Range, ...]:
    """What was asked for first and no request converted; nothing where no such pages exist."""
    first = case.links[0].start
    if start is None or end is None or first is None or not start < end <= _SPACE_END:
        return ()
    left = [(start, end)]
    for link in case.links:
        if link.start is None or not link.converted or case.other_bit(link.start, first):
            continue
        low = case.bare(link.start)
        left = [piece for part in left for piece in _without(part, low, low + link.converted)]
    return tuple(left)


def _without(part: Range, low: int, high: int) -> list[Range]:
    before, after = (part[0], min(part[1], low)), (max(part[0], high), part[1])
    return [piece for piece in (before, after) if piece[0] < piece[1]]


def _unconverted(case: _Case, left: tuple[Range, ...], shared: bool | None) -> Iterator[Fault]:
    """Which pages the guest did not get, when nothing more comes."""
    last = case.links[-1]
    waits = last.perhaps_retried and case.after.other is None and case.after.next is None
    if not left or waits or last.outcome == "userspace":
        return
    total = size_text(sum(high - low for low, high in left))
    where = ", ".join(f"{low:x} to {high:x}" for low, high in left[:_NAMED])
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    state = "" if shared is None else " private" if shared else " shared"
    yield Fault(Kind.LEFT, last.row, f"left{state}: {total}, {where}{more}")
