import pytest

from tdxdbg.abi.regs import KNOWN_ALL, Regs
from tdxdbg.decode.tree import Node, call_of, decode_step
from tdxdbg.engine import (
    BY_NAME,
    Answer,
    Engine,
    HypercallAnswer,
    InKernel,
    Input,
    IoAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
    TdxAnswer,
)
from tdxdbg.engine.recorded import KNOWN_EFFECTS
from tdxdbg.filters import compile_filter
from tests.decode.trees import MIB, SHARED48, call, find, rows, walk

OK = HypercallAnswer(0)


def steps(*inputs: Input, generation: str = "7.2", td: Td | None = None) -> list[Step]:
    engine = Engine(td or Td(), BY_NAME[generation])
    engine.force_into_td(0)
    return [engine.feed(event) for event in inputs]


def last(*inputs: Input, generation: str = "7.2", td: Td | None = None) -> Node:
    """The decode of the last step, under the first input's call."""
    first = inputs[0]
    td_exit = first if isinstance(first, TdExit) else None
    step = steps(*inputs, generation=generation, td=td)[-1]
    before = td_exit.regs if td_exit else None
    return decode_step(step, call_of(td_exit), before=before)


def answered(answer: Answer | None, *, has_events: bool = False) -> Reentry:
    return Reentry(0, answer, has_events)


MAP = call(0x10001, r12=SHARED48 | 0x40000000, r13=8 * MIB)


@pytest.mark.parametrize(
    ("inputs", "generation", "raw", "expected"),
    [
        (
            (MAP, answered(OK, has_events=True)),
            "7.2",
            "RETRY",
            {
                "R10": ("0x1", "RETRY"),
                "R11": (
                    "0x800040200000",
                    "resume here: GPA 0x40200000, 2 MiB of 8 MiB done",
                ),
            },
        ),
        (
            (MAP, answered(HypercallAnswer(11))),
            "7.2",
            "RETRY",
            {
                "R11": (
                    "0x800040000000",
                    "resume here: GPA 0x40000000, 0 bytes of 8 MiB done",
                )
            },
        ),
        (
            (MAP, answered(OK), answered(HypercallAnswer(22))),
            "7.2",
            "INVALID_OPERAND",
            {
                "R11": (
                    "0x800040200000",
                    "stopped here: GPA 0x40200000, 2 MiB of 8 MiB done",
                )
            },
        ),
        (
            (call(0x10001, r12=SHARED48, r13=4096), answered(OK)),
            "7.2",
            "SUCCESS",
            {"R10": ("0x0", "SUCCESS"), "R11": ("0x10001", "unchanged: MapGPA")},
        ),
        (
            (call(0x10001, r12=SHARED48 | 1, r13=4096),),
            "7.2",
            "ALIGN_ERROR",
            {
                "R11": (
                    "0x800000000001",
                    "stopped here: GPA 0x1, 0 bytes of 4 KiB done",
                )
            },
        ),
        (
            (call(30, r12=1, r13=0, r14=0x3FD), answered(IoAnswer(b"\x60"))),
            "7.2",
            "SUCCESS",
            {"R11": ("0x60", "value read")},
        ),
        (
            (call(30, r12=1, r13=1, r14=0x3F8), answered(None)),
            "7.2",
            "SUCCESS",
            {"R11": ("0x1e", "unchanged: Instruction.IO")},
        ),
        (
            (call(0x99),),
            "7.2",
            "SUBFUNC_UNSUPPORTED",
            {"R10": ("0x8000000000000003", "SUBFUNC_UNSUPPORTED")},
        ),
        (
            (call(0x99),),
            "exits-v1",
            "INVALID_OPERAND",
            {"R10": ("0x8000000000000000", "INVALID_OPERAND")},
        ),
        (
            (call(7, r10=99),),
            "7.2",
            "result -KVM_ENOSYS",
            {"R10": ("0xfffffffffffffc18", "result -KVM_ENOSYS"), "R11": ("0x7", "")},
        ),
        (
            (call(0x10000, r12=1), answered(TdxAnswer(0, r11=2))),
            "7.2",
            "SUCCESS",
            {"R11": ("0x2", "optional calls"), "R12": ("0x0", "optional instruction calls")},
        ),
    ],
)
def test_what_the_guest_gets(
    inputs: tuple[Input, ...], generation: str, raw: str, expected: dict[str, tuple[str, str]]
) -> None:
    tree = last(*inputs, generation=generation)
    found = rows(tree)
    assert (tree.name, tree.raw) == ("TD entry", raw)
    assert {name: found[name] for name in expected} == expected


def test_cpuid_results_are_named() -> None:
    td = Td(cpuid={(0x40000000, 0): (1, 2, 3, 4)})
    found = rows(last(call(10, r12=0x40000000), td=td))
    assert [found[name] for name in ("R12", "R13", "R14", "R15")] == [
        ("0x1", "EAX"),
        ("0x2", "EBX"),
        ("0x3", "ECX"),
        ("0x4", "EDX"),
    ]


def test_userspace_exit() -> None:
    tree = last(MAP)
    found = rows(tree)
    assert (tree.name, tree.raw, tree.filter) == (
        "userspace exit",
        "KVM_EXIT_HYPERCALL",
        "exit == KVM_EXIT_HYPERCALL",
    )
    assert found["hypercall.nr"] == ("12", "KVM_HC_MAP_GPA_RANGE")
    assert found["complete_userspace_io"] == ("MAP_GPA", "pending")
    assert "flags" not in found


def test_an_exit_without_a_completer_says_so() -> None:
    tree = last(call(0x10003))
    assert rows(tree)["complete_userspace_io"] == ("NULL", "KVM_RUN will only enter the TD")


def test_notes_say_why_and_where() -> None:
    tree = last(MAP, answered(OK, has_events=True))
    why = find(tree, "why")
    assert why.raw == "tdx_complete_vmcall_map_gpa"
    assert "RETRY" in why.meaning


def test_kvm_run_fails() -> None:
    tree = last(MAP, answered(HypercallAnswer(16)))
    assert (tree.name, tree.raw) == ("KVM_RUN", "-EINVAL (22)")
    fault = last(TdExit(0, 48, Regs(rcx=2, r8=0x5000), in_kernel=InKernel(errno=14)))
    assert fault.raw == "-EFAULT (14)"
    assert rows(fault)["exit_reason"] == ("39", "KVM_EXIT_MEMORY_FAULT")
    assert rows(fault)["memory_fault.gpa"] == ("0x5000", "GPA")


def test_effects() -> None:
    tree = last(TdExit(0, 49, Regs()))
    meanings = [child.meaning for child in tree.children if child.name == "effect"]
    assert meanings == ["VM bugged: it never runs again"]
    quiet = steps(TdExit(0, 49, Regs()))[-1]
    known = KNOWN_ALL & ~KNOWN_EFFECTS
    assert "effect" not in rows(decode_step(quiet, call_of(None), known))


def test_memory_attributes() -> None:
    step = steps(SetMemoryAttributes(0, 4096, private=False))[-1]
    assert decode_step(step, call_of(None)).name == "KVM_SET_MEMORY_ATTRIBUTES"


def test_resume_after_an_interrupt() -> None:
    tree = last(TdExit(0, 1, Regs(r9=0x800000EC)))
    assert (tree.name, tree.meaning) == ("TD entry", "resume: no register changes")


def test_a_reply_that_rcx_does_not_select_is_lost() -> None:
    hidden = call_of(call(10, rcx=0x3C00))
    step = Step(Outcome.REENTER_TD, Regs(r13=6, r15=7))
    found = rows(decode_step(step, hidden, before=Regs()))
    assert found["R13"] == ("0x6", "EBX")
    assert found["R15"] == ("0x7", "EDX, but RCX does not select it: lost")
    blind = decode_step(step, call_of(call(10, rcx=0)))
    assert blind.meaning == "RCX does not select R10: the guest does not see it"


def test_a_stop_outside_the_range_has_no_progress() -> None:
    step = Step(Outcome.REENTER_TD, Regs(r10=1, r11=0x1000))
    assert rows(decode_step(step, call_of(MAP)))["R11"][1] == "resume here: GPA 0x1000"
    blind = call_of(MAP, 0xFFFF & ~(1 << 13))
    assert rows(decode_step(step, blind))["R11"][1] == "resume here: GPA 0x1000"


def test_what_was_not_recorded() -> None:
    entry = Step(Outcome.REENTER_TD, Regs())
    assert decode_step(entry, call_of(None), 0).meaning == "R10 not recorded"
    exit_ = Step(Outcome.EXIT_TO_USERSPACE, Regs())
    assert decode_step(exit_, call_of(None), 0).meaning == "which was not recorded"
    assert rows(decode_step(exit_, call_of(None), 0))["complete_userspace_io"] == (
        "?",
        "not recorded",
    )
    failed = Step(Outcome.KVM_ERROR, Regs(), errno=5)
    assert decode_step(failed, call_of(None), 0).raw == "?"


@pytest.mark.parametrize(
    "inputs",
    [(MAP,), (MAP, answered(OK, has_events=True)), (call(7, r10=99),), (call(0x99),)],
)
def test_every_filter_compiles(inputs: tuple[Input, ...]) -> None:
    filters = [node.filter for node in walk(last(*inputs)) if node.filter]
    assert filters
    for text in filters:
        assert compile_filter(text).fields
