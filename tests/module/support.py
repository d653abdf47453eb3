"""What the module's tests share: a memory, TDs, register files."""

from __future__ import annotations

from typing import Any

from tdxdbg.abi.regs import Regs
from tdxdbg.module import Guest, ModuleExit, Result, Resume, TdParams, TdxModule

PAGE = 4096
MIB2 = 2 << 20
GIB = 1 << 30
SHARED = 1 << 47
SHARED_52 = 1 << 51
U64 = (1 << 64) - 1

OK = 0
INVALID = 0xC000_0100_0000_0000
INVALID_RAX = INVALID
INVALID_RCX = INVALID | 1
INVALID_RDX = INVALID | 2
INVALID_R8 = INVALID | 8
BUSY = 0x8000_0200_0000_0000

#: A register file in which every register is known by its value.
MARKED = Regs._make(0x1111_1111_1111_1111 * n for n in range(16))

SEPT_VE_DISABLE = 1 << 28
#: Access to a pending page gives a #VE instead of an exit.
PENDING_VE = TdParams(attributes=0)


class FakeMemory:
    """Sparse bytes, and a log of what was cleared."""

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.zeroed: list[tuple[int, int]] = []

    def _page(self, gpa: int) -> bytearray:
        return self.pages.setdefault(gpa >> 12, bytearray(PAGE))

    def read_gpa(self, gpa: int, size: int) -> bytes:
        assert gpa % PAGE + size <= PAGE
        return bytes(self._page(gpa)[gpa % PAGE : gpa % PAGE + size])

    def write_gpa(self, gpa: int, data: bytes) -> None:
        assert gpa % PAGE + len(data) <= PAGE
        self._page(gpa)[gpa % PAGE : gpa % PAGE + len(data)] = data

    def zero_gpa(self, gpa: int, size: int) -> None:
        assert gpa % PAGE == 0
        assert size % PAGE == 0
        self.zeroed.append((gpa, size))
        for page in [p for p in self.pages if gpa <= p << 12 < gpa + size]:
            del self.pages[page]


class Td(TdxModule):
    """A module with its test memory at hand."""

    __slots__ = ("fake",)

    def __init__(self, params: TdParams | None = None) -> None:
        self.fake = FakeMemory()
        super().__init__(params or TdParams(), self.fake)


def running(params: TdParams | None = None) -> Td:
    """A TD that is finalized and whose vCPUs are in it."""
    td = Td(params)
    td.finalize()
    for vcpu in td.vcpus:
        td.start(vcpu.index, Regs(), 0x1000)
        td.vp_enter(vcpu.index, Regs())
    return td


def guest(rax: int = 0, *, rip: int = 0x1000, length: int = 4, **fields: Any) -> Guest:
    """A vCPU at an instruction; register names go into the registers."""
    names = set(Regs._fields)
    regs = {name: fields.pop(name) for name in tuple(fields) if name in names}
    fields.setdefault("regs", Regs(rax=rax, **regs))
    return Guest(rip=rip, length=length, **fields)


def call(td: TdxModule, rax: int, vcpu: int = 0, **fields: Any) -> Result:
    """A TDCALL."""
    return td.tdcall(vcpu, guest(rax, **fields))


def status_of(result: Result) -> int:
    """RAX of a completed TDCALL."""
    assert isinstance(result, Resume), result
    return result.regs.rax


def outputs(before: Regs, result: Result) -> dict[str, int]:
    """The registers that a completed TDCALL changed, without RAX."""
    assert isinstance(result, Resume), result
    return {
        name: new
        for name, old, new in zip(Regs._fields, before, result.regs, strict=True)
        if old != new and name != "rax"
    }


def exit_of(result: Result) -> ModuleExit:
    assert isinstance(result, ModuleExit), result
    return result


def state_of(td: TdxModule) -> tuple[object, ...]:
    """Everything that a module remembers, as one value."""
    return (
        tuple((name, getattr(td.td, name)) for name in type(td.td).__slots__),
        tuple(
            tuple((name, getattr(vcpu, name)) for name in type(vcpu).__slots__) for vcpu in td.vcpus
        ),
    )
