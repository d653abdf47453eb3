"""Journals of one row, and its summary."""

from __future__ import annotations

from tdxdbg.decode.summary import RowSummary, summarise
from tdxdbg.engine import BY_NAME, Engine, HypercallAnswer, Input, Reentry, Td, TdExit
from tdxdbg.traces import records
from tdxdbg.traces.records import Record
from tests.decode.trees import MIB, SHARED48, call

OK = HypercallAnswer(0)


def journal(*inputs: Input, generation: str = "7.2", td: Td | None = None) -> list[Record]:
    engine = Engine(td or Td(), BY_NAME[generation])
    engine.force_into_td(0)
    result: list[Record] = []
    for event in inputs:
        if isinstance(event, TdExit):
            result.append(records.td_exit(7, event, 1_024_113_000))
        elif isinstance(event, Reentry):
            result.append(records.answer(7, event))
        result.append(records.step_record(7, 0, engine.feed(event)))
    return result


def summary(*inputs: Input, generation: str = "7.2", td: Td | None = None) -> RowSummary:
    return summarise(7, journal(*inputs, generation=generation, td=td), td)


MAP = call(0x10001, r12=SHARED48 | 0x40000000, r13=8 * MIB)
