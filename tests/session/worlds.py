"""Sample guests, in process and in little RAM, so that hashing it is quick."""

from __future__ import annotations

from tdxdbg.backends import open_backend
from tdxdbg.backends.emulated.images import GuestOptions, build
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.engine import BY_NAME
from tdxdbg.guests import find
from tdxdbg.session.run import Run
from tdxdbg.session.world import World
from tdxdbg.vmm import Board, Vmm

#: The least that every guest can do all it does in.
RAM = 12 << 20


def world(guest: str | bytes, kernel: str = "7.2", policies: tuple[str, ...] = ()) -> World:
    """A sample guest, or a flat image, at its start."""
    if isinstance(guest, bytes):
        loaded = build(guest, GuestOptions(ram_bytes=RAM))
    else:
        found = find(guest)
        loaded = build(found.image, GuestOptions(ram_bytes=RAM, vcpus=found.vcpus))
    ram = tuple((slot.gpa, slot.size) for slot in loaded.config.ram)
    vmm = Vmm(policies, Board(ram=ram))
    machine = open_backend("emulated", loaded.config)
    assert isinstance(machine, Machine)
    return World(Run(machine, vmm.td(loaded.td), BY_NAME[kernel], vmm))
