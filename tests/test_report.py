import json
from collections.abc import Sequence

import pytest

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import BY_NAME, HypercallAnswer, Input, Outcome, Reentry, Step, Td, TdExit
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.report import (
    MAIL_WIDTH,
    MAX_STEPS,
    json_object,
    mail_lines,
    row_moments,
    text_lines,
)
from tdxdbg.timeline import Timeline
from tdxdbg.traces import records
from tdxdbg.traces.records import Record
from tests.decode.test_tdvmcall import LINUX_PANIC
from tests.decode.trees import MIB, SHARED48, call
from tests.timeline.journals import DONE, MIXED, make_trace, records_of

V7_2 = BY_NAME["7.2"]
HOSTILE = {"r14": 0x6D31335B1B, "r15": int.from_bytes(b"\x9b]0;[/b]", "little")}
RETRY: Sequence[Input] = (
    call(0x10001, r12=SHARED48 | 0x40000000, r13=5 * MIB),
    Reentry(0, DONE, has_events=True),
)


def timeline_of(inputs: Sequence[Input], other: str | None = None) -> Timeline:
    return of_records(records_of(inputs, Td(), V7_2), other)


def of_records(journal: list[Record], other: str | None = None) -> Timeline:
    line = Timeline(make_trace(journal, Td(), V7_2))
    return line.with_generation(BY_NAME[other]) if other else line


def text(line: Timeline, row: int = 0) -> list[str]:
    return [*text_lines(line.summary(row), row_moments(line, row))]


def mail(line: Timeline, row: int = 0) -> list[str]:
    return mail_lines(line.summary(row), row_moments(line, row))


def test_text_of_an_interrupted_map_gpa() -> None:
    assert text(timeline_of(RETRY)) == [
        "0  0.000002  v0  MapGPA  P>S 0000000040000000 +5M  RETRY @+2M",
        "  TD exit TDG.VP.VMCALL<MapGPA> R11=0x10001: convert pages between private and shared",
        "    TDH.VP.ENTER returned 0x4d: TDX_SUCCESS, TDCALL (77)",
        "    RCX bitmap 0xffcc: RDX RBX RSI RDI R8..R15 (as Linux and EDK2)",
        "    call type (R10) 0x0: standard GHCI call",
        "    GPA (R12) 0x800040000000: 0x40000000, shared",
        "    size (R13) 0x500000: 5 MiB, 3 chunks of 2 MiB",
        "    end 0x800040500000: last byte 0x404fffff without the shared bit",
        "  userspace exit KVM_EXIT_HYPERCALL: KVM_RUN = 0",
        "    hypercall.nr 12: KVM_HC_MAP_GPA_RANGE",
        "    hypercall.args[0] 0x40000000: GPA",
        "    hypercall.args[1] 0x200: pages: 2 MiB",
        "    hypercall.args[2] 0x0: DECRYPTED: shared",
        "    hypercall.ret 0x0: success",
        "    hypercall.flags 0x1: long mode",
        "    complete_userspace_io MAP_GPA: pending",
        "    why __tdx_map_gpa: the next chunk of at most 2 MiB goes to userspace",
        "  userspace KVM_RUN",
        "    hypercall.ret 0x0: success",
        "  TD entry RETRY",
        "    R10 0x1: RETRY",
        "    R11 0x800040200000: resume here: GPA 0x40200000, 2 MiB of 5 MiB done",
        "    effect: looked for pending events",
        "    why tdx_complete_vmcall_map_gpa: an event is pending between chunks: RETRY, "
        "R11 = the next chunk",
        "    conversion 0x40000000: 2 MiB are shared now",
    ]


def test_mail_has_the_same_in_72_columns() -> None:
    lines = mail(timeline_of(RETRY))
    assert lines[:2] == [
        "exit 0, v0, 0.000002 s: MapGPA P>S 0000000040000000 +5M",
        "=> RETRY @+2M",
    ]
    assert lines[-1] == ""
    assert "    R10 0x1: RETRY" in lines
    joined = " ".join(" ".join(lines).split())
    for line in text(timeline_of(RETRY))[1:]:
        assert " ".join(line.split()) in joined


@pytest.mark.parametrize("row", range(7))
@pytest.mark.parametrize("other", [None, "v19", "exits-v1", "6.16-rc1", "6.16", "7.3"])
def test_every_line_of_a_mixed_trace_is_printable(row: int, other: str | None) -> None:
    line = timeline_of(MIXED, other)
    for each in text(line, row) + mail(line, row):
        assert each.isascii()
        assert not each or each.isprintable()
    assert max(map(len, mail(line, row))) <= MAIL_WIDTH
    json.dumps(json_object(line.summary(row), row_moments(line, row)))


def test_hostile_text_is_escaped_once_everywhere() -> None:
    line = timeline_of([call(0x10003, **HOSTILE)])
    shown = "\\x1b[31m\\x00\\x00\\x00\\x9b]0;[/b]"
    assert f'msg "{shown}"' in text(line)[0]
    assert f"    text 16 bytes: {shown}" in text(line)
    assert json_object(line.summary(0), row_moments(line, 0))["message"] == shown
    for each in [*text(line), *mail(line)]:
        assert all(0x20 <= ord(character) <= 0x7E for character in each)


def test_a_long_word_is_broken_in_mail() -> None:
    line = timeline_of([call(0x10003, **dict.fromkeys([*LINUX_PANIC, "r9", "rdx"], 2**64 - 1))])
    assert max(map(len, mail(line))) <= MAIL_WIDTH


# --- JSON -------------------------------------------------------------------------------


def test_json_of_an_interrupted_map_gpa() -> None:
    line = timeline_of(RETRY)
    row = json_object(line.summary(0), row_moments(line, 0))
    steps = row.pop("steps")
    registers = row.pop("registers")
    assert row == {
        "row": 0,
        "time_ns": 2000,
        "vcpu": 0,
        "name": "MapGPA",
        "vp_enter_ret": "0x4d",
        "vp_enter_status": "TDX_SUCCESS, TDCALL (77)",
        "reason": 77,
        "reason_name": "TDCALL",
        "leaf": "0x10001",
        "leaf_name": "MapGPA",
        "vendor": False,
        "gpa": "0x40000000",
        "size": "0x500000",
        "direction": None,
        "port": None,
        "value": None,
        "private": False,
        "shared": True,
        "status": "0x1",
        "status_name": "RETRY",
        "outcome": "guest",
        "exits": ["KVM_EXIT_HYPERCALL"],
        "kernel": False,
        "retry": True,
        "error": False,
        "message": None,
        "steps_total": 2,
        "steps_more": False,
    }
    assert isinstance(registers, dict)
    assert registers["r12"] == "0x800040000000"
    assert isinstance(steps, list)
    first, second = steps
    assert first["input"] == "TdExit"
    assert first["exit"] == "KVM_EXIT_HYPERCALL"
    assert first["run"]["args"][:3] == ["0x40000000", "0x200", "0x0"]
    assert first["run"]["args"][3] is None
    assert first["answer"] == {"ret": "0x0"}
    assert first["completer"] == "MAP_GPA"
    assert second["outcome"] == "REENTER_TD"
    assert second["registers"]["r11"] == "0x800040200000"
    assert second["conversion"] == {"gpa": "0x40000000", "size": "0x200000", "private": False}
    assert second["notes"][0]["function"] == "tdx_complete_vmcall_map_gpa"
    assert second["differences"] == []


def test_json_keys_are_always_the_same() -> None:
    whole = timeline_of(MIXED)
    poor = of_records([userspace_exit()])
    keys = list(json_object(whole.summary(0), row_moments(whole, 0)))
    for line, row in [*((whole, row) for row in range(len(whole))), (poor, 0)]:
        result = json_object(line.summary(row), row_moments(line, row))
        assert list(result) == keys
        steps = result["steps"]
        assert isinstance(steps, list)
        for step in steps:
            assert list(step) == list(json_object_step())


def json_object_step() -> dict[str, object]:
    line = timeline_of(RETRY)
    steps = json_object(line.summary(0), row_moments(line, 0))["steps"]
    assert isinstance(steps, list)
    result: dict[str, object] = steps[0]
    return result


def test_json_of_nothing() -> None:
    line = timeline_of(RETRY)
    assert json_object(line.summary(0), [])["steps"] == []
    assert text_lines(line.summary(0), [])[1:] == ["  nothing of this row can be read"]


def test_json_errno_and_bytes() -> None:
    line = timeline_of([RETRY[0], Reentry(0, HypercallAnswer(16))])
    steps = json_object(line.summary(0), row_moments(line, 0))["steps"]
    assert isinstance(steps, list)
    assert steps[1]["errno"] == 22
    assert steps[0]["errno"] is None
    io = timeline_of(MIXED)
    read = json_object(io.summary(4), row_moments(io, 4))["steps"]
    assert isinstance(read, list)
    assert read[0]["answer"] == {"data": "60"}
    assert read[0]["run"]["data"] == "00"


# --- recordings that know less, or something else ---------------------------------------


def userspace_exit() -> Record:
    union = bytes([1, 1]) + (0x3F8).to_bytes(2, "little")
    step = Step(Outcome.EXIT_TO_USERSPACE, Regs(), recorded_run(Exit.IO, union, 0xF))
    return records.step_record(0, 0, step, known=0)


def test_only_the_userspace_exit_was_recorded() -> None:
    lines = text(of_records([userspace_exit()]))
    assert lines[0] == "0  ?  v0  KVM_EXIT_IO  out port 0x3f8 1B  userspace: KVM_EXIT_IO"
    assert "  TD exit: not recorded" in lines
    assert "    io.port 0x3f8: COM1" in lines
    assert "    io.count ?: not recorded" in lines
    assert "    complete_userspace_io ?: not recorded" in lines


def test_an_answer_that_nobody_saw() -> None:
    journal = records_of(MIXED[:2], Td(), V7_2)
    blind = [record._replace(known=0) if record.kind == 3 else record for record in journal]
    assert "  userspace: what it answered was not recorded" in text(of_records(blind))


def test_only_the_td_exit_was_recorded() -> None:
    """With the registers the engine computes the rest, and says so."""
    lines = text(of_records(records_of(MIXED[:1], Td(), V7_2)[:1]))
    assert "  userspace exit KVM_EXIT_IO: KVM_RUN = 0, computed, not recorded" in lines
    exit_ = records.td_exit(0, TdExit(0, 77, Regs(r11=30)))._replace(known=1 << 11)
    nothing = text(of_records([exit_]))
    assert nothing[1] == "  TD exit: which kind was not recorded"
    assert nothing[-1].endswith("not enough is known to compute it")


def test_differences_are_named() -> None:
    journal = records_of(RETRY, Td(), V7_2)
    step = journal[-1].body
    assert isinstance(step, Step)
    wrong = journal[-1]._replace(body=step._replace(regs=step.regs._replace(r10=0)))
    line = of_records([*journal[:-1], wrong])
    assert "    differs: r10: recorded 0x0, the engine says 0x1" in text(line)
    steps = json_object(line.summary(0), row_moments(line, 0))["steps"]
    assert isinstance(steps, list)
    assert steps[1]["differences"] == [{"field": "r10", "recorded": "0x0", "computed": "0x1"}]


def test_a_missing_side_of_a_difference() -> None:
    journal = records_of(RETRY[:1], Td(), V7_2)
    step = journal[-1].body
    assert isinstance(step, Step)
    failed = Step(Outcome.KVM_ERROR, step.regs, recorded_run(Exit.INTR, b"", 0), errno=4)
    lines = text(of_records([journal[0], journal[-1]._replace(body=failed)]))
    assert "    differs: outcome: recorded KVM_ERROR, the engine says EXIT_TO_USERSPACE" in lines
    assert "    exit_reason 10: KVM_EXIT_INTR" in lines


def test_another_generation_is_marked() -> None:
    lines = text(timeline_of([call(0x10002, r12=SHARED48, r13=4096), Reentry(0)], "exits-v1"))
    assert "  TD entry INVALID_OPERAND: computed, not recorded" in lines
    steps = json_object_step()
    assert (steps["recorded"], steps["assumed"], steps["diverged"]) == (True, False, False)


def test_flags_of_a_reentry() -> None:
    line = timeline_of([RETRY[0], Reentry(0, DONE, immediate_exit=True, signal_pending=True)])
    assert "  userspace KVM_RUN: immediate_exit, a signal is pending" in text(line)


def test_a_row_of_many_steps_is_cut() -> None:
    inputs: list[Input] = [call(0x10001, r12=SHARED48, r13=MAX_STEPS * 4 * MIB)]
    inputs += [Reentry(0, DONE)] * (MAX_STEPS * 2)
    line = timeline_of(inputs)
    assert len(row_moments(line, 0)) == MAX_STEPS
    assert text(line)[-1] == f"  {MAX_STEPS + 1} more steps: not shown"
    assert json_object(line.summary(0), row_moments(line, 0))["steps_total"] == 2 * MAX_STEPS + 1
