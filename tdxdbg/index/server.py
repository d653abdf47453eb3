"""The process that keeps the columns of a recording and answers filters.

`python -m tdxdbg.index.server FILE SOCKET`, both descriptors. It ends when the
other end of the socket closes. Messages are JSON objects, one a packet; see
`client` for who sends them. The rows that match go into a file in memory,
which the first answer brings along, as 64-bit numbers in order.

Answers are exact: a row of which the columns are not sure, and a field without
a column, is asked of the timeline, here and not on the screen's time.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tdxdbg.errors import TraceError
from tdxdbg.filters import Filter, compile_filter
from tdxdbg.index.columns import ask, columns_of
from tdxdbg.index.store import folder
from tdxdbg.index.table import Table
from tdxdbg.timeline import Timeline
from tdxdbg.traces.native import Trace

#: Packets are at most this long; a filter that does not fit is not asked.
LONGEST: Final = 64 << 10
#: Rows asked of the timeline between two messages.
_BY_SCALAR: Final = 512


class Query:
    """One filter: `seen` rows were looked at, `count` of them matched."""

    def __init__(self, number: int, wanted: Filter) -> None:
        self.number = number
        self.wanted = wanted
        self.fd = os.memfd_create("tdxdbg-rows")
        self.told = False
        self.go_on(0, 0, 0, 0)

    def go_on(self, turn: int, start: int, count: int, total: int) -> None:
        """From row `start`, before which `count` matched, up to row `total`."""
        self.turn, self.seen, self.count, self.total = turn, start, count, total

    def found(self, rows: npt.ArrayLike, seen: int) -> None:
        """The next rows that match."""
        packed = np.asarray(rows, "<u8")
        data = memoryview(packed.tobytes())
        at = self.count * 8
        while data:
            written = os.pwrite(self.fd, data, at)
            at, data = at + written, data[written:]
        self.count += len(packed)
        self.seen = seen


class Server:
    """Reads on while nobody asks, and answers in between."""

    def __init__(self, channel: socket.socket, trace: Trace, where: Path) -> None:
        self._channel = channel
        self._trace = trace
        self._timeline = Timeline(trace)
        self._queries: dict[int, Query] = {}
        self.table = Table(trace, where)

    def run(self) -> None:
        """Until the other end closes."""
        while self._listen():
            for query in list(self._queries.values()):
                self._advance(query)
            if not self.table.complete:
                self.table.build()

    def _listen(self) -> bool:
        busy = not self.table.complete or any(map(self._can_go_on, self._queries.values()))
        while select.select([self._channel], [], [], 0 if busy else None)[0]:
            packet = self._channel.recv(LONGEST)
            if not packet:
                return False
            self._take(json.loads(packet))
            busy = True
        return True

    def _take(self, message: dict[str, Any]) -> None:
        number = message["query"]
        if message.get("drop"):
            query = self._queries.pop(number, None)
            if query is not None:
                os.close(query.fd)
            return
        if message["total"] > len(self._trace) and self._trace.refresh():
            self._timeline.grown()
            self.table.grown()
        query = self._queries.get(number)
        if query is None:
            query = self._queries[number] = Query(number, compile_filter(message["filter"]))
        total = min(message["total"], len(self._trace))
        query.go_on(message["turn"], message["start"], message["count"], total)

    # --- answering ----------------------------------------------------------------------

    def _can_go_on(self, query: Query) -> bool:
        known = len(self._trace) if self.table.complete else self.table.at.rows
        return query.seen < min(query.total, known)

    def _advance(self, query: Query) -> None:
        """Look at some more rows, and say so."""
        self.table.prove(query.seen)
        if not self._can_go_on(query):
            return
        if query.seen < self.table.at.rows:
            self._by_columns(query)
        else:
            self._by_scalar(query)
        self._tell(query)

    def _by_columns(self, query: Query) -> None:
        first = query.seen
        rows = self.table.rows(first)[: query.total - first]
        found, exact = query.wanted.candidates(columns_of(rows, first, query.wanted.fields))
        asked = ask(rows)
        if not exact:
            asked |= found
        to_ask = np.flatnonzero(asked)
        stop = len(rows)
        if len(to_ask) > _BY_SCALAR:
            stop = int(to_ask[_BY_SCALAR])
            to_ask = to_ask[:_BY_SCALAR]
        found &= ~asked
        passed = [at for at in to_ask.tolist() if self._matches(query, first + at)]
        found[passed] = True
        query.found((np.flatnonzero(found[:stop]) + first).astype("<u8"), first + stop)

    def _by_scalar(self, query: Query) -> None:
        stop = min(query.seen + _BY_SCALAR, query.total)
        query.found([row for row in range(query.seen, stop) if self._matches(query, row)], stop)

    def _matches(self, query: Query, row: int) -> bool:
        try:
            return query.wanted.matches(self._timeline.summary(row))
        except TraceError:
            return False

    def _tell(self, query: Query) -> None:
        """`firm`: rows before this one stay as they are when the recording grows."""
        says = {
            "query": query.number,
            "turn": query.turn,
            "seen": query.seen,
            "count": query.count,
            "firm": min([self.table.at.rows, *self._timeline.open_rows]),
        }
        brings = [] if query.told else [query.fd]
        query.told = True
        socket.send_fds(self._channel, [json.dumps(says).encode()], brings)


def main() -> int:
    """Serve one screen."""
    file, channel = (int(number) for number in sys.argv[1:3])
    with os.fdopen(file, "rb") as opened:
        trace = Trace.open(opened, "recording")
    # The other end may go at any time.
    with suppress(ConnectionError, BrokenPipeError), socket.socket(fileno=channel) as end:
        Server(end, trace, folder()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
