"""Where each field of a `.tdxt` file lies: the one table, also behind docs/trace-format.md.

Everything is little-endian. A file is a header (a multiple of 4 KiB) and then
records of 256 bytes. A record is a head of 64 bytes, which all kinds share,
and a body. Some bodies end in a payload, whose length is in the head; what
does not fit goes on in CONTINUATION records right behind, 192 bytes each.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.traces.records import Kind

MAGIC: Final = b"\x89TDXT\r\n\x1a"
MAJOR: Final = 1
MINOR: Final = 0
RECORD_SIZE: Final = 256
HEAD_SIZE: Final = 64
HEADER_UNIT: Final = 4096
#: A header longer than this is damage: a TD's CPUID and MSR tables take some 100 KiB.
MAX_HEADER: Final = 4 << 20
#: A payload longer than this is damage: the largest are checkpoints.
MAX_PAYLOAD: Final = 64 << 20
#: Reads as this number in a file of the right byte order.
ENDIANNESS: Final = 0x0A0B0C0D
#: `time` when there is none; also the limit of time in ns.
NO_TIME: Final = (1 << 64) - 1
#: `valid_runs` when the known bytes are those that KVM wrote.
SAME_RUNS: Final = 0xFF


class Field(NamedTuple):
    """One field: byte offset, `struct` code."""

    name: str
    offset: int
    code: str


def _struct(fields: tuple[Field, ...]) -> Struct:
    return Struct("<" + "".join(field.code for field in fields))


HEADER_FIELDS: Final = (
    Field("magic", 0, "8s"),
    Field("major", 8, "H"),
    Field("minor", 10, "H"),
    Field("header_length", 12, "I"),
    Field("record_length", 16, "I"),
    Field("endianness", 20, "I"),
    Field("metadata_length", 24, "I"),
    Field("crc32", 28, "I"),
)
HEAD_FIELDS: Final = (
    Field("kind", 0, "B"),
    Field("flags", 1, "B"),
    Field("vcpu", 2, "H"),
    Field("crc32", 4, "I"),
    Field("row", 8, "Q"),
    Field("rows_started", 16, "Q"),
    Field("time", 24, "Q"),
    Field("known", 32, "Q"),
    Field("source", 40, "Q"),
    Field("checkpoint", 48, "Q"),
    Field("parts", 56, "I"),
    Field("length", 60, "I"),
)
TD_EXIT_FIELDS: Final = (
    Field("vp_enter_ret", 64, "Q"),
    Field("regs", 72, "16Q"),
    Field("in_kernel_value", 200, "Q"),
    Field("in_kernel_errno", 208, "I"),
)
STEP_FIELDS: Final = (
    Field("outcome", 64, "i"),
    Field("completer", 68, "H"),
    Field("run_flags", 70, "H"),
    Field("errno", 72, "I"),
    Field("effects", 76, "I"),
    Field("exit_reason", 80, "I"),
    Field("regs_stored", 84, "H"),
    Field("union_stored", 86, "H"),
    Field("pio_stored", 88, "H"),
    Field("written_runs", 90, "B"),
    Field("valid_runs", 91, "B"),
    Field("reserved", 92, "I"),
)
ANSWER_FIELDS: Final = (
    Field("answer_type", 64, "H"),
    Field("present", 66, "H"),
    Field("reserved", 68, "I"),
)
MEMORY_ATTRIBUTES_FIELDS: Final = (
    Field("gpa", 64, "Q"),
    Field("size", 72, "Q"),
)

HEADER: Final = _struct(HEADER_FIELDS)
HEAD: Final = _struct(HEAD_FIELDS)
#: A head before its crc32.
HEAD_START: Final = _struct(HEAD_FIELDS[:3])
TD_EXIT: Final = _struct(TD_EXIT_FIELDS)
STEP: Final = _struct(STEP_FIELDS)
ANSWER: Final = _struct(ANSWER_FIELDS)
MEMORY_ATTRIBUTES: Final = _struct(MEMORY_ATTRIBUTES_FIELDS)

BODY_FIELDS: Final[dict[Kind, tuple[Field, ...]]] = {
    Kind.TD_EXIT: TD_EXIT_FIELDS,
    Kind.USERSPACE_EXIT: STEP_FIELDS,
    Kind.ANSWER: ANSWER_FIELDS,
    Kind.TD_ENTRY: STEP_FIELDS,
    Kind.MEMORY_ATTRIBUTES: MEMORY_ATTRIBUTES_FIELDS,
    Kind.CHECKPOINT: (),
    Kind.CONTINUATION: (),
}
#: Where the payload starts in a record, in bytes; kinds without one are missing.
PAYLOAD_AT: Final[dict[int, int]] = {
    Kind.USERSPACE_EXIT: HEAD_SIZE + STEP.size,
    Kind.TD_ENTRY: HEAD_SIZE + STEP.size,
    Kind.ANSWER: HEAD_SIZE + ANSWER.size,
    Kind.CHECKPOINT: HEAD_SIZE,
}
CONTINUATION_SIZE: Final = RECORD_SIZE - HEAD_SIZE

# Bits of `flags`, by kind.
TD_EXIT_SIGNAL: Final = 1
TD_EXIT_IN_KERNEL: Final = 2
TD_EXIT_HANDLED: Final = 4
STEP_RUN: Final = 1
ANSWER_HAS_EVENTS: Final = 1
ANSWER_IMMEDIATE_EXIT: Final = 2
ANSWER_SIGNAL: Final = 4
MEMORY_PRIVATE: Final = 1

# Offsets that are read without decoding the record.
ROW_AT: Final = 8
ROWS_STARTED_AT: Final = 16
CHECKPOINT_AT: Final = 48


def parts_of(kind: int, length: int) -> int:
    """How many CONTINUATION records a payload of `length` bytes takes."""
    start = PAYLOAD_AT.get(kind, RECORD_SIZE)
    beyond = length - (RECORD_SIZE - start)
    return 0 if beyond <= 0 else -(-beyond // CONTINUATION_SIZE)
