"""Journals of any content, for properties."""

from __future__ import annotations

from types import MappingProxyType

from hypothesis import strategies as st

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import KNOWN_ALL, U64, Regs
from tdxdbg.engine.kvm_run import KvmRun, layout_of
from tdxdbg.engine.state import (
    Completer,
    HypercallAnswer,
    InKernel,
    IoAnswer,
    MmioAnswer,
    Msr,
    MsrAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.traces.meta import ORIGINS, TraceMeta
from tdxdbg.traces.records import Body, Kind, Record

u64 = st.one_of(st.just(0), st.integers(0, 4096), st.integers(0, U64))
u32 = st.integers(0, 0xFFFF_FFFF)
optional = st.one_of(st.none(), u64)
regs = st.one_of(st.just(Regs()), st.builds(Regs, *([u64] * 16)))


@st.composite
def masks(draw: st.DrawFn) -> int:
    """256-bit masks of a few runs, as exits have them, or of any bits."""
    if draw(st.booleans()):
        return draw(st.integers(0, (1 << 256) - 1))
    mask = 0
    for _ in range(draw(st.integers(0, 3))):
        first = draw(st.integers(0, 255))
        mask |= ((1 << draw(st.integers(1, 256 - first))) - 1) << first
    return mask


@st.composite
def runs(draw: st.DrawFn) -> KvmRun:
    reason = draw(st.one_of(st.sampled_from([int(item) for item in Exit]), u32))
    union = draw(st.one_of(st.just(b""), st.binary(max_size=256))).ljust(256, b"\0")
    if reason == Exit.TDX:
        head = draw(st.sampled_from([(1, 0), (0, 0x10002), (0, 0x10000), (0, 0x10004), (0, 7)]))
        union = b"".join(item.to_bytes(8, "little") for item in head) + union[16:]
    written = draw(masks())
    valid = draw(st.one_of(st.just(written), masks()))
    pio = draw(st.one_of(st.just(b""), st.binary(max_size=600)))
    return KvmRun(reason, layout_of(reason, union), union, written, valid, pio)


in_kernels = st.one_of(st.none(), st.builds(InKernel, st.booleans(), u64, u32))
data = st.one_of(st.none(), st.binary(max_size=16), st.binary(max_size=600))
answers = st.one_of(
    st.none(),
    st.builds(HypercallAnswer, optional),
    st.builds(IoAnswer, data),
    st.builds(MmioAnswer, data),
    st.builds(MsrAnswer, optional, optional),
    st.builds(TdxAnswer, *([optional] * 5)),
    st.builds(TdxRawAnswer, *([optional] * 12)),
)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)
states = st.one_of(
    st.dictionaries(st.text(), json_values, max_size=3),
    st.just({"edges": list(range(400))}),
)
steps = st.builds(
    Step,
    st.sampled_from(Outcome),
    regs,
    st.one_of(st.none(), runs()),
    st.integers(0, 0xFFFF),
    st.sampled_from(Completer),
    u32,
    u32,
    st.just(()),
)


@st.composite
def journals(draw: st.DrawFn, max_size: int = 12) -> list[Record]:
    """Records of any kind and content whose rows are numbered in order."""
    rows = 0
    result = []
    for _ in range(draw(st.integers(0, max_size))):
        kind = draw(st.sampled_from([kind for kind in Kind if kind is not Kind.CONTINUATION]))
        row = draw(st.integers(max(0, rows - 3), rows))
        vcpu = draw(st.one_of(st.integers(0, 3), st.integers(0, 0xFFFF)))
        time = draw(st.one_of(st.none(), st.integers(0, U64 - 1)))
        known = draw(st.one_of(st.just(0x7FFFFF), u64))
        source = draw(st.one_of(st.just(0), u64))
        body: Body
        if kind is Kind.TD_EXIT:
            signal = draw(st.booleans())
            body = TdExit(vcpu, draw(u64), draw(regs), known & KNOWN_ALL, draw(in_kernels), signal)
        elif kind is Kind.ANSWER:
            flags = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
            body = Reentry(vcpu, draw(answers), *flags)
        elif kind is Kind.MEMORY_ATTRIBUTES:
            body = SetMemoryAttributes(draw(u64), draw(u64), draw(st.booleans()))
        elif kind is Kind.CHECKPOINT:
            body = draw(states)
            row = max(rows - 1, 0)
        else:
            body = draw(steps)
        if kind is not Kind.CHECKPOINT:
            rows = max(rows, row + 1)
        result.append(Record(kind, row, vcpu, time, body, known, source))
    return result


pairs = st.lists(st.tuples(u64, u64), max_size=3).map(tuple)
tds = st.builds(
    Td,
    gpaw=st.sampled_from([48, 52]),
    maxphyaddr=st.integers(0, 64),
    attributes=u64,
    exit_hypercall=st.booleans(),
    user_space_msr_mask=u64,
    notify_user=st.booleans(),
    pv_features=u64,
    cpuid=st.dictionaries(st.tuples(u32, u32), st.tuples(u32, u32, u32, u32), max_size=3).map(
        MappingProxyType
    ),
    msrs=st.dictionaries(
        u32, st.builds(Msr, u64, st.booleans(), st.booleans(), st.booleans()), max_size=3
    ).map(MappingProxyType),
    memslots=pairs,
    pio_devices=pairs,
    mmio_devices=pairs,
    fast_mmio=st.lists(u64, max_size=3).map(tuple),
)
metas = st.builds(
    TraceMeta,
    source=st.text(),
    kernel=st.text(),
    generation=st.sampled_from(["", "6.16", "7.2"]),
    origin=st.sampled_from(ORIGINS),
    title=st.text(),
    created=st.just("2026-01-02T03:04:05Z"),
    td=tds,
    extra=st.dictionaries(st.text(max_size=5).map("x-{}".format), json_values, max_size=3).map(
        MappingProxyType
    ),
)
