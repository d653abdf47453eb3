"""From a configuration to a world that stands at its start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tdxdbg import __version__
from tdxdbg.backends.emulated import linux
from tdxdbg.backends.emulated.images import GuestOptions, LoadedGuest, build
from tdxdbg.backends.emulated.td import open_machine
from tdxdbg.engine import BY_NAME, Td
from tdxdbg.session.config import STEPS_OF_EXIT, LiveConfig, locate
from tdxdbg.session.policies import load_policies
from tdxdbg.session.recorder import Recorder
from tdxdbg.session.run import Run
from tdxdbg.session.world import World
from tdxdbg.traces import TraceMeta
from tdxdbg.vmm import Board, Chipset, Vmm

_MIB: Final = 1 << 20
#: The interrupt of a sample guest's serial port, to vCPU 0 (guests/README.md).
SERIAL_VECTOR: Final = 0x24


def open_world(
    config: LiveConfig, poll: Callable[[], bool], wait: Callable[[float], object] | None = None
) -> tuple[World, Recorder]:
    """The world of a configuration, and its recording.

    Raises BackendError, SessionError and TraceError, each one line.
    """
    loaded = _linux(config) if config.linux else _guest(config)
    ram = tuple((slot.gpa, slot.size) for slot in loaded.config.ram)
    board = Board(
        ram=ram,
        gpaw=loaded.td.gpaw,
        maxphyaddr=loaded.td.maxphyaddr,
        serial_vector=0 if config.linux else SERIAL_VECTOR,
        chipset=Chipset.PC if config.linux else Chipset.NONE,
        vcpus=loaded.config.params.num_vcpus,
    )
    vmm = Vmm(load_policies(config.policies), board)
    td = vmm.td(loaded.td)
    machine = open_machine(loaded.config)
    run = Run(machine, td, BY_NAME[config.generation], vmm)
    recorder = Recorder(config.record, metadata(config, td), run.engine)
    world = World(run, recorder, poll, wait)
    if config.exits:
        machine.exit_budget = config.exits
        world.step_budget = config.exits * STEPS_OF_EXIT
    if config.instructions:
        world.budget = config.instructions
    return world, recorder


def _guest(config: LiveConfig) -> LoadedGuest:
    path, vcpus = locate(config.guest)
    options = GuestOptions(
        ram_bytes=config.memory * _MIB,
        gpaw=config.gpaw,
        vcpus=config.vcpus or vcpus,
        seed=config.seed,
    )
    return build(path, options)


def _linux(config: LiveConfig) -> linux.LoadedLinux:
    options = linux.LinuxOptions(
        ram_bytes=config.memory * _MIB,
        gpaw=config.gpaw,
        vcpus=config.vcpus or 1,
        initrd=Path(config.initrd) if config.initrd else None,
        append=config.append,
        seed=config.seed,
    )
    return linux.build(Path(config.guest), options)


def metadata(config: LiveConfig, td: Td) -> TraceMeta:
    """What the recording says of itself; no time, so that equal runs make equal files."""
    return TraceMeta(
        source=f"tdxdbg {__version__}",
        generation=config.generation,
        origin="emulated",
        td=td,
        extra={
            "guest": config.guest,
            "policies": list(config.policies),
            "seed": config.seed,
            **({"append": config.append} if config.linux else {}),
        },
    )
