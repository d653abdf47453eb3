"""Columns of the common fields, read from the records of many rows at once.

Theory of operation. The scalar way (`Timeline.summary`) takes a row's records
one by one. Here a window of slots is looked at as arrays. A row is *sure* when
it is an ordinary one: it begins with its TD exit where `rows_started` grows by
one, ends with its only TD entry, nothing of its vCPU's other rows lies
between, and every slot from its first to some way behind its last is
undamaged. Of every other row the columns say ASK: the scalar decides. So
damage, gaps and odd journals cost time, never a wrong answer.

A row is settled when the window reaches as far behind its TD entry as a reader
looks on. Rows are settled in order; the next window begins with the first that
is not. A journal whose `rows_started` falls has no columns (NoColumnsError).

This module imports numpy.
"""

from __future__ import annotations

from struct import iter_unpack
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import Status
from tdxdbg.abi.regs import R10, R11, RCX
from tdxdbg.abi.tdx_module import STATUS_MASK
from tdxdbg.decode.summary import FATAL_EXITS
from tdxdbg.decode.values import EXIT_REASON_HALVES
from tdxdbg.engine.recorded import KNOWN_EFFECTS, KNOWN_REASON, KNOWN_VP_ENTER_RET
from tdxdbg.engine.state import VM_BUGGED, Completer, Outcome
from tdxdbg.filters.columns import EXIT_OTHER
from tdxdbg.index.columns import (
    ASK,
    DEAD,
    ERROR,
    GUEST,
    LEAF,
    NO_STATUS,
    REASON,
    RETRY,
    ROW,
    STATUSES,
    VERDICT,
    Bools,
    Rows,
)
from tdxdbg.traces import layout
from tdxdbg.traces.layout import CONTINUATION_SIZE, HEAD_SIZE, RECORD_SIZE
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind

#: Slots that are read at once: 16 MiB.
WINDOW: Final = 1 << 16
#: A row may reach over so many slots, else it is not sure.
_REACH: Final = 4096
#: Slots behind a TD entry in which a reader looks for more of the row.
_BEHIND: Final = 64
#: With more damaged slots in a row than this, bisection may end elsewhere.
_MOST_DAMAGED: Final = 2048
#: More runs or parts than this, and the scalar looks at the record.
_MOST_RUNS: Final = 16
_MOST_PARTS: Final = 8

_Ints = npt.NDArray[np.int64]
_U64s = npt.NDArray[np.uint64]

_HALVES: Final = np.array(sorted(EXIT_REASON_HALVES), np.uint64)
_FATAL: Final = np.uint64(sum(1 << number for number in FATAL_EXITS))
_COMPLETERS: Final = np.array([int(each) for each in Completer])
_OUTCOMES: Final = np.array([int(each) for each in Outcome])
#: `known`, in words of 8 bytes.
_KNOWN_AT: Final = next(each.offset for each in layout.HEAD_FIELDS if each.name == "known") // 8
_STEP_AT: Final = HEAD_SIZE + layout.STEP.size
_IN_RECORD: Final = RECORD_SIZE - _STEP_AT


class NoColumnsError(Exception):
    """The journal's row numbers are not in order: every row is asked for."""


class Place(NamedTuple):
    """Where to go on: the next slot, and how many rows were settled before it."""

    slot: int = 0
    rows: int = 0


def read_rows(trace: Trace, at: Place, window: int = WINDOW) -> tuple[Rows, Place]:
    """The rows that the next window of slots settles, and where to go on.

    No rows, and the same place: nothing more is settled until the trace grows.
    Raises NoColumnsError.
    """
    stop = min(at.slot + max(window, 4 * _REACH), trace.n_records)
    if at.slot >= stop:
        return np.zeros(0, ROW), at
    view = trace.slots(at.slot, stop)
    return _Window(view, at, len(trace)).settled()


class _Window:
    """Slots as arrays. Slots count from the window's start, rows from its first row."""

    def __init__(self, view: memoryview, at: Place, total: int) -> None:
        self._at = at
        self._bytes = np.frombuffer(view, np.uint8)
        self._slots = self._bytes.reshape(-1, RECORD_SIZE)
        self._words = self._slots.view("<u8")
        self.count = len(self._slots)
        self.kind = self._slots[:, 0].astype(np.int64)
        self.vcpu = self._slots.view("<u2")[:, 1].astype(np.int64)
        good = _good(view, self._slots)
        self.started = self._in_order(good, total)
        self.rows = int(self.started[-1]) - at.rows
        #: Slots of which the scalar may think otherwise.
        self.doubt = ~good
        row = self._words[:, layout.ROW_AT // 8]
        plain = good & (self.kind < Kind.CHECKPOINT)
        possible = row < self.started.astype(np.uint64)
        self.doubt |= plain & ~possible
        plain &= possible
        # A row that was settled before is of no interest any more.
        own = plain & (row >= np.uint64(at.rows))
        self.row = np.where(own, row, 0).astype(np.int64) - at.rows
        self.own = own
        self.steps = self._sound_steps()

    def _in_order(self, good: Bools, total: int) -> _Ints:
        """Rows started up to each slot."""
        gaps = np.diff(np.flatnonzero(good), prepend=-1, append=self.count)
        if int(gaps.max()) > _MOST_DAMAGED:
            raise NoColumnsError
        said = self._words[:, layout.ROWS_STARTED_AT // 8]
        if np.any(said[good] > np.uint64(total)):
            raise NoColumnsError
        started = np.where(good, said, 0).astype(np.int64)
        known = started[good]
        if len(known) and (known[0] < self._at.rows or np.any(np.diff(known) < 0)):
            raise NoColumnsError
        started[0] = max(started[0], self._at.rows)
        result: _Ints = np.maximum.accumulate(started)
        return result

    # --- steps ------------------------------------------------------------------------

    def _step_field(self, name: str, at: _Ints) -> _Ints:
        field = next(each for each in layout.STEP_FIELDS if each.name == name)
        size = {"i": 4, "I": 4, "H": 2, "B": 1}[field.code]
        code = ("<i" if field.code == "i" else "<u") + str(size)
        found: _Ints = self._slots.view(code)[at, field.offset // size].astype(np.int64)
        return found

    def _payload(self, at: _Ints, offset: _Ints) -> npt.NDArray[np.uint8]:
        """The byte at this offset of the payload of each step; continuations included."""
        beyond = offset - _IN_RECORD
        part, within = np.divmod(beyond, CONTINUATION_SIZE)
        place = np.where(
            beyond < 0,
            at * RECORD_SIZE + _STEP_AT + offset,
            (at + 1 + part) * RECORD_SIZE + HEAD_SIZE + within,
        )
        return self._bytes[np.minimum(place, len(self._bytes) - 1)]

    def _sound_steps(self) -> _Ints:
        """The steps that can be read; the others are in doubt, as are odd TD exits."""
        heads = self._slots.view("<u4")
        parts, length = heads[:, 14].astype(np.int64), heads[:, 15].astype(np.int64)
        self.doubt |= self.own & (self.kind == Kind.TD_EXIT) & ((parts != 0) | (length != 0))
        at = np.flatnonzero(
            self.own & ((self.kind == Kind.USERSPACE_EXIT) | (self.kind == Kind.TD_ENTRY))
        )
        get = self._step_field
        outcome = get("outcome", at)
        entry = self.kind[at] == Kind.TD_ENTRY
        sound = np.isin(outcome, _OUTCOMES) & np.isin(get("completer", at), _COMPLETERS)
        sound &= entry == (outcome == Outcome.REENTER_TD)
        sound &= self._whole(at, parts[at], length[at])
        written, valid = get("written_runs", at), get("valid_runs", at)
        runs = written + np.where(valid == layout.SAME_RUNS, 0, valid)
        union = get("union_stored", at)
        stored = get("regs_stored", at)
        ends = union + 2 * runs + 8 * np.bitwise_count(stored.astype(np.uint16)).astype(np.int64)
        sound &= (ends + get("pio_stored", at) == length[at]) & (union <= 256)
        sound &= runs <= _MOST_RUNS
        for number in range(int(runs[sound].max(initial=0))):
            some = np.flatnonzero(sound & (runs > number))
            place = union[some] + 2 * number
            first = self._payload(at[some], place).astype(np.int64)
            size = self._payload(at[some], place + 1)
            sound[some] &= first + size <= 0xFF
        self.doubt[at[~sound]] = True
        self.registers_at = (union + 2 * runs)[sound]
        self.stored = stored[sound]
        return at[sound]

    def _whole(self, at: _Ints, parts: _Ints, length: _Ints) -> Bools:
        """Whether the continuations of steps are all there."""
        beyond = np.maximum(length - _IN_RECORD, 0)
        whole = (parts == -(-beyond // CONTINUATION_SIZE)) & (parts <= _MOST_PARTS)
        numbers = self._slots.view("<u4")[:, 14]
        for part in range(1, int(parts[whole].max(initial=0)) + 1):
            some = np.flatnonzero(whole & (parts >= part))
            slot = np.minimum(at[some] + part, self.count - 1)
            there = at[some] + part < self.count
            there &= (self.kind[slot] == Kind.CONTINUATION) & (numbers[slot] == part)
            whole[some] &= there & ~self.doubt[slot]
        result: Bools = whole
        return result

    # --- rows -------------------------------------------------------------------------

    def settled(self) -> tuple[Rows, Place]:
        """The rows whose end lies far enough back."""
        first = np.searchsorted(self.started, np.arange(self.rows) + self._at.rows + 1)
        steps = self.steps
        entries = steps[self.kind[steps] == Kind.TD_ENTRY]
        entered = np.full(self.rows, -1)
        entered[self.row[entries]] = entries
        # The last slots may be followed by their continuations.
        ended = (entered >= 0) & (entered + _BEHIND + _MOST_PARTS < self.count)
        # What reaches too far is not waited for.
        ended |= first + _REACH + _BEHIND < self.count
        waiting = np.flatnonzero(~ended)
        done = int(waiting[0]) if len(waiting) else self.rows
        found = np.zeros(self.rows, ROW)
        sure = self._ordinary(first, entered)
        self._calls(found, first, sure)
        self._ends(found, steps, entered, sure)
        found["flags"][~sure] = ASK
        slot = int(first[done]) if done < self.rows else self.count
        return found[:done], Place(self._at.slot + slot, self._at.rows + done)

    def _ordinary(self, first: _Ints, entered: _Ints) -> Bools:
        """Rows that begin with a TD exit and end with the only TD entry, undisturbed."""
        number = np.arange(self.rows)
        sure = (entered >= 0) & (entered - first < _REACH)
        sure &= self.own[first] & (self.kind[first] == Kind.TD_EXIT) & (self.row[first] == number)
        doubts = np.concatenate(([0], np.cumsum(self.doubt)))
        behind = np.minimum(entered + _BEHIND + 1, self.count)
        sure &= (doubts[np.maximum(behind, first)] - doubts[first]) == 0
        telling = np.flatnonzero(self.own & (self.kind != Kind.MEMORY_ATTRIBUTES))
        order = telling[np.argsort(self.vcpu[telling], kind="stable")]
        row, vcpu = self.row[order], self.vcpu[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (row[1:] != row[:-1]) | (vcpu[1:] != vcpu[:-1])
        sure &= np.bincount(row[begins], minlength=self.rows) == 1
        kinds = self.kind[telling]
        for kind in (Kind.TD_EXIT, Kind.TD_ENTRY):
            some = self.row[telling[kinds == kind]]
            sure &= np.bincount(some, minlength=self.rows) == 1
        last = np.full(self.rows, -1)
        last[self.row[telling]] = telling
        result: Bools = sure & (last == entered)
        return result

    def _calls(self, found: Rows, first: _Ints, sure: Bools) -> None:
        """vcpu, reason, leaf: out of the TD exit."""
        words = self._words[first]
        known, ret = words[:, _KNOWN_AT], words[:, HEAD_SIZE // 8]
        regs = words[:, HEAD_SIZE // 8 + 1 : HEAD_SIZE // 8 + 17]

        def seen(bit: int) -> Bools:
            found: Bools = (known >> np.uint64(bit) & np.uint64(1)) != 0
            return found

        told = (known & np.uint64(KNOWN_VP_ENTER_RET | KNOWN_REASON)) != 0
        has_reason = told & np.isin(ret & np.uint64(STATUS_MASK), _HALVES)
        reason = ret & np.uint64(vmx.BASIC_MASK)
        call = has_reason & (reason == np.uint64(vmx.TDCALL))
        mask = regs[:, RCX]
        masked = call & seen(RCX)

        def operand(number: int) -> tuple[_U64s, Bools]:
            hidden = masked & ((mask >> np.uint64(number) & np.uint64(1)) == 0)
            is_seen = seen(number)
            value: _U64s = np.where(is_seen, regs[:, number], np.uint64(0))
            return value, is_seen | hidden

        r10, r10_known = operand(R10)
        r11, r11_known = operand(R11)
        has_leaf = call & r10_known & (r10 == 0) & r11_known
        self.vendor = call & r10_known & (r10 != 0)
        # A reply is expected: of a TDVMCALL, or where nothing is known of the exit.
        all_seen = (known & np.uint64(KNOWN_VP_ENTER_RET)) != 0
        self.replies = np.where(has_reason, call, ~all_seen)
        self.is_other = told & ~call
        sure &= ~(has_leaf & (r11 > np.uint64(0xFFFF_FFFF)))
        found["vcpu"] = self.vcpu[first]
        found["reason"] = np.where(has_reason, reason, 0)
        found["leaf"] = np.where(has_leaf, r11 & np.uint64(0xFFFF_FFFF), 0)
        found["flags"] = has_reason * REASON + has_leaf * LEAF

    def _ends(self, found: Rows, steps: _Ints, entered: _Ints, sure: Bools) -> None:
        """exit, outcome, status, retry, error: out of the steps."""
        flags = self._slots[steps, 1]
        runs = steps[(flags & layout.STEP_RUN) != 0]
        reasons = self._step_field("exit_reason", runs)
        sure[self.row[runs[reasons >= EXIT_OTHER]]] = False
        sets = np.uint64(1) << np.minimum(reasons, EXIT_OTHER - 1).astype(np.uint64)
        exits = np.zeros(self.rows, np.uint64)
        order = np.argsort(self.row[runs], kind="stable")
        numbers = self.row[runs][order]
        begins = np.flatnonzero(np.diff(numbers, prepend=-1))
        if len(begins):
            exits[numbers[begins]] = np.bitwise_or.reduceat(sets[order], begins)
        found["exit"] = exits

        last = np.maximum(entered, 0)
        known = self._words[last, _KNOWN_AT]
        bugged = (self._step_field("effects", last) & VM_BUGGED) != 0
        dead = bugged & ((known & np.uint64(KNOWN_EFFECTS)) != 0)
        found["outcome"] = np.where(dead, DEAD, GUEST)
        r10 = self._r10(last)
        has_status = ((known >> np.uint64(R10) & np.uint64(1)) != 0) & ~self.is_other
        code = np.full(self.rows, NO_STATUS, np.uint8)
        for number, status in enumerate(STATUSES):
            code[has_status & (r10 == np.uint64(status))] = number
        sure &= ~has_status | (code != NO_STATUS)
        found["status"] = code
        verdict = dead | has_status | ~self.replies
        fatal = dead & (exits & _FATAL != 0)
        succeeded = (r10 == np.uint64(Status.SUCCESS)) | (r10 == np.uint64(Status.RETRY))
        failed = np.where(self.vendor, r10 >> np.uint64(63) != 0, ~succeeded)
        error = dead | fatal | (has_status & failed)
        retry = ~dead & has_status & (r10 == np.uint64(Status.RETRY)) & ~self.vendor
        found["flags"] |= (verdict * VERDICT + retry * RETRY + error * ERROR).astype(np.uint16)

    def _r10(self, at: _Ints) -> _U64s:
        """R10 that the TD gets at these TD entries; of anything else any number."""
        values = np.zeros(len(at), np.uint64)
        if not len(self.steps):
            return values
        place = np.minimum(np.searchsorted(self.steps, at), len(self.steps) - 1)
        stored = self.stored[place]
        some = np.flatnonzero((self.steps[place] == at) & (stored >> R10 & 1 == 1))
        below = np.bitwise_count((stored[some] & ((1 << R10) - 1)).astype(np.uint16))
        start = self.registers_at[place[some]] + 8 * below.astype(np.int64)
        for byte in range(8):
            piece = self._payload(at[some], start + byte).astype(np.uint64)
            values[some] |= piece << np.uint64(8 * byte)
        return values


def _good(view: memoryview, slots: npt.NDArray[np.uint8]) -> Bools:
    """Which slots have the checksum that they say.

    It is that of bytes 0 to 3 and 8 to 255. CRC-32 is linear, so what the first
    four bytes do to it is a look-up: they have few values.
    """
    count = len(slots)
    rests = np.fromiter((crc32(rest) for (rest,) in iter_unpack("8x248s", view)), np.uint32, count)
    heads, which = np.unique(slots.view("<u4")[:, 0], return_inverse=True)
    zeros = bytes(RECORD_SIZE - 8)
    plain = crc32(zeros)
    change = [crc32(zeros, crc32(int(head).to_bytes(4, "little"))) ^ plain for head in heads]
    sums = rests ^ np.array(change, np.uint32)[which]
    good: Bools = (sums == slots.view("<u4")[:, 1]) & (slots[:, 0] != 0)
    return good
