"""From a configuration to a world that stands at its start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tdxdbg import __version__
from tdxdbg.backends.emulated import linux, tdvf
from tdxdbg.backends.emulated.images import GuestOptions, LoadedGuest, build
from tdxdbg.backends.emulated.td import open_machine
from tdxdbg.backends.tdvf import read_tdvf, without_variables
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

_Loaded = LoadedGuest | linux.LoadedLinux | tdvf.LoadedFirmware


def open_world(
    config: LiveConfig, poll: Callable[[], bool], wait: Callable[[float], object] | None = None
) -> tuple[World, Recorder]:
    """The world of a configuration, and its recording.

    Raises BackendError, SessionError and TraceError, each one line.
    """
    loaded = _linux(config) if config.linux else _guest(config)
    vmm = Vmm(load_policies(config.policies), _board(loaded))
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


def _board(loaded: _Loaded) -> Board:
    board = Board(
        ram=tuple((slot.gpa, slot.size) for slot in loaded.config.ram),
        gpaw=loaded.td.gpaw,
        maxphyaddr=loaded.td.maxphyaddr,
        vcpus=loaded.config.params.num_vcpus,
    )
    if isinstance(loaded, LoadedGuest):
        return board._replace(serial_vector=SERIAL_VECTOR)
    if isinstance(loaded, linux.LoadedLinux):
        return board._replace(chipset=Chipset.PC)
    return board._replace(
        chipset=Chipset.Q35, ram=(loaded.ram,), rom=(loaded.rom,), fw_cfg=loaded.content
    )


def _guest(config: LiveConfig) -> LoadedGuest:
    path, vcpus = locate(config.guest)
    options = GuestOptions(
        ram_bytes=config.memory * _MIB,
        gpaw=config.gpaw,
        vcpus=config.vcpus or vcpus,
        seed=config.seed,
    )
    return build(path, options)


def _linux(config: LiveConfig) -> linux.LoadedLinux | tdvf.LoadedFirmware:
    """The kernel, or the firmware that boots it."""
    options = linux.LinuxOptions(
        ram_bytes=config.memory * _MIB,
        gpaw=config.gpaw,
        vcpus=config.vcpus or 1,
        initrd=Path(config.initrd) if config.initrd else None,
        append=config.append,
        seed=config.seed,
    )
    kernel = Path(config.guest)
    if not config.firmware:
        return linux.build(kernel, options)
    image = read_tdvf(Path(config.firmware))
    return tdvf.build(image if config.keep_variables else without_variables(image), kernel, options)


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
            **({"firmware": config.firmware} if config.firmware else {}),
        },
    )
