"""What the engine's tests share: register files, engines in the TD, whole state as a value."""

from __future__ import annotations

from typing import Any

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs
from tdxdbg.engine import (
    BY_NAME,
    Engine,
    InKernel,
    Outcome,
    Reentry,
    Step,
    Td,
    TdExit,
    Vcpu,
)

ALL = tuple(BY_NAME)
#: Generations from the named one on.
SINCE_V1 = ALL[1:]
MERGED = ALL[2:]
SINCE_616 = ALL[3:]
SINCE_72 = ALL[4:]
BEFORE_72 = ALL[:4]

TDCALL = 77
BUS_LOCK = 1 << 26
SHARED = 1 << 47
PAGE = 4096
MIB2 = 2 << 20
U64 = (1 << 64) - 1

SUCCESS = 0
RETRY = 1
INVALID = 1 << 63
ALIGN = INVALID | 2
UNSUPPORTED = INVALID | 3

GUEST = Outcome.REENTER_TD
EXIT = Outcome.EXIT_TO_USERSPACE
ERROR = Outcome.KVM_ERROR


def call(r11: int, *operands: int, r10: int = 0, rcx: int = LINUX_EXPOSE_MASK, **regs: int) -> Regs:
    """The registers of a TDVMCALL; `operands` are R12..R15."""
    names = ("r12", "r13", "r14", "r15")
    regs |= dict(zip(names, operands, strict=False))
    return Regs(rcx=rcx, r10=r10, r11=r11, **regs)


def engine_in_td(generation: str, td: Td | None = None, vcpus: int = 1) -> Engine:
    """An engine whose vCPUs are all in the TD."""
    engine = Engine(td or Td(), BY_NAME[generation])
    for index in range(vcpus):
        assert engine.feed(Reentry(index)).outcome is GUEST
    return engine


def tdcall(
    engine: Engine,
    regs: Regs,
    vcpu: int = 0,
    ret: int = TDCALL,
    in_kernel: InKernel | None = None,
) -> Step:
    """One TDVMCALL."""
    return engine.feed(TdExit(vcpu, ret, regs, in_kernel=in_kernel))


def answer_of(
    generation: str, regs: Regs, td: Td | None = None, in_kernel: InKernel | None = None
) -> Step:
    """One TDVMCALL of a new engine."""
    return tdcall(engine_in_td(generation, td), regs, in_kernel=in_kernel)


def run_of(step: Step) -> dict[str, Any]:
    """The fields of struct kvm_run after an exit, by name."""
    assert step.run is not None
    return step.run.values()


def changed(before: Regs, step: Step) -> dict[str, int]:
    """The registers that KVM hands back with another value."""
    return {
        name: new
        for name, old, new in zip(Regs._fields, before, step.regs, strict=True)
        if old != new
    }


def state_of(engine: Engine) -> tuple[object, ...]:
    """Everything that an engine remembers, every slot of every vCPU, as one value."""
    vcpus = tuple(
        tuple((name, getattr(vcpu, name)) for name in Vcpu.__slots__)
        for _, vcpu in sorted(engine.vcpus.items())
    )
    return vcpus, engine.gpa_map, engine.dead


def map_gpa(gpa: int, size: int, **regs: int) -> Regs:
    """The registers of MapGPA."""
    return call(SubFunction.MAP_GPA, gpa, size, **regs)
