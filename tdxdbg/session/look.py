"""What a worker can be asked about its world, and told, without letting it run.

Each function takes the world and the arguments of a request, and gives what
goes over the channel. All of them raise SessionError or FilterError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from tdxdbg.backends import kaslr
from tdxdbg.backends.emulated.vcpu import Where
from tdxdbg.breakpoints import Breakpoint, Breakpoints, Kind
from tdxdbg.errors import SessionError
from tdxdbg.session.world import World

#: Bytes of memory, and of the console, that one answer has at most.
MOST_MEMORY: Final = 1 << 20
MOST_CONSOLE: Final = 1 << 18
#: Bytes that a watchpoint can cover.
_WATCHED: Final = 1 << 20
_PAGE: Final = 4096

_KINDS: Final = {
    Kind.EXIT: "condition",
    Kind.CODE: "address",
    Kind.WRITE: "watch",
    Kind.MAPPING: "mapping",
}

Ask = Callable[..., Any]
Changed = TypeVar("Changed")


# --- looking --------------------------------------------------------------------------


def registers(world: World, vcpu: int | None = None) -> dict[str, int]:
    """Registers by name; `is_64bit` is 0 or 1.

    `page_fault` is the address in the IDT's gate 14, 0 where that cannot be read.
    """
    index = _vcpu(world, vcpu)
    machine = world.run.machine
    found = machine.registers(index)
    rest = {name: int(value) for name, value in found._asdict().items() if name != "regs"}
    gate = machine.read_linear(index, found.idt_base + kaslr.PAGE_FAULT_GATE, kaslr.GATE)
    page_fault = kaslr.handler_of(gate) if gate is not None else 0
    return {**found.regs._asdict(), **rest, "page_fault": page_fault}


def read_memory(world: World, address: int, size: int, vcpu: int | None = None) -> bytes | None:
    """Bytes at a GPA, or with `vcpu` at a linear address, up to where there is nothing more."""
    if not 0 <= size <= MOST_MEMORY or address < 0:
        raise SessionError(f"{size} bytes at {address:#x}: ask for at most {MOST_MEMORY}")
    machine = world.run.machine
    index = None if vcpu is None else _vcpu(world, vcpu)
    pieces = []
    while size > 0:
        step = min(size, _PAGE - address % _PAGE)
        if index is None:
            piece = machine.read_gpa(address, step)
        else:
            piece = machine.read_linear(index, address, step)
        if piece is None:
            break
        pieces.append(piece)
        address += step
        size -= step
    return b"".join(pieces) if pieces or not size else None


def console(world: World, since: int = 0) -> list[Any]:
    """Bytes of serial output in all, and those from `since` on."""
    output = world.run.vmm.console
    # What is no longer kept is passed over; the oldest of the rest comes first.
    since = max(since, output.dropped)
    return [output.total, output.since(since)[:MOST_CONSOLE], since]


def gpa_map(world: World) -> list[int]:
    """The edges of the engine's GPA map."""
    return list(world.run.engine.checkpoint().gpa_map.edges)


def breakpoints(world: World) -> list[dict[str, Any]]:
    """All of them."""
    return [_described(item) for item in world.breakpoints]


def _described(item: Breakpoint) -> dict[str, Any]:
    return {
        "id": item.number,
        "kind": _KINDS[item.kind],
        "text": item.text,
        "enabled": item.enabled,
        "hits": item.hits,
        "address": item.address,
        "size": item.size,
    }


LOOKS: Final[dict[str, Ask]] = {
    "registers": registers,
    "read_memory": read_memory,
    "console": console,
    "gpa_map": gpa_map,
    "breakpoints": breakpoints,
}


# --- breakpoints ----------------------------------------------------------------------


def add_breakpoint(
    world: World, condition: str | None = None, address: int | None = None, text: str = ""
) -> dict[str, Any]:
    """One on a condition (a display filter), or on the instruction at a linear address."""
    wanted = world.breakpoints
    if condition is not None:
        return _described(_add(lambda: wanted.add_exit(condition)))
    if address is None:
        raise SessionError("a breakpoint needs a condition or an address")
    at = _address(address)
    return _described(_add(lambda: wanted.add_code(at, text)))


def add_watchpoint(
    world: World, address: int, size: int = 8, vcpu: int | None = None, text: str = ""
) -> dict[str, Any]:
    """Stop before writes to bytes at a GPA, or with `vcpu` at a linear address."""
    gpa = watched(world, address, size, vcpu)
    return _described(_add(lambda: world.breakpoints.add_write(gpa, size, text)))


def watch_conversions(world: World, gpa: int, size: int, text: str = "") -> dict[str, Any]:
    """Stop after pages of a GPA range (bytes) were converted."""
    return _described(_add(lambda: world.breakpoints.add_mapping(gpa, size, text)))


def change_breakpoint(world: World, id: int, enabled: bool) -> dict[str, Any]:
    """Switch one on or off."""
    found = _existing(world.breakpoints, id)
    world.breakpoints.enable(found.number, enabled=enabled)
    return _described(_existing(world.breakpoints, id))


def remove_breakpoint(world: World, id: int) -> None:
    """Forget one."""
    world.breakpoints.remove(_existing(world.breakpoints, id).number)


def _existing(wanted: Breakpoints, number: int) -> Breakpoint:
    found = wanted.get(number)
    if found is None:
        known = ", ".join(str(item.number) for item in wanted) or "none"
        raise SessionError(f"no breakpoint {number}: there are {known}")
    return found


def _add(change: Callable[[], Changed]) -> Changed:
    try:
        return change()
    except ValueError as problem:
        raise SessionError(str(problem)) from None


CHANGES: Final[dict[str, Ask]] = {
    "add_breakpoint": add_breakpoint,
    "add_watchpoint": add_watchpoint,
    "watch_conversions": watch_conversions,
    "change_breakpoint": change_breakpoint,
    "remove_breakpoint": remove_breakpoint,
}


# --- interventions --------------------------------------------------------------------


def edit(world: World, fields: dict[str, Any] | None = None) -> None:
    """Change fields of the held exit's answer; none: what the VMM proposed."""
    world.run.intervene("edit", fields or {})


def inject(world: World, vector: int, vcpu: int = 0) -> None:
    """Raise an interrupt in a vCPU's APIC."""
    world.run.intervene("inject", vcpu, vector)


def set_registers(
    world: World, vcpu: int | None = None, registers: dict[str, int] | None = None
) -> None:
    """Change general registers and rip."""
    world.run.intervene("registers", _vcpu(world, vcpu), registers or {})


def write_memory(world: World, address: int, data: bytes, vcpu: int | None = None) -> None:
    """Change bytes at a GPA, or with `vcpu` at a linear address: all of them or none."""
    if vcpu is None:
        world.run.intervene("write", address, data)
        return
    machine = world.run.machine
    pieces = _pieces(world, vcpu, _address(address), len(data))
    for gpa, size in pieces:
        if machine.read_gpa(gpa, size) is None:
            raise SessionError(f"no RAM at GPA {gpa:#x}, {size} bytes; nothing was written")
    at = 0
    for gpa, size in pieces:
        world.run.intervene("write", gpa, data[at : at + size])
        at += size


def serial(world: World, data: bytes) -> None:
    """Bytes for the guest's serial port."""
    world.run.intervene("serial", data)


INTERVENTIONS: Final[dict[str, Ask]] = {
    "edit": edit,
    "inject": inject,
    "set_registers": set_registers,
    "write_memory": write_memory,
    "serial": serial,
}

#: Those that do not wait for a guest that runs to stop: they come to it from outside.
MEANWHILE: Final = frozenset({"inject", "serial"})


# --- addresses ------------------------------------------------------------------------


def watched(world: World, address: int, size: int, vcpu: int | None) -> int:
    """The GPA of bytes to watch, without the shared bit."""
    if not 1 <= size <= _WATCHED:
        raise SessionError(f"{size} bytes: watch 1 to {_WATCHED}")
    if vcpu is None:
        return _address(address) & ~world.run.engine.td.shared_mask
    pieces = _pieces(world, vcpu, _address(address), size)
    first, end = pieces[0][0], pieces[0][0]
    for gpa, length in pieces:
        if gpa != end:
            raise SessionError(
                f"the {size} bytes at linear address {address:#x} are not together in guest "
                "memory: watch each page of them"
            )
        end += length
    return first


def _pieces(world: World, vcpu: int, address: int, size: int) -> list[tuple[int, int]]:
    """(GPA, bytes) of linear memory."""
    pieces = world.run.machine.translate(_vcpu(world, vcpu), address, size)
    if not pieces:
        raise SessionError(f"the {size} bytes at linear address {address:#x} are not all mapped")
    return pieces


def _address(address: int) -> int:
    if not 0 <= address < 1 << 64:
        raise SessionError(f"{address:#x} is no address of 64 bits")
    return address


def _vcpu(world: World, vcpu: int | None) -> int:
    count = len(world.run.machine.vcpus)
    if vcpu is None:
        return current_vcpu(world)
    if not 0 <= vcpu < count:
        raise SessionError(f"no vCPU {vcpu}: there are {count}")
    return vcpu


def current_vcpu(world: World) -> int:
    """The vCPU that matters here: of the held exit, or the one that runs next."""
    run = world.run
    if run.held is not None:
        return run.held.vcpu
    machine = run.machine
    count = len(machine.vcpus)
    turns = [(machine.current + distance) % count for distance in range(count)]
    return next((each for each in turns if machine.where(each) is Where.TD), turns[0])
