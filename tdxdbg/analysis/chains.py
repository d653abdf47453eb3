"""MapGPA chains of a timeline, found from any row by looking around a bounded distance.

Theory of operation. `search(row)` walks back from the row to the request
before it, from there to the first of its chain, then on to the last; it pauses
after each block of records, so its owner decides how long it works. What it
found is kept by row, for every request of the chain. Requests are found in
undecoded records (`traces.heads`); only those that are part of a chain, or
could be, are read.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Generator, Iterator
from typing import Final, NamedTuple, TypeVar

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import HC_MAP_GPA_RANGE
from tdxdbg.abi.regs import R10, R11
from tdxdbg.analysis.chain import (
    After,
    Chain,
    Link,
    Meddler,
    goes_on,
    goes_on_elsewhere,
    overlap,
)
from tdxdbg.analysis.chain_faults import judge
from tdxdbg.decode.summary import RowSummary
from tdxdbg.engine import HypercallAnswer, Reentry
from tdxdbg.engine.tdvmcall.map_gpa import CHUNK
from tdxdbg.errors import TraceError
from tdxdbg.timeline import Timeline
from tdxdbg.traces.heads import Heads, Request

#: How far one request is looked for from another, in blocks: a quarter of a million records.
REACH: Final = 256
#: Requests of a chain before and after the one that was asked for.
MOST: Final = 500
#: Near the end of a chain that was cut there, its rows are searched for anew.
_EDGE: Final = 50
_KEPT: Final = 2048
_MEDDLERS: Final = 8

#: R10 and R11 in the mask that RCX is.
_REPLY: Final = 1 << R10 | 1 << R11

Result = TypeVar("Result")
Work = Generator[None, None, Result]


class Found(NamedTuple):
    """What is known at a row. `current`: the row is in the chain, or the chain is open there.

    Without a chain, `ends` says whether everything before the row was looked at.
    """

    chain: Chain | None
    current: bool = False
    ends: bool = True


class Chains:
    """The chains of a timeline; the recording may grow."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.heads = Heads(timeline.trace)
        # What another kernel answers far from here takes long to find out.
        self._reach = 1 if timeline.what_if else REACH
        self._mask = timeline.td.shared_mask
        self._found: OrderedDict[int, Found] = OrderedDict()
        self._records = timeline.trace.n_records

    def known(self, row: int) -> Found | None:
        """What was found at this row; None: search first."""
        if self.timeline.trace.n_records != self._records:
            self._records = self.timeline.trace.n_records
            self._found.clear()
        return self._found.get(row)

    def search(self, row: int) -> Iterator[None]:
        """Find the chain at this row; yields between slices of work, then it is `known`."""
        try:
            found = yield from self._search(row)
        except TraceError:
            found = Found(None)
        self._keep(row, found)

    def _keep(self, row: int, found: Found) -> None:
        chain = found.chain
        if chain is not None:
            low = _EDGE if chain.earlier else 0
            high = len(chain.links) - (_EDGE if chain.later else 0)
            for link in chain.links[low:high]:
                self._put(link.row, Found(chain, current=True))
        self._put(row, found)

    def _put(self, row: int, found: Found) -> None:
        self._found[row] = found
        self._found.move_to_end(row)
        while len(self._found) > _KEPT:
            self._found.popitem(last=False)

    # --- searching ----------------------------------------------------------------------

    def _search(self, row: int) -> Work[Found]:
        anchor = self.link(row)
        ends = True
        if anchor is None:
            anchor, ends = yield from self._nearest(row)
        if anchor is None:
            return Found(None, ends=ends)
        kept = self._found.get(anchor.row)
        chain = kept.chain if kept is not None else None
        if chain is None:
            chain = yield from self._chain(anchor)
        vcpu = self.timeline.summary(row).vcpu
        return Found(chain, chain.holds(row) or chain.open_at(row, -1 if vcpu is None else vcpu))

    def _nearest(self, row: int) -> Work[tuple[Link | None, bool]]:
        """The last request before a row: of its vCPU, else of any."""
        vcpu = self.timeline.summary(row).vcpu
        first = self.heads.block_of(row)
        stop = max(first - self._reach, -1)
        fallback: Link | None = None
        for block in range(first, stop, -1):
            for request in reversed(self.heads.requests(block)):
                own = request.vcpu == vcpu
                if request.row >= row or not (own or fallback is None):
                    continue
                link = self.link(request.row)
                if link is not None and own:
                    return link, True
                fallback = fallback or link
            yield
        return fallback, stop < 0

    def _chain(self, anchor: Link) -> Work[Chain]:
        links = [anchor]
        earlier = False
        while (before := (yield from self._before(links[0]))) is not None:
            if len(links) > MOST:
                earlier = True
                break
            links.insert(0, before)
        own = len(links)
        later = False
        after = After()
        while links[-1].perhaps_retried:
            following, after = yield from self._after(links[-1])
            if following is None:
                break
            if len(links) >= own + MOST:
                later = True
                break
            links.append(following)
        meddlers = yield from self._meddlers(links)
        chain = judge(links, self._mask, after, meddlers, earlier=earlier, later=later)
        return chain.of_an_excerpt() if self.timeline.trace.meta.is_excerpt else chain

    def _before(self, link: Link) -> Work[Link | None]:
        """The request that this one goes on with."""
        first = self.heads.block_of(link.row)
        looked = False
        for block in range(first, max(first - self._reach, -1), -1):
            for request in reversed(self.heads.requests(block)):
                if request.row >= link.row:
                    continue
                own = request.vcpu == link.vcpu
                near = self._touches(request, link)
                if not near and not (own and not looked):
                    continue
                before = self.link(request.row)
                if before is None:
                    continue
                if own and goes_on(before, link.start, link.size, self._mask):
                    return before
                if not own and goes_on_elsewhere(before, link.start, link.size):
                    return before
                if own and near:
                    return None
                looked = looked or own
            yield
        return None

    def _touches(self, request: Request, link: Link) -> bool:
        if request.start is None or request.size is None or link.start is None or not link.size:
            return request.vcpu == link.vcpu
        return overlap(request.start, request.size, link.start, link.size, self._mask)

    def _after(self, link: Link) -> Work[tuple[Link | None, After]]:
        """The request that goes on with this one; without one, what came instead."""
        first = self.heads.block_of(link.row)
        stop = min(first + self._reach, self.heads.blocks)
        other: int | None = None
        for block in range(first, stop):
            for request in self.heads.requests(block):
                if request.row <= link.row:
                    continue
                if self._follows(link, request):
                    following = self.link(request.row)
                    if following is not None:
                        return following, After()
                elif request.vcpu == link.vcpu and other is None:
                    other = request.row
            yield
        after = After(ends=stop == self.heads.blocks, other=other)
        return None, self._with_next(link, after)

    def _follows(self, link: Link, request: Request) -> bool:
        if request.vcpu == link.vcpu:
            return goes_on(link, request.start, request.size, self._mask)
        return goes_on_elsewhere(link, request.start, request.size)

    def _with_next(self, link: Link, after: After) -> After:
        """With the vCPU's next exit, if it is near."""
        for _, row in zip(range(8), self.heads.exits_of(link.vcpu, link.row, 1), strict=False):
            if row is not None:
                summary = self.timeline.summary(row)
                return after._replace(next=row, leaf=summary.leaf, halts=_halts(summary))
        return after

    def _meddlers(self, links: list[Link]) -> Work[list[Meddler]]:
        """Requests of other vCPUs for the same pages, between the first and the last one."""
        first, last, own = links[0], links[-1], {link.row for link in links}
        found: list[Meddler] = []
        if len(links) < 2 or first.start is None or first.size is None:
            return found
        start = self.heads.block_of(first.row)
        stop = min(self.heads.block_of(last.row), start + 4 * self._reach)
        for block in range(start, stop + 1):
            for item in self.heads.requests(block):
                if item.row in own or not first.row < item.row < last.row:
                    continue
                if item.vcpu == first.vcpu or item.start is None or item.size is None:
                    continue
                if overlap(item.start, item.size, first.start, first.size, self._mask):
                    found.append(Meddler(item.row, item.vcpu, item.start, item.size))
            if len(found) >= _MEDDLERS:
                break
            yield
        return found[:_MEDDLERS]

    # --- reading ------------------------------------------------------------------------

    def link(self, row: int) -> Link | None:
        """A row as a request; None when it is none. Raises TraceError."""
        summary = self.timeline.summary(row)
        if not is_request(summary):
            return None
        chunks = len(summary.exit or ())
        link = Link(
            row=row,
            vcpu=summary.vcpu or 0,
            start=summary.r12 if summary.leaf is not None else None,
            size=summary.size if summary.leaf is not None else None,
            status=summary.status,
            reply=summary.reply,
            outcome=summary.outcome,
            errno=summary.errno,
            chunks=chunks,
            converted=None,
            hidden=summary.rcx is not None and summary.rcx & _REPLY != _REPLY,
            more=summary.outcome == "userspace" and chunks > 1 and self.timeline.trace.row(row).cut,
        )
        return link._replace(converted=self._converted(link))

    def _converted(self, link: Link) -> int | None:
        """Bytes from the start of a request that it converted, as far as the recording tells."""
        if link.start is None or link.size is None:
            return None
        if link.done and link.errno != errno.EINVAL:
            return link.size
        if link.outcome == "guest" and not link.done and link.reply is not None:
            done = (link.reply & ~self._mask) - (link.start & ~self._mask)
            if 0 <= done < link.size:
                return done
        agreed = self._agreed(link.row) if not self.timeline.what_if else max(link.chunks - 1, 0)
        return min(agreed * CHUNK, link.size)

    def _agreed(self, row: int) -> int:
        """How many chunks userspace said yes to."""
        bodies = (step.input.body for step in self.timeline.recorded_steps(row) if step.input)
        answers = (body.answer for body in bodies if type(body) is Reentry)
        return sum(type(item) is HypercallAnswer and not item.ret for item in answers)


def is_request(summary: RowSummary) -> bool:
    """Whether a row is MapGPA, also where only its chunks were recorded."""
    if summary.leaf is not None:
        return summary.leaf == SubFunction.MAP_GPA
    return summary.hypercall == HC_MAP_GPA_RANGE and not summary.vendor


def _halts(summary: RowSummary) -> bool:
    """Whether a guest that gave up would do this: halt for good, report a fatal error."""
    if summary.leaf == SubFunction.HLT:
        return bool(summary.r12)
    return summary.leaf == SubFunction.REPORT_FATAL_ERROR
