"""Random journals: every generation, biased to the values at which KVM decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs, exposed
from tdxdbg.engine import (
    BY_NAME,
    Answer,
    Engine,
    HypercallAnswer,
    InKernel,
    Input,
    IoAnswer,
    MmioAnswer,
    Msr,
    MsrAnswer,
    Phase,
    ProtocolError,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tests.engine.support import ALL, BUS_LOCK, MIB2, U64

VCPUS = 3

generation_names = st.sampled_from(ALL)

_EDGES = [1 << bit for bit in (12, 21, 46, 47, 48, 51, 52, 63)]
_NUMBERS = sorted(
    {0, 1, 2, 3, 4, 8, 16, 22, 1 << 32, U64}
    | {edge + offset & U64 for edge in _EDGES for offset in (-4096, -1, 0, 1, 4096)}
    | {5 << 20, (1 << 32) + 4, 1 << 47 | 0xFEC0_0000, 1 << 51 | 0x1000, MIB2 + 4096}
)
#: Any 64-bit number, most often one at an edge.
words = st.one_of(st.sampled_from(_NUMBERS), st.sampled_from(_NUMBERS), st.integers(0, U64))
#: GPAs with and without a shared bit, at page and MAXPHYADDR edges.
gpas = st.builds(
    lambda bits, low: bits | low,
    st.sampled_from([0, 1 << 47, 1 << 51, 1 << 47 | 1 << 51, 1 << 48]),
    st.one_of(
        st.integers(0, 64).map(lambda page: page << 12),
        st.sampled_from([(1 << 46) - MIB2, (1 << 47) - 4096, (1 << 45) + 4096, 0x1FFF]),
    ),
)
sizes = st.one_of(
    st.integers(1, 1600).map(lambda pages: pages << 12),
    st.sampled_from([0, 1, 4095, 4097, MIB2, MIB2 + 4096, 3 * MIB2, U64]),
)
masks = st.sampled_from(
    [0xFFCC] * 6 + [0, 0xFC00, 0x3C00, 0xFC04, 0xFC08, 0x1C00, 0xF400, 0xFF_FFCC]
)
_LEAVES = [int(leaf) for leaf in SubFunction] + [0, 18, 49, 77, 0x10007, 1 << 32 | 10, U64]
_HYPERCALLS = [1, 5, 9, 10, 11, 12, 12, 12, 13, 1000, 1 << 63]

_OPERANDS: dict[int, tuple[SearchStrategy[int], ...]] = {
    SubFunction.MAP_GPA: (gpas, sizes),
    SubFunction.IO: (
        st.sampled_from([0, 1, 2, 4, 4, 8, 1 << 32 | 1]),
        st.sampled_from([0, 0, 1, 1, 2, 1 << 32]),
        st.sampled_from([0x20, 0x3F8, 0x1_0060]),
        words,
    ),
    SubFunction.MMIO: (
        st.sampled_from([0, 1, 2, 4, 4, 8, 8, 1 << 32 | 4]),
        st.sampled_from([0, 0, 1, 1, 2, 1 << 32]),
        gpas,
        words,
    ),
    SubFunction.RDMSR: (st.sampled_from([0x277, 0x8B, 0x10, 0x1_0000_0277]), words),
    SubFunction.WRMSR: (st.sampled_from([0x277, 0x8B, 0x10, 0x1_0000_0277]), words),
    SubFunction.GET_TD_VM_CALL_INFO: (st.sampled_from([0, 1, 1, 2, 1 << 32]),),
    SubFunction.GET_QUOTE: (gpas, sizes),
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: (st.sampled_from([31, 32, 64, 255, 256]),),
}


@st.composite
def calls(draw: DrawFn) -> Regs:
    """The registers of a TDVMCALL as the guest sets them, not yet masked."""
    hypercall = draw(st.integers(0, 5)) == 0
    leaf = draw(gpas) if hypercall else draw(st.sampled_from(_LEAVES))
    operands = _OPERANDS.get(leaf, ())
    if hypercall:
        operands = (sizes.map(lambda size: size >> 12), st.sampled_from([0, 0x10, 1]))
    r12, r13, r14, r15 = (draw(strategy) for strategy in (*operands, *[words] * 4)[:4])
    fill = draw(words)
    return Regs(
        rcx=draw(masks),
        rdx=fill,
        rbx=fill ^ 0x3333,
        rsi=fill ^ 0x6666,
        rdi=fill ^ 0x7777,
        r8=fill ^ 0x8888,
        r9=fill ^ 0x9999,
        r10=draw(st.sampled_from(_HYPERCALLS)) if hypercall else 0,
        r11=leaf,
        r12=r12,
        r13=r13,
        r14=r14,
        r15=r15,
    )


_STATUSES = [0, 0, 0, 0, 0x4000_0002_0000_0000, 0x6000_0007_0000_0000, 0x8000_0200_0000_0000]
_STATUSES += [0xC000_0100_0000_0000, 0x0000_0815_0000_0000]
_REASONS = [0, 0, 1, 2, 6, 10, 48, 48, 48, 48, 74, 75, 77, 0x92, 0xA9, 1 << 31 | 34]
in_kernels = st.one_of(
    st.none(),
    st.builds(InKernel, st.booleans(), words, st.sampled_from([0, 0, 14, 14, 133])),
)


@st.composite
def other_exits(draw: DrawFn) -> tuple[int, Regs]:
    """RAX and registers of an exit that is no plain TDCALL; few of them kill the VM."""
    ret = draw(st.sampled_from(_STATUSES)) | draw(st.sampled_from(_REASONS))
    ret |= draw(st.sampled_from([0, 0, BUS_LOCK]))
    qualification = draw(st.sampled_from([0, 1, 2, 9, 0x182]))
    interruption = draw(st.sampled_from([0x8000_0202, 0x8000_0312, 0x8000_0300, 0]))
    return ret, Regs(rcx=qualification, r8=draw(gpas), r9=interruption)


@st.composite
def td_exits(draw: DrawFn, vcpu: int = 0) -> TdExit:
    """A TD exit of this vCPU, most often a TDVMCALL."""
    if draw(st.integers(0, 3)):
        ret = 77 | draw(st.sampled_from([0, 0, 0, 0, 0, BUS_LOCK]))
        regs = exposed(draw(calls()))
    else:
        ret, regs = draw(other_exits())
    return TdExit(
        vcpu, ret, regs, in_kernel=draw(in_kernels), signal_pending=draw(st.integers(0, 9)) == 0
    )


returns = st.sampled_from([0, 0, 0, 0, 0, None, 11, 22, 16, U64])
data = st.one_of(st.none(), st.binary(max_size=10))
_or_none = st.one_of(st.none(), words)
answers: dict[int, SearchStrategy[Answer]] = {
    Exit.HYPERCALL: st.builds(HypercallAnswer, returns),
    Exit.IO: st.builds(IoAnswer, data),
    Exit.MMIO: st.builds(MmioAnswer, data),
    Exit.X86_RDMSR: st.builds(MsrAnswer, st.sampled_from([None, 0, 1]), _or_none),
    Exit.X86_WRMSR: st.builds(MsrAnswer, st.sampled_from([None, 0, 1]), _or_none),
    Exit.TDX: st.builds(TdxAnswer, _or_none, _or_none, _or_none),
}
_raw_answers = st.builds(
    TdxRawAnswer, st.sampled_from([None, 0, 1, 1 << 63]), st.one_of(gpas, st.none()), _or_none
)
any_answer: SearchStrategy[Answer] = st.one_of(*answers.values(), _raw_answers)


@st.composite
def reentries(draw: DrawFn, engine: Engine, vcpu: int) -> Reentry:
    """KVM_RUN again, most often with an answer that fits."""
    state = engine.vcpus.get(vcpu)
    reason = state.exit_reason if state else 0
    fitting = answers.get(reason, st.none())
    if reason == Exit.TDX and engine.generation.name == "v19":
        fitting = _raw_answers
    wrong = draw(st.integers(0, 14)) == 0
    return Reentry(
        vcpu,
        draw(any_answer if wrong else st.one_of(fitting, fitting, st.none())),
        has_events=draw(st.integers(0, 3)) == 0,
        immediate_exit=draw(st.integers(0, 9)) == 0,
        signal_pending=draw(st.integers(0, 9)) == 0,
    )


attributes = st.builds(SetMemoryAttributes, gpas, sizes, st.booleans())

_CPUID = {(1, 0): (1, 2, 3, 4), (0x15, 0): (5, 6, 7, 8)}
_MSRS = {0x277: Msr(7), 0x8B: Msr(8, writable=False), 0x10: Msr(filtered=True)}
tds = st.builds(
    Td,
    gpaw=st.sampled_from([48, 52]),
    maxphyaddr=st.sampled_from([46, 48, 52, 52]),
    exit_hypercall=st.sampled_from([True, True, True, False]),
    user_space_msr_mask=st.sampled_from([0, 7]),
    notify_user=st.booleans(),
    pv_features=st.sampled_from([0, 0x2880]),
    cpuid=st.just(_CPUID),
    msrs=st.just(_MSRS),
    memslots=st.sampled_from([(), ((0, 16),)]),
    pio_devices=st.sampled_from([(), ((0x20, 0x21),)]),
    mmio_devices=st.sampled_from([(), ((0x3000, 0x3FFF),)]),
    fast_mmio=st.sampled_from([(), (0x2000,)]),
)


class Journal(NamedTuple):
    """Inputs of one TD; a few of them may be refused."""

    generation: str
    td: Td
    events: list[Input]

    def engine(self) -> Engine:
        return Engine(self.td, BY_NAME[self.generation])

    def feed(self, engine: Engine, events: Sequence[Input]) -> list[Step | str]:
        """The Steps; where an input was refused, why."""
        return [feed(engine, event) for event in events]


def feed(engine: Engine, event: Input) -> Step | str:
    try:
        return engine.feed(event)
    except ProtocolError as error:
        return str(error)


@st.composite
def inputs(draw: DrawFn, engine: Engine) -> Input:
    """An input that fits the engine's state, or now and then one that does not."""
    choice = draw(st.integers(0, 19))
    if choice == 0:
        return draw(attributes)
    vcpu = draw(st.integers(0, VCPUS - 1))
    in_td = engine.phase(vcpu) is Phase.IN_TD
    if choice == 1:
        in_td = not in_td
    if in_td:
        return draw(td_exits(vcpu))
    return draw(reentries(engine, vcpu))


@st.composite
def journals(draw: DrawFn, longest: int = 14) -> Journal:
    """A journal of up to `longest` inputs, drawn beside an engine."""
    journal = Journal(draw(generation_names), draw(tds), [])
    engine = journal.engine()
    for _ in range(draw(st.integers(1, longest))):
        event = draw(inputs(engine))
        journal.events.append(event)
        feed(engine, event)
    return journal
