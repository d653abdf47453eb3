"""Text read as columns gives the same bytes, remarks and unread lines as line by line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tdxdbg.errors import TraceError
from tdxdbg.traces import (
    column_feed,
    ftrace,
    line_columns,
    lines,
    perf_script,
    reader,
    text_shapes,
    trace_cmd,
)
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tests.traces.trace_dat_files import DATA

READ = {"ftrace": ftrace.read, "tracecmd": trace_cmd.read, "perf-script": perf_script.read}
FILES = sorted(
    path.name
    for path in DATA.iterdir()
    if any(part in path.name for part in READ) and "bpf" not in path.name
)


@pytest.fixture(params=[1 << 20, 5000, 700])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files at once, and pieces that cut lines and rows anywhere."""
    monkeypatch.setattr(lines, "_CHUNK", request.param)


def seen(name: str, text: bytes, large: int, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """All that an import says; from `large` bytes on it goes over columns."""
    monkeypatch.setattr(reader, "LARGE", large)
    read = next(read for part, read in READ.items() if part in name)
    try:
        trace: Trace = read(io.BytesIO(text), name)
    except TraceError as problem:
        return (str(problem),)
    return trace.data(), trace.problems, trace.remarks, trace.unread, trace.imported


def check(name: str, text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = seen(name, text, 1 << 40, monkeypatch)
    assert seen(name, text, 0, monkeypatch) == plain


@pytest.mark.parametrize("name", FILES)
def test_every_recording(name: str, chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, (DATA / name).read_bytes(), monkeypatch)


def altered(chance: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """Lines of a recording with some doubled, moved, cut, changed or from elsewhere."""
    rows = text.split(b"\n")
    start = chance.randrange(len(rows))
    rows = rows[start : start + 300]
    for _ in range(chance.choice((1, 5, 60))):
        at = chance.randrange(len(rows))
        action = chance.randrange(6)
        if action == 0:
            rows.insert(at, chance.choice(others))
        elif action == 1:
            rows[at] = rows[at][: chance.randrange(len(rows[at]) + 1)]
        elif action == 2 and rows[at]:
            line = bytearray(rows[at])
            line[chance.randrange(len(line))] = chance.choice(b" .:[]-0159azA\t\0\xff(/")
            rows[at] = bytes(line)
        elif action == 3:
            rows.insert(at, rows[chance.randrange(len(rows))])
        elif action == 4:
            rows[at] = b" " * chance.randrange(90) + rows[at] + b"x" * chance.choice((0, 1, 500))
        else:
            rows.insert(at, b"CPU:1 [LOST 5 EVENTS]")
    return b"\n".join(rows)


@pytest.mark.parametrize("name", FILES)
def test_damaged_recordings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DATA / name).read_bytes()
    others = [line for other in FILES for line in (DATA / other).read_bytes().split(b"\n")[20:30]]
    for seed in range(12):
        chance = Random(f"{name} {seed}")
        monkeypatch.setattr(lines, "_CHUNK", chance.choice((300, 4000, 1 << 20)))
        check(name, altered(chance, text, others), monkeypatch)


def line(at: int, text: str, before: str = "a-7     [000] ..... ") -> str:
    return f"  {before} 5000.{at:06}: {text}"


@pytest.mark.parametrize(
    "row",
    [
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)"),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "a-7 [1] b-8   [000] ..... "),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "a[0]:1-7   [000] ..... "),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "a-7   [000]  "),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "a-7  (   7) [000] d..1. "),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "a-7777777777   [000] ..... "),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "a-9999999   [000] ..... "),
        "a-7   [000] ..... 5000.123456789: kvm_userspace_exit: reason KVM_EXIT_IO (2)",
        "a-7   [000] ..... 5000.12345678a: kvm_userspace_exit: reason KVM_EXIT_IO (2)",
        "a-7   [000] ..... 99999999.123456: kvm_userspace_exit: reason KVM_EXIT_IO (2)",
        "a-7   [000] ..... 9999999.123456: kvm_userspace_exit: reason KVM_EXIT_IO (2)",
        "a-7   [000] ..... 0.000000: kvm_userspace_exit: reason KVM_EXIT_IO (2)",
        "a-7   [000] ..... 5000123: kvm_userspace_exit: reason KVM_EXIT_IO (2)",
        "a-7   [000] ..... x5000.123456: kvm_userspace_exit: reason KVM_EXIT_IO (2)",
        line(1, "kvm_userspace_exit:reason KVM_EXIT_IO (2)"),
        line(1, "kvm_userspace_exit: "),
        line(1, "tdx_exit: (tdx_handle_exit+0x0/0x10 [kvm_intel]) ret=0x4d rcx=0xfc00 r10=0x0"),
        "[000] 1.000000: kvm_fpu: load",
        "]" * 90 + "[000] 1.000000: kvm_fpu: load",
        ":" * 90,
        "[",
    ],
)
def test_lines_of_all_kinds(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    around = [line(at, "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)") for at in range(9)]
    text = "\n".join([*around, row, row, *around]).encode()
    for name in ("ftrace", "tracecmd"):
        check(name, text, monkeypatch)


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_columns, "_MOST_TEXTS", 5)
    monkeypatch.setattr(text_shapes, "_MOST_SHAPES", 3)
    monkeypatch.setattr(lines, "_CHUNK", 300)
    rows = [line(at, f"kvm_userspace_exit: reason KVM_EXIT_X ({at % 23})") for at in range(400)]
    check("ftrace", "\n".join(rows).encode(), monkeypatch)


NUMBERS = """
kvm_exit: vcpu 0 reason EPT_VIOLATION rip 0x{} info1 0x{} info2 0x{} intr_info 0x{} error_code 0x0
kvm_exit: reason EPT_VIOLATION rip 0x{} info {} {}
kvm_exit: vcpu 0 reason 0x{} rip 0x0 info1 0x{} info2 0x0 intr_info 0x0 error_code 0x0
kvm_page_fault: vcpu 0 rip 0x{} address 0x{} error_code 0x{}
kvm_mmio: mmio write len 4 gpa 0x{} val 0x{}
kvm_pio: pio_write at 0x{} size 1 count 1 val 0x{}
kvm_msr: msr_read {} = 0x{}
kvm_hypercall: nr 0x{} a0 0x{} a1 0x{} a2 0x{} a3 0x{}
kvm_exit: exit_reason=0x{} guest_rip=0x{} isa=1 info1=0x{} info2=0x{} intr_info=0x{} vcpu_id=0
kvm_mmio: type=0x{} len=4 gpa=0x{} val=0x{}
kvm_userspace_exit: reason 0x{} (40)
kvm_emulate_insn: 0:{}:b0 11 (prot64)
kvm_fpu: 0x{}
kvm_cr: cr_write {} = 0x{}
tdx_exit: (0x{}) ret=0x{} rcx=0x{}
"""


@pytest.mark.parametrize("text", NUMBERS.strip().split("\n"))
def test_numbers_of_all_sizes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_CHUNK", 3000)
    chance = Random(text)
    rows = [line(0, "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)")]
    for at in range(150):
        numbers = [
            chance.choice(
                (f"{chance.getrandbits(chance.choice((3, 8, 17, 32, 64))):x}", "0", "dead")
            )
            for _ in range(text.count("{}"))
        ]
        if chance.random() < 0.1:
            numbers[0] = chance.choice(
                ("ffffffff", "0ff", "0" * 20, "", "x", "FF", "1 ", "-1", "3g")
            )
        rows.append(line(at, text.format(*numbers)))
    check("ftrace", "\n".join(rows).encode(), monkeypatch)


def test_a_line_without_an_events_name_does_not_hide_those_of_others() -> None:
    text = (DATA / "demo3.perf-script.txt").read_bytes()
    odd = b"other 99 [000]  1786.700000: vcpu 0, rip 0x0\n"
    plain, after = (perf_script.read(io.BytesIO(data), "x") for data in (text, odd + text))
    assert len(after) == len(plain) == 43


def test_an_import_that_begins_again_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may be reading the file that it goes to."""
    rows = [line(at, "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)") for at in range(300)]
    probe = "tdx_exit: (tdx_handle_exit+0x0/0x10 [kvm_intel]) ret=0x4d rcx=0xfc00 r10=0x0"
    text = "\n".join([*rows, line(400, probe), *rows[:5]]).encode()
    monkeypatch.setattr(reader, "LARGE", 1 << 40)
    plain = ftrace.read(io.BytesIO(text), "x")
    sizes: list[int] = []
    begin = Builder.__init__

    def begun(self: Builder, meta: TraceMeta, name: str = "trace") -> None:
        sizes.append((tmp_path / "into").stat().st_size)
        begin(self, meta, name)

    monkeypatch.setattr(Builder, "__init__", begun)
    monkeypatch.setattr(reader, "LARGE", 0)
    monkeypatch.setattr(lines, "_CHUNK", 2000)
    monkeypatch.setattr(column_feed, "AT_ONCE", 10)
    with open(tmp_path / "into", "w+b") as file:
        monkeypatch.setattr(Builder, "into", file.fileno())
        trace = ftrace.read(io.BytesIO(text), "x")
        assert (tmp_path / "into").read_bytes() == plain.data() == trace.data()
    first, second = sizes
    assert first == 0
    assert second > 4096
