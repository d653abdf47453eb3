"""R10 != 0: KVM hypercalls (facts: kernel_exits 4.1)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import Completer, HypercallAnswer, InKernel, Reentry, Td
from tests.engine.support import (
    ALL,
    EXIT,
    GUEST,
    SHARED,
    SINCE_V1,
    U64,
    answer_of,
    call,
    changed,
    engine_in_td,
    run_of,
    tdcall,
)

ENOSYS = -1000 & U64
EINVAL = -22 & U64
EOPNOTSUPP = -95 & U64
UNHALT, SEND_IPI, SCHED_YIELD = 1 << 7, 1 << 11, 1 << 13

IN_KERNEL = [
    # nr, paravirtual features, what the inside of KVM returned, R10
    (1, 0, None, 0),
    (5, UNHALT, None, 0),
    (5, SEND_IPI | SCHED_YIELD, None, ENOSYS),
    (11, SCHED_YIELD, None, 0),
    (11, UNHALT, None, ENOSYS),
    (10, SEND_IPI, None, 0),
    (10, SEND_IPI, 3, 3),
    (10, 0, 3, ENOSYS),
    (9, 0, None, EOPNOTSUPP),
    (9, 0, 0, 0),
    (9, 0, EOPNOTSUPP, EOPNOTSUPP),
    (2, U64, None, ENOSYS),
    (3, U64, None, ENOSYS),
    (13, U64, None, ENOSYS),
    (1 << 32 | 1, U64, None, ENOSYS),  # always 64-bit
    (U64, U64, None, ENOSYS),
]


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(("nr", "features", "value", "r10"), IN_KERNEL)
def test_in_kernel(generation: str, nr: int, features: int, value: int | None, r10: int) -> None:
    regs = call(0x1000, 2, 3, 4, r10=nr)
    known = None if value is None else InKernel(value=value)
    step = answer_of(generation, regs, Td(pv_features=features), known)
    assert step.outcome is GUEST
    assert step.regs == regs._replace(r10=r10)


def map_range(gpa: int, pages: int, attributes: int = 0x10) -> Regs:
    return call(gpa, pages, attributes, 0xAAAA, r10=12)


CHECKS = [
    (0x1000, 1, True),
    (0, 0xFFFF_FFFF, True),
    # raw: no legality check, the shared bit stays
    (SHARED | 1 << 60, 1, True),
    # page aligned
    (0x1001, 1, False),
    (0x1800, 1, False),
    # npages != 0
    (0x1000, 0, False),
    # gfn + npages does not wrap; gfn itself has 52 bits at most
    (0xFFFF_FFFF_FFFF_F000, 1, True),
    (0x1000, U64, False),
    (0x1000, U64 - 1, True),
    (0, U64, True),
]


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(("gpa", "pages", "accepted"), CHECKS)
def test_map_gpa_range_checks(generation: str, gpa: int, pages: int, accepted: bool) -> None:
    regs = map_range(gpa, pages)
    step = answer_of(generation, regs)
    if accepted:
        assert step.completer is Completer.HYPERCALL
    else:
        assert (step.outcome, changed(regs, step)) == (GUEST, {"r10": EINVAL})


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("gpa", [0x1000, 0x1001])
def test_the_capability_comes_first(generation: str, gpa: int) -> None:
    regs = map_range(gpa, 1)
    step = answer_of(generation, regs, Td(exit_hypercall=False))
    assert changed(regs, step) == {"r10": ENOSYS}


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("attributes", [0, 0x10, 0x12, U64])
def test_map_gpa_range_exit(generation: str, attributes: int) -> None:
    # R11 as is, R12 pages, R13 raw; args[3..5] not written; no chunking
    step = answer_of(generation, map_range(SHARED | 0x10_0000, 4096, attributes))
    assert step.run is not None
    assert (step.outcome, step.run.exit_reason) == (EXIT, Exit.HYPERCALL)
    assert run_of(step) == {
        "nr": 12,
        "args": [SHARED | 0x10_0000, 4096, attributes, None, None, None],
        # 0 since 6.16; up to v1 whatever is there
        "ret": None if generation in ALL[:2] else 0,
        "flags": 1,
    }


@pytest.mark.parametrize("generation", SINCE_V1)
@pytest.mark.parametrize("ret", [0, 1, 11, 16, EINVAL, U64])
def test_completion(generation: str, ret: int) -> None:
    # R10 = ret, any 64-bit value
    engine = engine_in_td(generation)
    regs = map_range(0x1000, 1)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, HypercallAnswer(ret)))
    assert (step.outcome, step.regs) == (GUEST, regs._replace(r10=ret))


@pytest.mark.parametrize("ret", [0, 16, U64])
def test_v19_loses_the_result(ret: int) -> None:
    # R10 was set to 0 before the exit; ret goes to RAX
    engine = engine_in_td("v19")
    regs = map_range(0x1000, 1)
    step = tdcall(engine, regs)
    assert step.regs.r10 == 0
    step = engine.feed(Reentry(0, HypercallAnswer(ret)))
    assert step.regs == regs._replace(r10=0, rax=ret)


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("gpa", "pages", "attributes", "ret", "edges"),
    [
        (0x1000, 2, 0, 0, (1, 3)),
        (SHARED | 0x1000, 2, 0, 0, (1, 3)),
        (0x1000, 2, 0x10, 0, ()),
        (0x1000, 2, 0, 1, ()),
        (0, U64, 0, 0, (0,)),
    ],
)
def test_conversion(
    generation: str, gpa: int, pages: int, attributes: int, ret: int, edges: tuple[int, ...]
) -> None:
    # bit 4 of the attributes is "encrypted"; nothing is converted on an error
    engine = engine_in_td(generation)
    tdcall(engine, map_range(gpa, pages, attributes))
    engine.feed(Reentry(0, HypercallAnswer(ret)))
    assert engine.gpa_map.edges == edges


@pytest.mark.parametrize("generation", ALL)
def test_what_userspace_changed_in_args_is_not_read_back(generation: str) -> None:
    # only hypercall.ret is an answer
    engine = engine_in_td(generation)
    tdcall(engine, map_range(0x1000, 1, 0))
    step = engine.feed(Reentry(0, HypercallAnswer(0)))
    assert step.regs[11:14] == (0x1000, 1, 0)
