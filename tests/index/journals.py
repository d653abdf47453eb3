"""Long ordinary journals: what an engine did, of several vCPUs that take turns."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.engine import (
    Engine,
    Generation,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    Td,
    TdExit,
)
from tdxdbg.traces.records import Record, answer, step_record, td_exit
from tests.timeline.journals import MIB, SHARED, call

_CALLS = (
    (SubFunction.MAP_GPA, SHARED | 0x4000_0000, 5 * MIB),
    (SubFunction.IO, 1, 1, 0x3F8, 0x41),
    (SubFunction.IO, 1, 0, 0x3FD),
    (SubFunction.CPUID, 1),
    (SubFunction.MMIO, 4, 1, 0xFEC0_0000, 0x10),
    (SubFunction.MAP_GPA, 0x4000_0123, MIB),
    (0x99,),
)


def calls(rows: int, vcpus: int, generation: Generation, random: Random | None = None
          ) -> list[Record]:  # fmt: skip
    """So many rows, one call after the other on each vCPU, in an order that mixes them."""
    random = random or Random(1)
    engine = Engine(Td(), generation)
    for vcpu in range(vcpus):
        engine.force_into_td(vcpu)
    open_rows: dict[int, Iterator[list[Record]]] = {}
    records: list[Record] = []
    number = 0
    while number < rows or open_rows:
        vcpu = random.randrange(vcpus)
        running = open_rows.get(vcpu)
        if running is None:
            if number == rows:
                continue
            running = open_rows[vcpu] = _row(engine, number, vcpu, random)
            number += 1
        more = next(running, None)
        if more is None:
            del open_rows[vcpu]
        else:
            records += more
    return records


def _row(engine: Engine, number: int, vcpu: int, random: Random) -> Iterator[list[Record]]:
    r10 = random.choice((0,) * 20 + (1, 12))
    exit_ = TdExit(vcpu, 77, call(*random.choice(_CALLS))._replace(r10=r10))
    step = engine.feed(exit_)
    yield [td_exit(number, exit_, 1000 * number), step_record(number, vcpu, step)]
    while step.outcome is Outcome.EXIT_TO_USERSPACE:
        pending = random.random() < 0.1
        reply = Reentry(vcpu, _answer(step.run), has_events=pending)
        step = engine.feed(reply)
        yield [answer(number, reply), step_record(number, vcpu, step)]
    if step.outcome is not Outcome.REENTER_TD:
        engine.force_into_td(vcpu)


def _answer(run: object) -> HypercallAnswer | IoAnswer | MmioAnswer | None:
    member = getattr(getattr(run, "layout", None), "member", "")
    made = {"hypercall": HypercallAnswer(0), "io": IoAnswer(b"\x60"), "mmio": MmioAnswer(b"\1" * 4)}
    found = made.get(member)
    assert found is None or isinstance(found, HypercallAnswer | IoAnswer | MmioAnswer)
    return found
