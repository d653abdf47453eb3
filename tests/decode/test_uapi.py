import pytest

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs
from tdxdbg.decode.tree import UapiRow, decode_answer, decode_run
from tdxdbg.engine import (
    BY_NAME,
    Answer,
    Engine,
    HypercallAnswer,
    InKernel,
    IoAnswer,
    KvmRun,
    MmioAnswer,
    Msr,
    MsrAnswer,
    Reentry,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import recorded_run
from tests.decode.test_tdvmcall import LINUX_PANIC
from tests.decode.trees import MIB, SHARED48, call

MSRS = {0x10: Msr(filtered=True)}
TD = Td(user_space_msr_mask=7, msrs=MSRS)


def exit_of(event: TdExit, generation: str = "6.16", td: Td = TD) -> KvmRun:
    """What userspace finds after this TD exit."""
    engine = Engine(td, BY_NAME[generation])
    engine.force_into_td(0)
    run = engine.feed(event).run
    assert run is not None
    return run


def table(rows: list[UapiRow]) -> dict[str, tuple[int, str, str]]:
    return {row.field: (row.offset, row.raw, row.meaning) for row in rows}


@pytest.mark.parametrize(
    ("event", "generation", "expected"),
    [
        (
            call(0x10001, r12=SHARED48 | 0x40000000, r13=5 * MIB),
            "6.16",
            {
                "exit_reason": (8, "3", "KVM_EXIT_HYPERCALL"),
                "flags": (14, "0x0", ""),
                "hypercall.nr": (32, "12", "KVM_HC_MAP_GPA_RANGE"),
                "hypercall.args[0]": (40, "0x40000000", "GPA"),
                "hypercall.args[1]": (48, "0x200", "pages: 2 MiB"),
                "hypercall.args[2]": (56, "0x0", "DECRYPTED: shared"),
                "hypercall.args[3]": (64, "?", "KVM does not write it"),
                "hypercall.ret": (88, "0x0", "success"),
                "hypercall.flags": (96, "0x1", "long mode"),
            },
        ),
        (
            call(0x10001, r12=0x40000000, r13=4096),
            "6.16",
            {"hypercall.args[2]": (56, "0x10", "ENCRYPTED: private")},
        ),
        (
            call(30, r12=1, r13=1, r14=0x3F8, r15=0x48),
            "6.16",
            {
                "exit_reason": (8, "2", "KVM_EXIT_IO"),
                "io.direction": (32, "1", "KVM_EXIT_IO_OUT"),
                "io.size": (33, "1", "1 byte"),
                "io.port": (34, "0x3f8", "COM1"),
                "io.count": (36, "1", ""),
                "io.data_offset": (
                    40,
                    "0x1000",
                    "of the data, from the start of kvm_run",
                ),
                "io data": (0x1000, "48", "0x48 'H'"),
            },
        ),
        (
            call(30, r12=4, r13=0, r14=0xCFC),
            "6.16",
            {"io data": (0x1000, "00 00 00 00", "userspace fills this")},
        ),
        (
            call(48, r12=4, r13=1, r14=SHARED48 | 0xFEC00000, r15=0x12345678),
            "6.16",
            {
                "exit_reason": (8, "6", "KVM_EXIT_MMIO"),
                "mmio.phys_addr": (32, "0xfec00000", "GPA"),
                "mmio.data": (40, "78 56 34 12", "0x12345678"),
                "mmio.len": (48, "4", "4 bytes"),
                "mmio.is_write": (52, "1", "write"),
            },
        ),
        (
            call(0x10003, **LINUX_PANIC),
            "exits-v1",
            {
                "system_event.type": (32, "7", "KVM_SYSTEM_EVENT_TDX_FATAL"),
                "system_event.ndata": (36, "10", ""),
                "system_event.data[0]": (40, "0x0", "R12: error code 0x0"),
                "system_event.data[1]": (48, "0x0", "R13: GPA of the text page"),
                "system_event.data[2]": (56, "0x6f6373696d204454", "R14: text 'TD misco'"),
                "system_event.data[4]": (72, "0x504553203a6e6f69", "RBX: text 'ion: SEP'"),
                "system_event.data[9]": (112, "0x0", "RDX: text ''"),
            },
        ),
        (
            call(0x10003, **LINUX_PANIC),
            "6.16",
            {
                "system_event.ndata": (36, "16", ""),
                "system_event.data[0]": (40, "0x4d", "RAX: TDX_SUCCESS, TDCALL (77)"),
                "system_event.data[1]": (
                    48,
                    "0xffcc",
                    "RCX: selects RDX RBX RSI RDI R8..R15",
                ),
                "system_event.data[3]": (64, "0x504553203a6e6f69", "RBX: text 'ion: SEP'"),
                "system_event.data[4]": (72, "0x0", "RSP"),
                "system_event.data[12]": (136, "0x0", "R12: error code 0x0"),
                "system_event.data[14]": (152, "0x6f6373696d204454", "R14: text 'TD misco'"),
            },
        ),
        (
            call(0x10002, r12=SHARED48 | 0x5000, r13=8192),
            "6.16",
            {
                "exit_reason": (8, "40", "KVM_EXIT_TDX"),
                "tdx.nr": (40, "0x10002", "GetQuote"),
                "tdx.ret": (48, "0x8000000000000003", "SUBFUNC_UNSUPPORTED"),
                "tdx.gpa": (56, "0x5000", "GPA"),
                "tdx.size": (64, "0x2000", "8 KiB"),
            },
        ),
        (
            call(0x10004, r12=0x40),
            "6.16",
            {"tdx.vector": (56, "0x40", "vector 0x40")},
        ),
        (
            call(0x10000, r12=1),
            "6.16",
            {"tdx.leaf": (56, "0x1", ""), "tdx.r14": (88, "0x0", "")},
        ),
        (
            call(0x10001, r12=0x1000, r13=0x1000),
            "v19",
            {
                "tdx.type": (32, "0x1", "KVM_EXIT_TDX_VMCALL"),
                "tdx.in_rcx": (40, "0xffcc", "RDX RBX RSI RDI R8..R15"),
                "tdx.in_r10": (48, "0x0", "standard GHCI call"),
                "tdx.in_r11": (56, "0x10001", "MapGPA"),
                "tdx.in_rdx": (136, "0x0", ""),
                "tdx.out_r10": (144, "0x0", "SUCCESS"),
                "tdx.out_rdx": (232, "0x0", ""),
            },
        ),
        (
            call(31, r12=0x10),
            "6.16",
            {
                "exit_reason": (8, "29", "KVM_EXIT_X86_RDMSR"),
                "msr.error": (32, "0", "no error"),
                "msr.reason": (40, "4", "KVM_MSR_EXIT_REASON_FILTER"),
                "msr.index": (44, "0x10", "IA32_TIME_STAMP_COUNTER"),
            },
        ),
        (
            TdExit(0, 48, Regs(rcx=2, r8=0x5000), in_kernel=InKernel(errno=14)),
            "6.16",
            {
                "exit_reason": (8, "39", "KVM_EXIT_MEMORY_FAULT"),
                "memory_fault.flags": (32, "0x8", "private"),
                "memory_fault.gpa": (40, "0x5000", "GPA"),
                "memory_fault.size": (48, "0x1000", "4 KiB"),
            },
        ),
        (
            TdExit(0, 9, Regs()),
            "6.16",
            {
                "internal.suberror": (32, "4", "KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON"),
                "internal.ndata": (36, "2", ""),
                "internal.data[0]": (40, "0x9", "TDX_SUCCESS, TASK_SWITCH (9)"),
            },
        ),
        (
            TdExit(0, 0x80000021, Regs()),
            "6.16",
            {
                "fail_entry.hardware_entry_failure_reason": (
                    32,
                    "0x80000021",
                    "INVALID_STATE (33), VM entry failed",
                )
            },
        ),
        (
            TdExit(0, 0, Regs(r9=0x8000030E)),
            "6.16",
            {"ex.exception": (32, "14", "#PF"), "ex.error_code": (36, "0x0", "")},
        ),
        (
            TdExit(0, 75, Regs(rcx=1)),
            "7.3",
            {"notify.flags": (32, "0x1", "KVM_NOTIFY_CONTEXT_INVALID")},
        ),
        (TdExit(0, 2, Regs()), "6.16", {"exit_reason": (8, "8", "KVM_EXIT_SHUTDOWN")}),
    ],
)
def test_fields(event: TdExit, generation: str, expected: dict[str, tuple[int, str, str]]) -> None:
    found = table(decode_run(exit_of(event, generation)))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("ndata", "rows"), [(10, 10), (16, 16), (0, 0), (1 << 31, 16)])
def test_data_has_as_many_rows_as_the_kernel_wrote(ndata: int, rows: int) -> None:
    union = (7).to_bytes(4, "little") + ndata.to_bytes(4, "little")
    found = table(decode_run(recorded_run(Exit.SYSTEM_EVENT, union, (1 << 256) - 1)))
    assert sum(name.startswith("system_event.data") for name in found) == rows


def test_what_no_recording_saw_is_said_to_be_unknown() -> None:
    rows = decode_run(recorded_run(Exit.MMIO, bytes(8), 0xFF), run_flags=None)
    found = {str(row.field): row for row in rows}
    assert found["flags"].meaning == "not recorded"
    assert not found["flags"].known
    assert found["mmio.phys_addr"].known
    assert found["mmio.data"].raw == "?? ?? ?? ?? ?? ?? ?? ??"
    assert not found["mmio.data"].known
    assert found["mmio.len"].raw == "?"


def test_stale_fields_are_told_from_written_ones() -> None:
    """facts: kernel_exits 4.1: the posted v1 leaves hypercall.ret as it was."""
    engine = Engine(Td(), BY_NAME["exits-v1"])
    engine.force_into_td(0)
    engine.feed(call(0, r10=99))  # an in-kernel hypercall leaves its result there
    run = engine.feed(call(0x10001, r12=SHARED48, r13=4096)).run
    assert run is not None
    row = next(row for row in decode_run(run) if row.field == "hypercall.ret")
    assert (row.raw, row.written, row.known) == ("0xfffffffffffffc18", False, True)
    assert row.meaning == "stale: KVM did not write it at this exit"


def test_data_of_an_mmio_read_is_stale() -> None:
    engine = Engine(Td(), BY_NAME["6.16"])
    engine.force_into_td(0)
    engine.feed(call(48, r12=4, r13=1, r14=SHARED48, r15=0x1234))
    engine.feed(Reentry(0))
    run = engine.feed(call(48, r12=4, r13=0, r14=SHARED48)).run
    assert run is not None
    row = next(row for row in decode_run(run) if row.field == "mmio.data")
    assert (row.raw, row.written, row.answer) == ("34 12 00 00", False, True)
    assert row.meaning.startswith("stale")


def test_error_code_of_a_shared_fetch_in_v19() -> None:
    """facts: kernel_exits 4.9."""
    run = exit_of(TdExit(0, 48, Regs(rcx=0x184, r8=SHARED48)), "v19")
    assert table(decode_run(run))["ex.error_code"][2] == "EPT qualification: fetch"


def test_run_flags() -> None:
    run = exit_of(call(30, r12=1, r13=1))
    assert table(decode_run(run, 2))["flags"] == (14, "0x2", "KVM_RUN_X86_BUS_LOCK")


def test_shared_bit_in_a_field_is_pointed_out() -> None:
    run = exit_of(call(SHARED48 | 0x1000, r10=12, r12=1, r13=0))
    assert table(decode_run(run))["hypercall.args[0]"][2] == "GPA, has the shared bit"


IN = call(30, r12=1, r13=0, r14=0x3FD)
MAP = call(0x10001, r12=SHARED48, r13=4096)


@pytest.mark.parametrize(
    ("event", "generation", "answer", "expected"),
    [
        (MAP, "6.16", HypercallAnswer(0), {"hypercall.ret": ("0x0", "success")}),
        (MAP, "7.2", HypercallAnswer(11), {"hypercall.ret": ("0xb", "EAGAIN (11)")}),
        (MAP, "7.2", HypercallAnswer(16), {"hypercall.ret": ("0x10", "EBUSY (16)")}),
        (
            MAP,
            "7.2",
            HypercallAnswer(2**64 - 22),
            {"hypercall.ret": ("0xffffffffffffffea", "-EINVAL (22)")},
        ),
        (MAP, "7.2", HypercallAnswer(1 << 40), {"hypercall.ret": ("0x10000000000", "")}),
        (
            MAP,
            "6.16",
            None,
            {"hypercall.ret": ("0x0", "left as KVM wrote it: success")},
        ),
        (IN, "6.16", IoAnswer(b"\x60"), {"io data": ("60", "0x60 '`'")}),
        (
            IN,
            "6.16",
            None,
            {"io data": ("00", "left as KVM wrote it: userspace fills this")},
        ),
        (call(30, r12=1, r13=1), "6.16", IoAnswer(None), {}),
        (
            call(48, r12=2, r13=0, r14=SHARED48),
            "6.16",
            MmioAnswer(b"\x01\x02"),
            {"mmio.data": ("01 02", "0x201")},
        ),
        (
            call(31, r12=0x10),
            "6.16",
            MsrAnswer(1, None),
            {
                "msr.error": ("0x1", "#GP for the guest"),
                "msr.data": ("0x0", "left as KVM wrote it"),
            },
        ),
        (
            call(0x10002, r12=SHARED48, r13=4096),
            "6.16",
            TdxAnswer(0),
            {"tdx.ret": ("0x0", "SUCCESS")},
        ),
        (
            call(0x10002, r12=SHARED48, r13=4096),
            "6.16",
            None,
            {
                "tdx.ret": (
                    "0x8000000000000003",
                    "left as KVM wrote it: SUBFUNC_UNSUPPORTED",
                )
            },
        ),
    ],
)
def test_answers(
    event: TdExit, generation: str, answer: Answer | None, expected: dict[str, tuple[str, str]]
) -> None:
    rows = decode_answer(answer, exit_of(event, generation))
    assert {row.field: (row.raw, row.meaning) for row in rows} == expected


def test_a_raw_answer_has_every_out_register() -> None:
    rows = decode_answer(TdxRawAnswer(r10=1 << 63), exit_of(MAP, "v19"))
    assert len(rows) == 12
    assert (rows[0].field, rows[0].meaning) == ("tdx.out_r10", "INVALID_OPERAND")
    assert rows[1].meaning == "left as KVM wrote it"


def test_answers_that_nobody_saw() -> None:
    rows = decode_answer(None, exit_of(MAP), known=False)
    assert [(row.raw, row.meaning, row.known) for row in rows] == [("?", "not recorded", False)]
    assert decode_answer(None, None) == []


def test_answer_fields_are_marked_in_the_exit() -> None:
    assert [row.field for row in decode_run(exit_of(MAP)) if row.answer] == ["hypercall.ret"]
    assert [row.field for row in decode_run(exit_of(IN)) if row.answer] == ["io data"]


@pytest.mark.parametrize("reason", range(64))
@pytest.mark.parametrize("fill", [0, 0x5C, 0xFF])
def test_any_union_decodes(reason: int, fill: int) -> None:
    run = recorded_run(reason, bytes([fill]) * 256, (1 << 256) - 1, bytes([fill]) * 4096)
    rows = decode_run(run, 0xFFFF)
    rows += decode_answer(None, run)
    for row in rows:
        for text in (row.field, row.raw, row.meaning):
            assert text.isascii()
            assert text.isprintable()
            assert len(text) < 300


def test_reentry_is_what_completes() -> None:
    """The answer that is shown is the one that the engine reads."""
    engine = Engine(Td(), BY_NAME["6.16"])
    engine.force_into_td(0)
    run = engine.feed(IN).run
    answer = IoAnswer(b"\x60")
    step = engine.feed(Reentry(0, answer))
    rows = decode_answer(answer, run)
    assert step.regs.r11 == int(rows[0].raw, 16)
    assert step.regs.rcx == LINUX_EXPOSE_MASK
