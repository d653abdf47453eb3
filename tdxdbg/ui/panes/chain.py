"""Pane 6: the MapGPA chain of the exit: requests, retries, progress, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Final

from tdxdbg.abi.regs import R11
from tdxdbg.analysis.chain import Chain, Fault, Kind, Link
from tdxdbg.analysis.chains import Chains, Found
from tdxdbg.decode.text import Safe
from tdxdbg.decode.values import errno_text, short_size, size_text, status_name
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.ui.lines import (
    Line,
    Span,
    blanks,
    line,
    own,
    pad,
    repeat,
    right,
    width_of,
    word,
    wrap,
)
from tdxdbg.ui.panes.base import Drawn, MomentPane

_HERE: Final = own("▶")
_NOT_HERE: Final = own(" ")
_SPACE: Final = own(" ")
_CHUNK: Final = own("    → ")
_ERROR: Final = own("  ‼ ")
_NOTE: Final = own("  · ")
_RETRY: Final = own("↻ ")
_DONE: Final = own("✓")
_FAILED: Final = own("‼ ")
_TOLD: Final = own("told SUCCESS")
_WAITS: Final = own("← ")
_UNKNOWN: Final = own("?")
_EARLIER_LINKS: Final = own("═")
_THIS_LINK: Final = own("█")
_TO_DO: Final = own("·")
_WIDEST_BAR: Final = 40
_NARROWEST_BAR: Final = 6
#: Cells that a size takes mostly.
_SIZE: Final = 5
_LEGEND: Final = (own("  ↻ retried  → chunk"), "dim")
_LEFT: Final = own("    left ")
_PRIVATE: Final = own("private ")
_SHARED: Final = own("shared ")
_BEFORE: Final = own("not of this exit: the last one before")
_LOOKING: Final = own("Looking for the MapGPA before this exit…")
_NONE: Final = own("No MapGPA before this exit.")
_NONE_NEAR: Final = own("No MapGPA near before this exit.")
_GO: Final = own("] goes to the next one, [ to the one before.")
_NO_REGISTERS: Final = own(
    "The guest's registers were not recorded here, so a MapGPA is not told from other calls. "
    "A recording made by: tdxdbg record has them."
)
#: Blocks of records that are looked at before a frame; the rest waits until the screen is idle.
_AT_ONCE: Final = 16
_END: Final = object()


class ChainPane(MomentPane):
    """A line for each request, with what stands out at it below."""

    TITLE: ClassVar[Safe] = own("6 MapGPA chain")
    SHORT: ClassVar[Safe] = own("6 chain")
    PURPOSE: ClassVar[Safe] = own(
        "Here stands how far a MapGPA has come: its chunks, its retries, what went wrong."
    )

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.chains: Chains | None = None
        self._search: Iterator[None] | None = None
        self._searched = -1
        #: Rows of the lines, for the mouse.
        self._rows: dict[int, int] = {}
        self._made: tuple[Chain, int] | None = None
        self._body: list[Line] = []
        self._places: dict[int, int] = {}
        #: Cells of the longest answer to a request.
        self._widest = 0
        #: Called with a row that was clicked.
        self.choose_row: Callable[[int], None] = _nothing

    def attach(self, timeline: Timeline) -> None:
        super().attach(timeline)
        self.chains = Chains(timeline)
        self._search = None

    # --- finding ------------------------------------------------------------------------

    def found(self) -> Found | None:
        """What is known at the current exit; None while it is being searched."""
        if self.chains is None or self.moment is None:
            return None
        return self.chains.known(self.moment.row)

    @property
    def searching(self) -> bool:
        """Whether there is something to find."""
        return self._search is not None

    def search_on(self, blocks: int) -> None:
        """Look at some more blocks; what is found is shown."""
        if self._search is not None and self._step(blocks):
            self.show(self.moment)

    def _step(self, blocks: int) -> bool:
        """Look at some blocks; True at the end of the search."""
        assert self._search is not None
        for _ in range(blocks):
            if next(self._search, _END) is _END:
                self._search = None
                return True
        return False

    def _begin(self, row: int) -> Found | None:
        """Look around a little."""
        assert self.chains is not None
        if self._search is None or self._searched != row:
            self._search, self._searched = self.chains.search(row), row
            self._step(_AT_ONCE)
        return self.chains.known(row)

    # --- drawing ------------------------------------------------------------------------

    def draw_moment(self, moment: Moment) -> Drawn:
        if self.chains is None:
            return [], (), None
        found = self.chains.known(moment.row) or self._begin(moment.row)
        self._rows = {}
        if found is None:
            return self.explain(_LOOKING), (), None
        if found.chain is None:
            return self._nothing(moment, found), (), None
        return self._chain(found.chain, moment, current=found.current)

    def _nothing(self, moment: Moment, found: Found) -> list[Line]:
        texts = [_NONE if found.ends else _NONE_NEAR, _GO]
        if not moment.before_known >> R11 & 1:
            texts.append(_NO_REGISTERS)
        return self.explain(*texts)

    def _chain(self, chain: Chain, moment: Moment, *, current: bool) -> Drawn:
        if self._made is None or self._made[0] is not chain or self._made[1] != self.columns:
            self._made = chain, self.columns
            self._body, self._places = self._lines(chain)
        head = self._head(chain, moment, current)
        lines = [*head, *self._body]
        self._rows = {at + len(head): row for row, at in self._places.items()}
        rows = [link.row for link in chain.links]
        near = max((row for row in rows if row <= moment.row), default=rows[0])
        keep = len(head) + self._places[near]
        if near == moment.row:
            link = next(item for item in chain.links if item.row == near)
            below = [self._chunk(link, moment)] if moment.steps > 1 else []
            below += self._rest(chain, link)
            lines[keep : keep + 1] = [self._link(chain, link, current=True), *below]
            self._rows = {at + len(below) * (at > keep): row for at, row in self._rows.items()}
        foot: tuple[Span, ...] = ((self.spoken("{previous_link} {next_link} link"), "dim"),)
        if width_of((*foot, _LEGEND)) + 6 <= self.outer_size.width:
            foot = *foot, _LEGEND
        return lines, foot, keep + 2 * (near == moment.row)

    def _head(self, chain: Chain, moment: Moment, current: bool) -> list[Line]:
        way = own("? ") if chain.shared is None else own("P→S ") if chain.shared else own("S→P ")
        role = "unknown" if chain.shared is None else "shared" if chain.shared else "private"
        spans: list[Span] = [(way, role), *_range(chain.start, chain.size)]
        count = len(chain.links)
        more = "+" if chain.earlier or chain.later else ""
        rest = [f"  v{chain.vcpu}", f"  {count}{more} requests"]
        for text in rest[: 1 + (count > 1)]:
            if width_of(spans) + len(text) <= self.columns:
                spans.append(word(text, "dim"))
        lines = [line(*spans)]
        wrong = [fault.row for fault in chain.faults if fault.is_error]
        if not current:
            before = chain.links[0].row < moment.row
            text = (
                own("not of this exit: the last one before") if before else own("not of this exit")
            )
            lines.append(line((text, "dim")))
        elif wrong and count > max(self.rows - 4, 1):
            problems = f"{len(wrong)} problem{'s' * (len(wrong) > 1)}, first at exit {wrong[0]}"
            lines.append(line((_FAILED, "error"), word(problems, "error")))
        return lines

    def _lines(self, chain: Chain) -> tuple[list[Line], dict[int, int]]:
        """The requests with their faults, and where each stands."""
        lines: list[Line] = []
        places: dict[int, int] = {}
        self._widest = max(width_of(_answer(chain, link)) for link in chain.links)
        by_row: dict[int, list[Fault]] = {}
        for fault in chain.faults:
            by_row.setdefault(fault.row, []).append(fault)
        if chain.earlier:
            lines.append(line((own("  … earlier requests: [ goes there"), "dim")))
        for link in chain.links:
            places[link.row] = len(lines)
            lines.append(self._link(chain, link, current=False))
            for fault in by_row.get(link.row, ()):
                lines += self._fault(fault)
        if chain.later:
            lines.append(line((own("  … later requests: ] goes there"), "dim")))
        return lines, places

    def _fault(self, fault: Fault) -> list[Line]:
        glyph, role = (_ERROR, "error") if fault.is_error else (_NOTE, "retry")
        if fault.kind is Kind.UNKNOWN:
            role = "unknown"
        first, *rest = wrap(word(fault.text)[0], self.columns - len(glyph))
        below = blanks(len(glyph))
        return [
            line((glyph, role), (first, role)),
            *(line((below, role), (text, role)) for text in rest),
        ]

    def _link(self, chain: Chain, link: Link, *, current: bool) -> Line:
        digits = max(3, len(str(chain.links[-1].row)))
        head: list[Span] = [
            (_HERE if current else _NOT_HERE, "focus"),
            (right(word(str(link.row))[0], digits), "value" if current else "dim"),
            (_SPACE, "dim"),
        ]
        tail = _answer(chain, link)
        # Bars are compared with each other, so all are as long.
        widest = max(width_of(tail), min(self._widest, self.columns // 3))
        room = self.columns - width_of(head) - widest - 1
        if room - _SIZE - 1 >= _NARROWEST_BAR:
            done = self._so_far(chain, link)
            tail = [(right(done, _SIZE), "value"), (_SPACE, "dim"), *tail]
            room -= max(len(done), _SIZE) + 1
        bar = _bar(chain, link, min(room, _WIDEST_BAR)) if room >= _NARROWEST_BAR else []
        return line(*head, *bar, (_SPACE, "dim"), *tail, current=current)

    def _so_far(self, chain: Chain, link: Link) -> Safe:
        if link.converted is None:
            return _UNKNOWN
        return word(short_size(chain.before(link) + link.converted))[0]

    def _chunk(self, link: Link, moment: Moment) -> Line:
        """The step of the request that the cursor is on."""
        step = moment.shown
        run = step.run if step is not None else None
        # While userspace has it there may be more to come.
        more = "+" if moment.more or link.outcome == "userspace" else ""
        if run is None or moment.step >= link.chunks:
            chunks = f"{link.chunks}{more} chunk{'s' * (link.chunks != 1)} of one call"
            return line((_CHUNK, "focus"), word(chunks, "dim"))
        number = word(f"chunk {moment.step + 1} of {link.chunks}{more}  ", "dim")
        spans: list[Span] = [(_CHUNK, "focus"), number]
        if run.layout.member == "hypercall":
            gpa, pages = run.get("args", 0), run.get("args", 1)
            spans += _range(gpa, None if pages is None else pages << 12)
        return line(*spans)

    def _rest(self, chain: Chain, link: Link) -> list[Line]:
        """The pages that a RETRY leaves as they are, until the guest calls again."""
        if not link.retried or chain.size is None or chain.start is None or not link.converted:
            return []
        done = chain.before(link) + link.converted
        rest = chain.size - done
        if rest <= 0:
            return []
        state, role = (_PRIVATE, "private") if chain.shared else (_SHARED, "shared")
        where = f"{size_text(rest)} from {chain.start + done:x}"
        return [line((_LEFT, "dim"), (state, role), word(where, "value"))]

    # --- the mouse ----------------------------------------------------------------------

    def clicked(self, index: int) -> None:
        """The request that was clicked, or that the clicked words are about."""
        rows = [at for at in self._rows if at <= index]
        if rows:
            self.choose_row(self._rows[max(rows)])


def _range(start: int | None, size: int | None) -> list[Span]:
    if start is None or size is None:
        return [(own("pages not recorded"), "unknown")]
    return [word(f"{start:x} ", "value"), word(f"+{size_text(size)}", "text")]


def _answer(chain: Chain, link: Link) -> list[Span]:
    """What the guest was told, in a glyph and a word."""
    if link.outcome == "guest" and link.status is not None:
        if link.retried:
            where = _UNKNOWN if link.reply is None else _resume(chain, link.reply)
            return [(_RETRY, "retry"), (where, "retry")]
        if link.done:
            told_wrong = link.converted is not None and link.converted != link.size
            return [(_FAILED, "error"), (_TOLD, "error")] if told_wrong else [(_DONE, "ok")]
        return [(_FAILED, "error"), word(status_name(link.status), "error")]
    if link.outcome in ("error", "dead"):
        why = "?" if link.errno is None else errno_text(link.errno).split()[0]
        return [(_FAILED, "error"), word(f"-{why}", "error")]
    if link.outcome == "userspace":
        return [(_WAITS, "text"), (own("userspace"), "dim")]
    return [(_UNKNOWN, "unknown")]


def _resume(chain: Chain, reply: int) -> Safe:
    """R11 without the shared bit where it is as it should be."""
    first = chain.links[0].start
    if first is not None and chain.start is not None:
        bit = first ^ chain.start
        reply = reply & ~bit if bit and reply & bit else reply
    return word(f"{reply:x}")[0]


def _bar(chain: Chain, link: Link, width: int) -> list[Span]:
    """What was converted before this request, what it converted itself, and what is to do."""
    role = "shared" if chain.shared else "private"
    if not chain.size or link.converted is None:
        return [(pad(_UNKNOWN, width), "unknown")]
    start = chain.before(link)
    stop = min(start + link.converted, chain.size)
    first = start * width // chain.size
    last = stop * width // chain.size
    if stop > start and last == first:
        # A little is not nothing.
        first, last = (first, first + 1) if first < width else (first - 1, first)
    return [
        (repeat(_EARLIER_LINKS, first), "dim"),
        (repeat(_THIS_LINK, last - first), role),
        (repeat(_TO_DO, width - last), "dim"),
    ]


def _nothing(row: int) -> None:
    """No one listens."""
