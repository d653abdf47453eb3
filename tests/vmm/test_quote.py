"""GetQuote (facts: ghci_and_guest 2.4, kernel_exits 6)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.module import TdParams, TdxModule
from tdxdbg.module.mr_report import report
from tdxdbg.vmm import Vmm
from tdxdbg.vmm.pseudo_quote import SIGNATURE, VENDOR, quote_of
from tdxdbg.vmm.quote import HEADER
from tdxdbg.vmm.shared import write_shared
from tests.engine.support import (
    ALIGN,
    INVALID,
    PAGE,
    RETRY,
    SHARED,
    SINCE_616,
    SUCCESS,
    call,
)
from tests.vmm.support import RAM, Memory, World

BUFFER = 0x20_0000
FULL = ("v19", *SINCE_616)
ERROR = 1 << 63
IN_FLIGHT = (1 << 64) - 1
NOTIFY = 0x55


class NoMemory:
    """A TD without RAM is enough for a report."""

    def read_gpa(self, gpa: int, size: int) -> bytes:
        return bytes(size)

    def write_gpa(self, gpa: int, data: bytes) -> None:
        pass

    def zero_gpa(self, gpa: int, size: int) -> None:
        pass


def td_report() -> bytes:
    module = TdxModule(TdParams(attributes=1 << 28), NoMemory())
    module.finalize()
    return report(module, bytes(range(64)))


REPORT = td_report()


def header(version: int = 1, status: int = 0, in_len: int = 1024, out_len: int = 0) -> bytes:
    return b"".join(
        value.to_bytes(size, "little")
        for value, size in ((version, 8), (status, 8), (in_len, 4), (out_len, 4))
    )


def asking(generation: str, vmm: Vmm | None = None, data: bytes = header() + REPORT) -> World:
    world = World(generation, vmm)
    world.memory.write_gpa(BUFFER, data)
    world.memory.share(BUFFER, 4 * PAGE)
    return world


def get_quote(world: World, gpa: int = BUFFER, size: int = 2 * PAGE) -> int:
    return world.call(call(SubFunction.GET_QUOTE, gpa | SHARED, size)).regs.r10


def status_of(memory: Memory, gpa: int = BUFFER) -> tuple[int, int]:
    """The status word and out_len."""
    data = memory.read_gpa(gpa, HEADER)
    assert data is not None
    return int.from_bytes(data[8:16], "little"), int.from_bytes(data[20:24], "little")


@pytest.mark.parametrize("generation", FULL)
def test_a_quote(generation: str) -> None:
    world = asking(generation)
    assert get_quote(world) == SUCCESS
    status, length = status_of(world.memory)
    assert status == 0
    quote = world.memory.read_gpa(BUFFER + HEADER, length)
    assert quote == quote_of(REPORT)
    assert world.interrupts.raised == []
    kept = world.memory.read_gpa(BUFFER, HEADER)
    assert kept == header(out_len=length)


def test_the_layout_of_a_quote() -> None:
    quote = quote_of(REPORT)
    assert quote is not None
    assert int.from_bytes(quote[:2], "little") == 4
    assert int.from_bytes(quote[4:8], "little") == 0x81
    assert quote[12:28] == VENDOR == b"tdxdbg: EMULATED"
    body = quote[48 : 48 + 584]
    assert body[:16] == bytes(16)
    assert int.from_bytes(body[120:128], "little") == 1 << 28  # TD attributes
    assert body[136:184] == REPORT[528:576]  # MRTD
    assert body[472:520] == REPORT[864:912]  # RTMR3
    assert body[520:584] == bytes(range(64))  # REPORTDATA
    assert int.from_bytes(quote[632:636], "little") == len(SIGNATURE) == 64
    assert quote[636:] == SIGNATURE
    assert b"emulator" in SIGNATURE


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(1024), id="zeroes"),
        pytest.param(REPORT[:1023], id="too short"),
        pytest.param(REPORT + b"\0", id="too long"),
        pytest.param(REPORT[:224] + bytes(32) + REPORT[256:], id="another MAC"),
        pytest.param(REPORT[:600] + b"\1" + REPORT[601:], id="another TDINFO"),
    ],
)
def test_no_quote_over_what_is_no_report_of_this_td(message: bytes) -> None:
    assert quote_of(message) is None
    world = asking("7.3", data=header(in_len=len(message), out_len=7) + message)
    assert get_quote(world) == SUCCESS
    assert status_of(world.memory) == (ERROR, 7)


@pytest.mark.parametrize("generation", FULL)
@pytest.mark.parametrize(
    ("data", "gpa", "size", "r10"),
    [
        pytest.param(header(), BUFFER, 0, INVALID, id="size 0"),
        pytest.param(header(), BUFFER, PAGE + 1, ALIGN, id="size"),
        pytest.param(header(), BUFFER + 8, PAGE, ALIGN, id="GPA"),
        pytest.param(header(version=2), BUFFER, PAGE, INVALID, id="version"),
        pytest.param(header(version=0), BUFFER, PAGE, INVALID, id="no version"),
        pytest.param(header(in_len=PAGE - 23), BUFFER, PAGE, INVALID, id="in_len"),
        pytest.param(header(in_len=0xFFFF_FFFF), BUFFER, PAGE, INVALID, id="any in_len"),
        pytest.param(header(), BUFFER, 132 << 10, INVALID, id="132 KiB"),
        pytest.param(header(), RAM, PAGE, INVALID, id="no RAM"),
        pytest.param(header(), BUFFER + 4 * PAGE, PAGE, INVALID, id="a private page"),
    ],
)
def test_refused(generation: str, data: bytes, gpa: int, size: int, r10: int) -> None:
    world = asking(generation, data=data)
    before = world.memory.read_gpa(BUFFER, HEADER)
    assert get_quote(world, gpa, size) == r10
    assert world.memory.read_gpa(BUFFER, HEADER) == before


def test_a_private_buffer_reads_as_zeroes_to_the_host() -> None:
    world = World("7.3")
    world.memory.write_gpa(BUFFER, header() + REPORT)
    assert get_quote(world) == INVALID


def test_a_message_that_leads_out_of_ram() -> None:
    world = World("7.3")
    world.memory.share(RAM - PAGE, PAGE)
    world.memory.write_gpa(RAM - PAGE, header(in_len=2 * PAGE - HEADER))
    assert get_quote(world, RAM - PAGE, 2 * PAGE) == INVALID


def test_v19_checks_the_shared_bit_itself() -> None:
    world = asking("v19")
    step = world.call(call(SubFunction.GET_QUOTE, BUFFER, PAGE))
    assert step.regs.r10 == INVALID


@pytest.mark.parametrize("generation", FULL)
def test_the_interrupt_after_it(generation: str) -> None:
    world = asking(generation)
    step = world.call(call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, NOTIFY))
    assert step.regs.r10 == SUCCESS
    get_quote(world)
    assert world.interrupts.raised == [(0, NOTIFY)]


@pytest.mark.parametrize("vector", [0, 31, 256, 1 << 32 | 40])
@pytest.mark.parametrize("generation", FULL)
def test_vectors_that_are_none(generation: str, vector: int) -> None:
    world = asking(generation)
    step = world.call(call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, vector))
    assert step.regs.r10 == INVALID
    get_quote(world)
    assert world.interrupts.raised == []


def test_in_flight_for_so_many_exits() -> None:
    world = asking("7.3", Vmm(["quote-after:3"]))
    world.call(call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, NOTIFY))
    assert get_quote(world) == SUCCESS
    for _ in range(2):
        world.call(call(30, 1, 1, 0x3F8, 65))
        assert status_of(world.memory)[0] == IN_FLIGHT
        assert world.interrupts.raised == []
    world.call(call(30, 1, 1, 0x3F8, 65))
    assert status_of(world.memory)[0] == 0
    assert world.interrupts.raised == [(0, NOTIFY)]


def test_sixteen_in_flight_are_enough() -> None:
    world = World("7.3", Vmm(["quote-after:1000"]))
    for index in range(17):
        gpa = BUFFER + index * PAGE
        world.memory.write_gpa(gpa, header() + REPORT)
        world.memory.share(gpa, PAGE)
        assert get_quote(world, gpa, PAGE) == (SUCCESS if index < 16 else RETRY)
    assert status_of(world.memory, BUFFER + 16 * PAGE)[0] == 0


def test_a_buffer_that_is_taken_back_in_flight() -> None:
    world = asking("7.3", Vmm(["quote-after:1"]))
    get_quote(world)
    world.memory.gpa_map = world.memory.gpa_map.convert(BUFFER, PAGE, private=True)
    world.call(call(30, 1, 1, 0x3F8, 65))
    assert status_of(world.memory)[0] == IN_FLIGHT


class Shrinking(Memory):
    """RAM that goes away after some writes."""

    writes = 0

    def write_gpa(self, gpa: int, data: bytes) -> bool:
        self.writes -= 1
        return self.writes >= 0 and super().write_gpa(gpa, data)


@pytest.mark.parametrize(
    ("policy", "writes", "r10", "status"),
    [
        ("quote-after:9", 0, INVALID, 0),
        ("no-quoting-service", 0, INVALID, 0),
        ("qemu", 1, SUCCESS, IN_FLIGHT),
        ("qemu", 2, SUCCESS, IN_FLIGHT),
        ("qemu", 3, SUCCESS, 0),
    ],
)
def test_a_buffer_that_cannot_be_written(policy: str, writes: int, r10: int, status: int) -> None:
    world = World("7.3", Vmm([policy]))
    world.memory = memory = Shrinking()
    memory.writes = 1
    memory.write_gpa(BUFFER, header() + REPORT)
    memory.share(BUFFER, PAGE)
    memory.writes = writes
    assert get_quote(world, BUFFER, PAGE) == r10
    assert status_of(memory)[0] == status


def test_what_is_written_to_a_page_without_ram_is_lost() -> None:
    memory = Memory(PAGE)
    assert not write_shared(memory, 0, bytes(2 * PAGE))
    assert write_shared(memory, 0, b"private")
    assert memory.read_gpa(0, 7) == bytes(7)


def test_nobody_makes_quotes() -> None:
    world = asking("7.3", Vmm(["no-quoting-service"]))
    world.call(call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, NOTIFY))
    assert get_quote(world) == SUCCESS
    assert status_of(world.memory) == (1 << 63 | 1, 0)
    assert world.interrupts.raised == []
