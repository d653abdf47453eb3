"""A TD for the emulated backend: what it is made of, and its TDX module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tdxdbg.abi import cpuid as leaves
from tdxdbg.abi import tdx_fields
from tdxdbg.backends.emulated import kvm_tables
from tdxdbg.backends.emulated.cpu import Cpu
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.memory import Memory, Slot
from tdxdbg.backends.emulated.nested import NestedTable
from tdxdbg.backends.emulated.platform import Platform
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.engine.state import Td
from tdxdbg.errors import BackendError
from tdxdbg.module import SeptState, TdParams, TdxModule


@dataclass(frozen=True, slots=True)
class Image:
    """Bytes that are in private memory before the TD runs (TDH.MEM.PAGE.ADD)."""

    gpa: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TdConfig:
    """A TD that has not run.

    `ram` are GPA ranges with memory (bytes); `starts` one state for each vCPU;
    `images` what is loaded; `added` further ranges of zeroes that need no
    TDG.MEM.PAGE.ACCEPT. `seed`: for RDRAND and RDSEED. `large_pages`: KVM maps
    2 MiB where the guest accepts 2 MiB (upstream KVM maps 4 KiB only).
    """

    params: TdParams
    ram: tuple[Slot, ...]
    starts: tuple[StartState, ...]
    images: tuple[Image, ...] = ()
    added: tuple[tuple[int, int], ...] = ()
    seed: int = 0
    large_pages: bool = False


class Module(TdxModule):
    """The TDX module, and what a machine asks beyond it."""

    __slots__ = ()

    def is_mapped(self, gpa: int) -> bool:
        """Whether an access to a private GPA needs nobody's help."""
        return self.td.sept.state(gpa) is SeptState.MAPPED


class GuestRam:
    """The RAM, as the TDX module reaches it; it has looked at the page's state before.

    A write to watched memory raises WatchedError. The module changes its own
    state after its writes, so the TDCALL can be executed again.
    """

    def __init__(self, memory: Memory, shared_mask: int) -> None:
        self._memory = memory
        self._private = ~shared_mask

    def read_gpa(self, gpa: int, size: int) -> bytes:
        """`size` bytes; zeroes where a page has no memory."""
        data = self._memory.read(gpa & self._private, size)
        return bytes(size) if data is None else data

    def write_gpa(self, gpa: int, data: bytes) -> None:
        plain = gpa & self._private
        self._memory.before_write(plain, len(data), "the TDX module")
        self._memory.write(plain, data)

    def zero_gpa(self, gpa: int, size: int) -> None:
        plain = gpa & self._private
        self._memory.before_write(plain, size, "the TDX module")
        self._memory.zero(plain, size)


def open_machine(config: TdConfig) -> Machine:
    """Build the TD and its vCPUs, load its images and finalize it; raises BackendError."""
    params = config.params
    if len(config.starts) != params.num_vcpus:
        raise BackendError(f"{len(config.starts)} start states for {params.num_vcpus} vCPUs")
    memory = Memory(config.ram)
    module = Module(params, GuestRam(memory, params.shared_mask))
    for image in config.images:
        if not memory.write(image.gpa, image.data):
            raise BackendError(
                f"an image of {len(image.data)} bytes at {image.gpa:#x} is outside the guest's RAM"
            )
        module.map_private(image.gpa, len(image.data))
    for gpa, size in config.added:
        module.map_private(gpa, size)
    module.finalize()
    nested = NestedTable(memory)
    cpu = Cpu(memory, nested, params.shared_mask)
    platform = Platform(memory, nested, cpu, module, params.shared_mask, config.seed)
    return Machine(platform, config.starts, large_pages=config.large_pages)


def new_params(
    gpaw: int,
    vcpus: int,
    cpuid: Mapping[tuple[int, int], leaves.Values],
    measurement: bytes,
    attributes: int = tdx_fields.ATTRIBUTES_SEPT_VE_DISABLE,
) -> TdParams:
    """TD_PARAMS of a TD whose vCPUs all run; `measurement`: MRTD. Raises BackendError."""
    try:
        return TdParams(
            gpaw=gpaw,
            attributes=attributes,
            num_vcpus=vcpus,
            max_vcpus=vcpus,
            cpuid=cpuid,
            x2apic_ids=tuple(range(vcpus)),
            mrtd=measurement,
        )
    except ValueError as error:
        raise BackendError(f"TDH.MNG.INIT would refuse this TD: {error}") from error


def engine_td(params: TdParams, slots: Iterable[Slot]) -> Td:
    """The engine's, as QEMU makes a TD; policies of the VMM change it (`Vmm.td`)."""
    return Td(
        gpaw=params.gpaw,
        attributes=params.attributes,
        pv_features=kvm_tables.PV_FEATURES,
        cpuid=kvm_tables.cpuid(params.cpuid),
        msrs=kvm_tables.MSRS,
        memslots=tuple((slot.gpa >> 12, slot.gpa + slot.size >> 12) for slot in slots),
    )
