"""Counts the exits of recordings by what the guest asked, as a table in Markdown.

    python -m tools.count_exits TRACE...

A column is a recording, a row a kind of exit with the port's owner, the MSR, the page
or the size that it is about. Exits that go to the same group are counted together.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.values import exit_reason_name, leaf_short, msr_name, port_name, short_size
from tdxdbg.errors import TdxdbgError
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace

#: MSRs that come in rows: first, last, the name of all.
MSR_GROUPS: Final = (
    (0x400, 0x47F, "machine check banks"),
    (0x800, 0x8FF, "x2APIC"),
)
#: Memory of devices, as QEMU's q35 has it: first, last, the owner.
DEVICES: Final = (
    (0xE0000000, 0xEFFFFFFF, "PCI MMCONFIG"),
    (0xFEC00000, 0xFEC00FFF, "IOAPIC"),
    (0xFED00000, 0xFED003FF, "HPET"),
    (0xFED40000, 0xFED44FFF, "TPM"),
    (0xFEE00000, 0xFEE00FFF, "local APIC"),
)
Key = tuple[str, str]


def _owner(groups: tuple[tuple[int, int, str], ...], number: int) -> str:
    return next((name for first, last, name in groups if first <= number <= last), "")


def _msr(row: RowSummary) -> str:
    index = row.r12 or 0
    return _owner(MSR_GROUPS, index) or msr_name(index) or f"MSR {index:#x}"


def _port(row: RowSummary) -> str:
    port = row.port or 0
    return port_name(port) or f"port {port:#x}"


def _device(row: RowSummary) -> str:
    gpa = row.gpa or 0
    return _owner(DEVICES, gpa) or f"page {gpa & ~0xFFF:#x}"


def _conversion(row: RowSummary) -> str:
    state = "shared" if row.shared else "private"
    return f"{short_size(row.size or 0)} to {state}"


def _touched(row: RowSummary) -> str:
    return "a shared GPA" if row.shared else "a private GPA"


def _direction(row: RowSummary) -> str:
    return "" if row.direction is None else " write" if row.direction else " read"


#: What a sub-function is about.
ABOUT: Final[dict[int, Callable[[RowSummary], str]]] = {
    SubFunction.IO: _port,
    SubFunction.RDMSR: _msr,
    SubFunction.WRMSR: _msr,
    SubFunction.MMIO: _device,
    SubFunction.MAP_GPA: _conversion,
}


def kind(row: RowSummary) -> Key:
    """The group of an exit: its kind, and what it is about."""
    if row.leaf is None:
        reason = "?" if row.reason is None else exit_reason_name(row.reason)
        return reason, _touched(row) if row.gpa is not None else ""
    about = ABOUT.get(row.leaf)
    return f"{leaf_short(row.leaf)}{_direction(row)}", about(row) if about else ""


def count(path: Path) -> Counter[Key]:
    """How many exits of each group a recording has. Raises TraceError."""
    with open_trace(path) as trace:
        timeline = Timeline(trace)
        return Counter(kind(timeline.summary(row)) for row in range(len(trace)))


def table(names: list[str], counts: list[Counter[Key]]) -> list[str]:
    """Markdown, with what is asked most often first in each kind."""
    both = sum(counts, Counter[Key]())
    kinds: Counter[str] = Counter()
    for (name, _), number in both.items():
        kinds[name] += number
    rows = sorted(both, key=lambda key: (-kinds[key[0]], key[0], -both[key], key[1]))
    lines = [f"| exit | of | {' | '.join(names)} |", f"|---|---|{'---:|' * len(names)}"]
    for key in rows:
        numbers = " | ".join(f"{one[key]:,}" for one in counts)
        lines.append(f"| {key[0]} | {key[1]} | {numbers} |")
    totals = " | ".join(f"{one.total():,}" for one in counts)
    return [*lines, f"| all | | {totals} |"]


def main() -> int:
    """Print the table; 1 when a recording cannot be read."""
    parser = argparse.ArgumentParser(description="count the exits of recordings by kind")
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE")
    traces: list[Path] = parser.parse_args().traces
    try:
        counts = [count(path) for path in traces]
    except (TdxdbgError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print("\n".join(table([path.name.partition(".")[0] for path in traces], counts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
