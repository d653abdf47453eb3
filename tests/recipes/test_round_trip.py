"""What a recipe records is what the importer reads: its own format, filled in as the tool would."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdxdbg.abi.regs import KNOWN_ALL, Regs
from tdxdbg.engine.state import Step, TdExit
from tdxdbg.recipes import RECIPES
from tdxdbg.recipes.bpftrace import UNION_WORDS
from tdxdbg.recipes.host import REGISTERS, Offsets
from tdxdbg.traces import Kind, Trace, open_trace

OFFSETS = Offsets(36, 9000, tuple(range(8800, 8904, 8)), "a test")
TDCALL = 77
SEEN = sum(1 << Regs._fields.index(name) for name in REGISTERS)


class Exit:
    """One exit and its reply, with registers at random."""

    def __init__(self, chance: random.Random, vcpu: int) -> None:
        def registers() -> dict[str, int]:
            return {name: chance.choice((0, 1, chance.getrandbits(64))) for name in REGISTERS}

        self.vcpu = vcpu
        self.gave, self.got = registers(), registers()
        # An Instruction.IO of any of the registers that KVM lets pass.
        self.gave |= {"rcx": 0xFC00, "r10": 0, "r11": 30, "r12": 1, "r13": 1, "r14": 0x3F8}
        self.union = [chance.getrandbits(64) for _ in range(UNION_WORDS)]


def exits(count: int = 40) -> list[Exit]:
    chance = random.Random(11)
    return [Exit(chance, chance.randrange(2)) for _ in range(count)]


def regs(values: dict[str, int]) -> Regs:
    return Regs(**values)


def check(trace: Trace, made: list[Exit]) -> None:
    assert trace.problems == []
    assert trace.unread == []
    assert len(trace) == len(made)
    for row, exit_ in enumerate(made):
        records = {record.kind: record for _, record in trace.row_records(row)}
        given, entered = records[Kind.TD_EXIT], records[Kind.TD_ENTRY]
        assert isinstance(given.body, TdExit)
        assert given.body.vp_enter_ret == TDCALL
        assert given.body.regs == regs(exit_.gave)
        assert given.known & KNOWN_ALL == SEEN
        assert isinstance(entered.body, Step)
        assert entered.body.regs == regs(exit_.got)
        assert entered.known & KNOWN_ALL == SEEN


# --- kprobe -----------------------------------------------------------------------------


def fetched(script: str, event: str) -> list[tuple[str, str]]:
    """The fields of a probe with their types."""
    line = next(line for line in script.splitlines() if f"p:tdx/{event} " in line)
    return re.findall(r"(\w+)=\+\d+\(%di\):(\w+)", line)


def printed(value: int, form: str) -> str:
    """A field as the kernel prints it."""
    return str(value) if form == "s32" else f"0x{value:x}"


def kprobe_lines(made: list[Exit]) -> Iterator[str]:
    script = RECIPES["kprobe"](OFFSETS)
    time = 100.0
    for exit_ in made:
        thread = f"   CPU {exit_.vcpu}/KVM-{4100 + exit_.vcpu}    [00{exit_.vcpu}] d..1. "
        for event, values, function in (
            ("exit", exit_.gave, "tdx_handle_exit+0x0/0x5b0 [kvm_intel]"),
            ("reply", exit_.got, "tdx_vcpu_run+0x0/0x3c0 [kvm_intel]"),
        ):
            known = values | {"vcpu": exit_.vcpu, "ret": TDCALL}
            fields = fetched(script, event)
            assert {name for name, _ in fields} == set(known)
            text = " ".join(f"{name}={printed(known[name], form)}" for name, form in fields)
            time += 0.000010
            yield f"{thread} {time:.6f}: {event}: ({function}) {text}"
            if event == "exit":
                # KVM's own events, which the script switches on too.
                for more in (
                    "kvm_pio: pio_write at 0x3f8 size 1 count 1 val 0x41 ",
                    "kvm_userspace_exit: reason KVM_EXIT_IO (2)",
                ):
                    time += 0.000001
                    yield f"{thread} {time:.6f}: {more}"
        time += 0.000001
        yield f"{thread} {time:.6f}: kvm_entry: vcpu {exit_.vcpu}, rip 0x0"


def test_kprobe(tmp_path: Path) -> None:
    made = exits()
    path = tmp_path / "td.txt"
    path.write_text("\n".join(kprobe_lines(made)) + "\n")
    with open_trace(path) as trace:
        check(trace, made)
        for row in range(len(trace)):
            kinds = [record.kind for _, record in trace.row_records(row)]
            assert Kind.USERSPACE_EXIT in kinds, "what userspace got belongs to the same exit"


# --- bpftrace ---------------------------------------------------------------------------

_PRINTF = re.compile(r'printf\("(\w)([^"]*)\\n",\s*(.*?)\);', re.DOTALL)


def printf(form: str, values: list[int]) -> str:
    """C's, of what the program uses."""
    left = iter(values)

    def one(found: re.Match[str]) -> str:
        value = next(left)
        return f"{value:x}" if found[0] == "%llx" else str(value)

    text = re.sub(r"%ll[ux]|%[du]", one, form)
    assert next(left, None) is None
    return text


def bpftrace_lines(made: list[Exit]) -> Iterator[str]:
    forms = {
        letter: (form, [item.strip() for item in arguments.split(",")])
        for letter, form, arguments in _PRINTF.findall(RECIPES["bpftrace"](None))
    }
    time = 5_000_000
    for exit_ in made:
        for letter, values in (("X", exit_.gave), ("U", {}), ("R", exit_.got)):
            time += 1000
            form, arguments = forms[letter]
            known = {f"$a.{name}": value for name, value in values.items()} | {
                "nsecs": time, "cpu": 1, "tid": 4100 + exit_.vcpu,
                "$t->vcpu.vcpu_id": exit_.vcpu, "args.vcpu->vcpu_id": exit_.vcpu,
                "$t->vp_enter_ret": TDCALL, "$run->exit_reason": 2, "retval": 0,
                **{f"$u[{at}]": word for at, word in enumerate(exit_.union)},
            }  # fmt: skip
            yield letter + printf(form, [known[item] for item in arguments])


@pytest.mark.parametrize("form", ["text", "json"])
def test_bpftrace(form: str, tmp_path: Path) -> None:
    made = exits()
    lines = list(bpftrace_lines(made))
    if form == "json":
        lines = [json.dumps({"type": "printf", "data": f"{line}\n"}) for line in lines]
    path = tmp_path / "td.txt"
    path.write_text("\n".join(lines) + "\n")
    with open_trace(path) as trace:
        check(trace, made)
        for row, exit_ in enumerate(made):
            step = next(
                record.body
                for _, record in trace.row_records(row)
                if record.kind is Kind.USERSPACE_EXIT
            )
            assert isinstance(step, Step)
            assert step.run is not None
            assert step.run.exit_reason == 2
            words = b"".join(word.to_bytes(8, "little") for word in exit_.union)
            assert step.run.union[: len(words)] == words


# --- QEMU -------------------------------------------------------------------------------


def test_qemu(tmp_path: Path) -> None:
    """Its events, as QEMU 10 prints them with -msg timestamp=on."""
    text = RECIPES["qemu"](None)
    events = re.findall(r"-trace (\w+)", text)
    lines = {
        "kvm_run_exit": "cpu_index 0, reason 3",
        "kvm_hc_map_gpa_range": "gpa 0x2000000 size 0x200000 attributes 0x0 flags 0x0",
        "kvm_convert_memory": "start 0x2000000 size 0x200000 private_to_shared",
    }
    assert set(lines) <= set(events)
    path = tmp_path / "td.qemu.log"
    path.write_text(
        "".join(
            f"18569@1795422983.42383{at}:{name} {line}\n"
            for at, (name, line) in enumerate(lines.items())
        )
    )
    with open_trace(path) as trace:
        assert len(trace) == 1
        assert trace.problems == []
