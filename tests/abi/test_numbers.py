"""The numbers of abi/ against the facts, written down a second time (kernel_exits 1)."""

from __future__ import annotations

import pytest

from tdxdbg.abi import ghci, kvm, tdx_module, vmx
from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.kvm import Exit

STATUSES = {  # kernel_exits 1.1
    "SUCCESS": 0,
    "RETRY": 1,
    "INVALID_OPERAND": 0x8000_0000_0000_0000,
    "GPA_INUSE": 0x8000_0000_0000_0001,
    "ALIGN_ERROR": 0x8000_0000_0000_0002,
    "SUBFUNC_UNSUPPORTED": 0x8000_0000_0000_0003,
}
SUB_FUNCTIONS = {  # kernel_exits 1.2
    10: "Instruction.CPUID",
    12: "Instruction.HLT",
    30: "Instruction.IO",
    31: "Instruction.RDMSR",
    32: "Instruction.WRMSR",
    48: "#VE.RequestMMIO",
    54: "Instruction.WBINVD",
    65: "Instruction.PCONFIG",
    0x10000: "GetTdVmCallInfo",
    0x10001: "MapGPA",
    0x10002: "GetQuote",
    0x10003: "ReportFatalError",
    0x10004: "SetupEventNotifyInterrupt",
    0x10005: "Service",
    0x10006: "MigTD",
}
EXITS = {  # kernel_exits 1.5
    "UNKNOWN": 0,
    "EXCEPTION": 1,
    "IO": 2,
    "HYPERCALL": 3,
    "HLT": 5,
    "MMIO": 6,
    "SHUTDOWN": 8,
    "FAIL_ENTRY": 9,
    "INTR": 10,
    "INTERNAL_ERROR": 17,
    "SYSTEM_EVENT": 24,
    "X86_RDMSR": 29,
    "X86_WRMSR": 30,
    "X86_BUS_LOCK": 33,
    "NOTIFY": 37,
    "MEMORY_FAULT": 39,
    "TDX": 40,
}
KVM = {  # kernel_exits 1.5 and 4.1
    "HC_VAPIC_POLL_IRQ": 1,
    "HC_KICK_CPU": 5,
    "HC_CLOCK_PAIRING": 9,
    "HC_SEND_IPI": 10,
    "HC_SCHED_YIELD": 11,
    "HC_MAP_GPA_RANGE": 12,
    "FEATURE_PV_UNHALT": 7,
    "FEATURE_PV_SEND_IPI": 11,
    "FEATURE_PV_SCHED_YIELD": 13,
    "KVM_ENOSYS": 1000,
    "KVM_EPERM": 1,
    "KVM_EINVAL": 22,
    "KVM_EOPNOTSUPP": 95,
    "HYPERCALL_LONG_MODE": 1,
    "MAP_GPA_RANGE_ENCRYPTED": 0x10,
    "MAP_GPA_RANGE_PAGE_SIZE_MASK": 0xF,
    "SYSTEM_EVENT_TDX_FATAL": 7,
    "INTERNAL_ERROR_UNEXPECTED_EXIT_REASON": 4,
    "MEMORY_ATTRIBUTE_PRIVATE": 8,
    "MEMORY_EXIT_FLAG_PRIVATE": 8,
    "RUN_X86_BUS_LOCK": 2,
    "NOTIFY_CONTEXT_INVALID": 1,
    "MSR_EXIT_REASON_INVAL": 1,
    "MSR_EXIT_REASON_UNKNOWN": 2,
    "MSR_EXIT_REASON_FILTER": 4,
    "TDX_VMCALL": 1,
    "RUN_EXIT_REASON_OFFSET": 8,
    "RUN_FLAGS_OFFSET": 14,
    "RUN_UNION_OFFSET": 32,
    "RUN_UNION_SIZE": 256,
    "RUN_SIZE": 2352,
    "PIO_PAGE_OFFSET": 0x1000,
    "PAGE_SIZE": 4096,
}
VMX = {  # kernel_exits 1.3 and 4.9
    "EXCEPTION_NMI": 0,
    "EXTERNAL_INTERRUPT": 1,
    "TRIPLE_FAULT": 2,
    "OTHER_SMI": 6,
    "CPUID": 10,
    "HLT": 12,
    "VMCALL": 18,
    "IO_INSTRUCTION": 30,
    "MSR_READ": 31,
    "MSR_WRITE": 32,
    "EPT_VIOLATION": 48,
    "EPT_MISCONFIG": 49,
    "BUS_LOCK": 74,
    "NOTIFY": 75,
    "TDCALL": 77,
    "BUS_LOCK_DETECTED": 1 << 26,
    "FAILED_VMENTRY": 1 << 31,
    "NO_EXIT_REASON": 0xFFFF_FFFF,
    "NO_EXIT_REASON_7_3": 0xDEAD,
    "EPT_VIOLATION_ACC_READ": 1,
    "EPT_VIOLATION_ACC_WRITE": 2,
    "EPT_VIOLATION_ACC_INSTR": 4,
    "EPT_VIOLATION_PROT_MASK": 0x38,
    "EPT_VIOLATION_GVA_IS_VALID": 0x80,
    "EPT_VIOLATION_GVA_TRANSLATED": 0x100,
    "MC_VECTOR": 18,
    "PF_VECTOR": 14,
}
MODULE = {  # kernel_exits 1.4
    "SUCCESS": 0,
    "NON_RECOVERABLE_VCPU": 0x4000_0001_0000_0000,
    "NON_RECOVERABLE_TD": 0x4000_0002_0000_0000,
    "NON_RECOVERABLE_TD_NON_ACCESSIBLE": 0x6000_0005_0000_0000,
    "NON_RECOVERABLE_TD_WRONG_APIC_MODE": 0x6000_0007_0000_0000,
    "OPERAND_BUSY": 0x8000_0200_0000_0000,
    "SW_ERROR": 0x8000_FF00_0000_0000,
    "SEAMCALL_UD": 0x8000_FF00_0000_0006,
    "OPERAND_ID_SEPT": 0x92,
    "OPERAND_ID_TD_EPOCH": 0xA9,
    "ERROR": 1 << 63,
    "NON_RECOVERABLE": 1 << 62,
    "STATUS_MASK": 0xFFFF_FFFF_0000_0000,
    "EXT_EXIT_QUAL_PENDING": 6,
    "EXT_EXIT_QUAL_TYPE_MASK": 0xF,
}


@pytest.mark.parametrize(
    ("module", "numbers"), [(kvm, KVM), (vmx, VMX), (tdx_module, MODULE)], ids=["kvm", "vmx", "tdx"]
)
def test_constants(module: object, numbers: dict[str, int]) -> None:
    assert {name: getattr(module, name) for name in numbers} == numbers


def test_enumerations() -> None:
    assert {member.name: member.value for member in Status} == STATUSES
    assert {name: Exit[name] for name in EXITS} == EXITS
    assert {int(member): ghci.SUB_FUNCTION_NAMES[member] for member in SubFunction} == SUB_FUNCTIONS
    assert set(ghci.SUB_FUNCTION_NAMES) == set(SUB_FUNCTIONS)


def test_which_statuses_carry_an_exit_reason() -> None:
    # kernel_exits 1.4, last column
    expected = {0, 0x40000001, 0x40000002, 0x60000005, 0x60000007}
    assert {value >> 32 for value in tdx_module.HAS_EXIT_REASON} == expected


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0x8000_0003, "TDX_INTERRUPTED_RESUMABLE"),
        (0x8000_0200, "TDX_OPERAND_BUSY"),
        (0x8000_0201, "TDX_PREVIOUS_TLB_EPOCH_BUSY"),
        (0x8000_0202, "TDX_SYS_BUSY"),
        (0xC000_0100, "TDX_OPERAND_INVALID"),
        (0xC000_0300, "TDX_PAGE_METADATA_INCORRECT"),
        (0x8000_0702, "TDX_VCPU_NOT_ASSOCIATED"),
        (0x8000_0800, "TDX_KEY_GENERATION_FAILED"),
        (0xC000_0811, "TDX_KEY_STATE_INCORRECT"),
        (0x0000_0815, "TDX_KEY_CONFIGURED"),
        (0x0000_0821, "TDX_NO_HKID_READY_TO_WBCACHE"),
        (0x8000_0824, "TDX_FLUSHVP_NOT_DONE"),
        (0xC000_0B00, "TDX_EPT_WALK_FAILED"),
        (0xC000_0B0D, "TDX_EPT_ENTRY_STATE_INCORRECT"),
        (0xC000_0C02, "TDX_METADATA_FIELD_NOT_READABLE"),
        # both the module's own form and the one in KVM's header
        (0x6000_0002, "TDX_NON_RECOVERABLE_TD"),
        (0x4000_0002, "TDX_NON_RECOVERABLE_TD"),
        (0xE000_0007, "TDX_NON_RECOVERABLE_TD_WRONG_APIC_MODE"),
        (0x6000_0007, "TDX_NON_RECOVERABLE_TD_WRONG_APIC_MODE"),
    ],
)
def test_status_names(status: int, name: str) -> None:
    assert tdx_module.STATUS_NAMES[status << 32] == name


def test_status_names_are_of_upper_halves() -> None:
    assert not [value for value in tdx_module.STATUS_NAMES if value & 0xFFFF_FFFF]
    classes = {value >> 40 & 0xFF for value in tdx_module.STATUS_NAMES}
    assert classes == set(tdx_module.STATUS_CLASSES)


def test_operand_ids() -> None:
    # kernel_exits 1.4, OPERAND_BUSY
    names = {number: tdx_module.OPERAND_IDS[number] for number in (0x92, 0xA9, 0x80, 1)}
    assert names == {0x92: "SEPT_TREE", 0xA9: "TD_EPOCH", 0x80: "TDR", 1: "RCX"}


@pytest.mark.parametrize(
    ("number", "name"), [(0, "EXCEPTION_NMI"), (49, "EPT_MISCONFIG"), (77, "TDCALL")]
)
def test_exit_reason_names(number: int, name: str) -> None:
    assert vmx.EXIT_REASON_NAMES[number] == name


def test_exit_reason_constants_have_their_names() -> None:
    for name, number in VMX.items():
        if number < 78 and name in vmx.EXIT_REASON_NAMES.values():
            assert vmx.EXIT_REASON_NAMES[number] == name


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (2, "KVM_EXIT_IO"),
        (29, "KVM_EXIT_X86_RDMSR"),
        (40, "KVM_EXIT_TDX"),
        (0, "KVM_EXIT_UNKNOWN"),
        (1000, "KVM_EXIT 0x3e8"),
    ],
)
def test_exit_name(reason: int, name: str) -> None:
    assert kvm.exit_name(reason) == name


@pytest.mark.parametrize(
    ("number", "name"), [(11, "EAGAIN"), (22, "EINVAL"), (133, "EHWPOISON"), (9999, "9999")]
)
def test_errno_name(number: int, name: str) -> None:
    assert kvm.errno_name(number) == name


@pytest.mark.parametrize("leaf", list(SubFunction))
def test_short_names_are_unambiguous(leaf: SubFunction) -> None:
    short = ghci.SUB_FUNCTION_SHORT[leaf]
    assert ghci.SUB_FUNCTION_NAMES[leaf].endswith(short)
    assert list(ghci.SUB_FUNCTION_SHORT.values()).count(short) == 1
    assert not set("#. ") & set(short)


@pytest.mark.parametrize(
    ("leaf", "registers"),
    [
        (SubFunction.MAP_GPA, "r12 r13"),
        (SubFunction.IO, "r12 r13 r14 r15"),
        (SubFunction.MMIO, "r12 r13 r14 r15"),
        (SubFunction.WRMSR, "r12 r13"),
        (SubFunction.SERVICE, "r12 r13 r14 r15"),
        (SubFunction.REPORT_FATAL_ERROR, "r12 r13 r14 r15 rbx rdi rsi r8 r9 rdx"),
    ],
)
def test_arguments(leaf: SubFunction, registers: str) -> None:
    assert [name for name, _ in ghci.ARGUMENTS[leaf]] == registers.split()


def test_the_text_of_a_fatal_error() -> None:
    # kernel_exits 4.3
    assert ghci.FATAL_TEXT_REGISTERS == ("r14", "r15", "rbx", "rdi", "rsi", "r8", "r9", "rdx")
    assert ghci.FATAL_GPA_VALID == 1 << 63


@pytest.mark.parametrize(("gpaw", "bit"), [(48, 47), (52, 51)])
def test_shared_bit(gpaw: int, bit: int) -> None:
    assert ghci.shared_bit(gpaw) == 1 << bit
