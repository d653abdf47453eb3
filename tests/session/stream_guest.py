"""Guests whose code is a random stream, and the TD and VMM around each."""

from __future__ import annotations

import random
from typing import Any, Final, NamedTuple

from tdxdbg.engine import BY_NAME
from tdxdbg.guests import find
from tdxdbg.vmm.policies import BASE, POLICIES
from tests.backends.elves import Load, elf
from tests.backends.emulated.harness import CODE, descriptors, gates, page_tables, task_state
from tests.backends.emulated.streams import handlers, stream, talk
from tests.session import enough

#: Below 2 MiB, so accepted from the start; handlers of exceptions are at CODE + 0x1000.
_HANDLERS: Final = CODE + 0x1000
_VECTORS: Final = 128
_GDT: Final = CODE + 0x4000
_TSS: Final = CODE + 0x4800
_IDT: Final = CODE + 0x5000
TABLES: Final = CODE + 0x10000
TABLES_SIZE: Final = 0x5000
_END: Final = TABLES + TABLES_SIZE
#: The tables that the loader makes, for a guest that keeps them.
LOADERS_TABLES: Final = 0x10000
LOADERS_TABLES_SIZE: Final = 0xB000

#: lgdt, lidt; SS, DS, ES = 0x18; CS = 0x10 by a far return; the TSS made available, as
#: another vCPU may have loaded it; ltr 0x38; CR3; jmp to 0x80. Behind it the operands of
#: lgdt and lidt.
_PROLOGUE: Final = bytes.fromhex(
    "0f011538000000 0f011d3b000000 b818000000 8ed0 8ed8 8ec0 6a10 488d0503000000 50 48cb"
    "8024253d401000fd b838000000 0f00d8 b800001100 0f22d8 eb41"
    "6700 0040100000000000 ff0f 0050100000000000"
).ljust(0x80, b"\x90")


class StreamGuest(NamedTuple):
    """`image`: an ELF or a flat file. `options` are those of `Session.open`.

    `tables`: GPA and bytes of the page tables that it starts with.
    """

    image: bytes
    options: dict[str, Any]
    tables: tuple[int, int]


def stream_guest(seed: int) -> StreamGuest:
    """A stream that starts as the loader has it, or with an IDT and page tables of its own."""
    chance = random.Random(seed)
    options = _options(chance)
    code = chance.choice((stream, talk, talk, talk))(chance)
    if chance.random() < 0.2:
        image, tables = code, (LOADERS_TABLES, LOADERS_TABLES_SIZE)
    else:
        image = _furnished(code, chance, 1 << (options["gpaw"] - 1))
        tables = TABLES, TABLES_SIZE
    if chance.random() < 0.3:
        image = elf(Load(CODE, image, size=0x200000))
    return StreamGuest(image, options, tables)


def bad_citizen(seed: int) -> StreamGuest:
    """The sample guest that tries everything, in a TD of chance, to its end."""
    chance = random.Random(seed)
    bounds = {"memory": 64, "vcpus": 1, "exits": 5000, "instructions": 5_000_000}
    image = find("bad_citizen").image.read_bytes()
    tables = LOADERS_TABLES, LOADERS_TABLES_SIZE
    return StreamGuest(image, _options(chance, "Plenty") | bounds, tables)


def _furnished(code: bytes, chance: random.Random, shared_mask: int) -> bytes:
    image = bytearray(_END - CODE)
    for address, data in (
        (CODE, _PROLOGUE + code),
        (_HANDLERS, handlers(chance) if chance.random() < 0.8 else chance.randbytes(0x1000)),
        (_GDT, descriptors(_TSS)),
        (_TSS, task_state(0x40000, 0x48000)),
        (_IDT, gates(range(_VECTORS))),
        (TABLES, page_tables(shared_mask, TABLES)),
    ):
        image[address - CODE : address - CODE + len(data)] = data
    return bytes(image)


def _options(chance: random.Random, last: str = "Enough") -> dict[str, Any]:
    return {
        "kernel": chance.choice(list(BY_NAME)),
        "gpaw": chance.choice((48, 52)),
        "vcpus": chance.choice((1, 1, 1, 2)),
        "memory": chance.choice((4, 4, 8)),
        "policies": _policies(chance, last),
        "seed": chance.getrandbits(64),
        "exits": chance.choice((20, 50, 100, 200)),
        "instructions": chance.choice((500, 2000, 10000)),
    }


def _policies(chance: random.Random, last: str) -> list[str]:
    names = chance.sample([name for name in POLICIES if name != BASE], chance.choice((0, 1, 1, 2)))
    # Last: no other one comes before it.
    return [*(_with_parameters(name, chance) for name in names), f"{enough.__file__}:{last}"]


def _with_parameters(name: str, chance: random.Random) -> str:
    values = [
        str(chance.randint(each.low, min(each.low + 3, each.high)))
        for each in POLICIES[name].parameters
    ]
    return ":".join((name, *values))
