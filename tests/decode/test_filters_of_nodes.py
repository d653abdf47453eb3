"""A filter that a row of a decode tree offers selects the exit that the row is of."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import KNOWN_ALL, Regs, exposed
from tdxdbg.decode.known import seen
from tdxdbg.decode.queue import kind_filter
from tdxdbg.decode.reply import call_of
from tdxdbg.decode.step import decode_step
from tdxdbg.decode.summary import summarise
from tdxdbg.decode.td_exit import decode_exit
from tdxdbg.engine import GENERATIONS, Engine, InKernel, Outcome, Td, TdExit
from tdxdbg.filters import compile_filter
from tdxdbg.traces.records import KNOWN_VP_ENTER_RET, step_record, td_exit
from tests.decode.trees import walk

#: Numbers that mean something somewhere, and any other.
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 4, 8, 12, 0x3F8, 0x1000, 1 << 21, 1 << 47 | 0x1000, 1 << 63, 77]),
    st.sampled_from(sorted(SubFunction)),
    st.integers(0, (1 << 64) - 1),
)
REASONS = st.sampled_from([vmx.TDCALL, vmx.TDCALL, *sorted(vmx.EXIT_REASON_NAMES)])
LEAVES = st.one_of(*[st.sampled_from(sorted(SubFunction))] * 3, NUMBERS)
MASKS = st.sampled_from([0xFFCC, 0xFFCC, 0xFC00, 0, 0x400])
KNOWN = st.one_of(st.just(KNOWN_ALL), st.integers(0, KNOWN_ALL))


@settings(max_examples=800, deadline=None)
@given(REASONS, MASKS, LEAVES, st.builds(Regs, *[NUMBERS] * 16), KNOWN, st.booleans(),
       st.sampled_from(GENERATIONS))  # fmt: skip
def test_every_row_of_any_exit(reason, mask, leaf, regs, known, vendor, generation) -> None:  # type: ignore[no-untyped-def]
    td = Td()
    if reason == vmx.TDCALL:
        regs = exposed(regs._replace(rcx=mask, r10=regs.r10 if vendor else 0, r11=leaf))
    event = TdExit(0, reason, regs, known, InKernel())
    engine = Engine(td, generation)
    engine.force_into_td(0)
    step = engine.feed(event)
    first = td_exit(0, event, 0)
    first = first._replace(known=first.known & (~KNOWN_ALL | known) | KNOWN_VP_ENTER_RET)
    summary = summarise(0, [first, step_record(0, 0, step, 0)], td)
    trees = [decode_exit(event, known, td, seen(first.known))]
    if step.outcome is not Outcome.KVM_ERROR:
        trees.append(decode_step(step, call_of(event, known, td, seen(first.known))))
    texts = {node.filter for tree in trees for node in walk(tree)} - {None}
    for text in (*texts, kind_filter(summary)):
        assert compile_filter(str(text)).matches(summary), (text, summary)
