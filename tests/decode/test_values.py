import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi import tdx_module
from tdxdbg.decode import values

U64 = st.integers(0, (1 << 64) - 1)


@pytest.mark.parametrize(
    ("size", "text", "short"),
    [
        (0, "0 bytes", "0B"),
        (1, "1 byte", "1B"),
        (8, "8 bytes", "8B"),
        (4096, "4 KiB", "4K"),
        (4097, "4097 bytes", "4097B"),
        (6144, "6 KiB", "6K"),
        (2 << 20, "2 MiB", "2M"),
        (5 << 20, "5 MiB", "5M"),
        ((5 << 20) + 4096, "5124 KiB", "5124K"),
        (1 << 30, "1 GiB", "1G"),
        (3 << 40, "3 TiB", "3T"),
        (1 << 51, "2 PiB", "2P"),
    ],
)
def test_sizes_are_exact(size: int, text: str, short: str) -> None:
    assert values.size_text(size) == text
    assert values.short_size(size) == short


@pytest.mark.parametrize(
    ("time", "text"),
    [(None, "?"), (0, "0.000000"), (1_024_113_999, "1.024113"), (-1_500_000, "-0.001500")],
)
def test_times(time: int | None, text: str) -> None:
    assert values.time_text(time) == text


@pytest.mark.parametrize(
    ("r10", "standard", "vendor"),
    [
        (0, "SUCCESS", "0"),
        (1, "RETRY", "1"),
        (0x8000000000000000, "INVALID_OPERAND", "0x8000000000000000"),
        (0x8000000000000001, "GPA_INUSE", "0x8000000000000001"),
        (0x8000000000000002, "ALIGN_ERROR", "0x8000000000000002"),
        (0x8000000000000003, "SUBFUNC_UNSUPPORTED", "0x8000000000000003"),
        (0xFFFFFFFFFFFFFC18, "0xfffffffffffffc18", "-KVM_ENOSYS"),
        (2**64 - 1, "0xffffffffffffffff", "-KVM_EPERM"),
        (2**64 - 14, "0xfffffffffffffff2", "-KVM_EFAULT"),
        (2**64 - 22, "0xffffffffffffffea", "-KVM_EINVAL"),
        (2**64 - 7, "0xfffffffffffffff9", "-KVM_E2BIG"),
        (2**64 - 95, "0xffffffffffffffa1", "-KVM_EOPNOTSUPP"),
        (2**64 - 3, "0xfffffffffffffffd", "-3"),
        (16, "0x10", "0x10"),
    ],
)
def test_replies(r10: int, standard: str, vendor: str) -> None:
    assert values.reply_name(r10, vendor=False) == standard
    assert values.reply_name(r10, vendor=True) == vendor


@pytest.mark.parametrize(
    ("r10", "vendor", "error"),
    [
        (0, False, False),
        (1, False, False),
        (1 << 63, False, True),
        (7, False, True),
        (0, True, False),
        (5, True, False),
        (2**64 - 1000, True, True),
    ],
)
def test_error_replies(r10: int, vendor: bool, error: bool) -> None:
    assert values.is_error_reply(r10, vendor=vendor) is error


@pytest.mark.parametrize(
    ("r11", "full", "short"),
    [
        (10, "Instruction.CPUID", "CPUID"),
        (12, "Instruction.HLT", "HLT"),
        (30, "Instruction.IO", "IO"),
        (31, "Instruction.RDMSR", "RDMSR"),
        (32, "Instruction.WRMSR", "WRMSR"),
        (48, "#VE.RequestMMIO", "MMIO"),
        (54, "Instruction.WBINVD", "WBINVD"),
        (65, "Instruction.PCONFIG", "PCONFIG"),
        (0x10000, "GetTdVmCallInfo", "GetTdVmCallInfo"),
        (0x10001, "MapGPA", "MapGPA"),
        (0x10002, "GetQuote", "GetQuote"),
        (0x10003, "ReportFatalError", "ReportFatalError"),
        (0x10004, "SetupEventNotifyInterrupt", "SetupEventNotifyInterrupt"),
        (0x10005, "Service", "Service"),
        (0x10006, "MigTD", "MigTD"),
        (18, "0x12", "0x12"),
        (0x1_0000_000A, "0x10000000a", "0x10000000a"),
    ],
)
def test_leaves_are_compared_whole(r11: int, full: str, short: str) -> None:
    assert values.leaf_name(r11) == full
    assert values.leaf_short(r11) == short


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "KVM_HC_VAPIC_POLL_IRQ"),
        (5, "KVM_HC_KICK_CPU"),
        (9, "KVM_HC_CLOCK_PAIRING"),
        (10, "KVM_HC_SEND_IPI"),
        (11, "KVM_HC_SCHED_YIELD"),
        (12, "KVM_HC_MAP_GPA_RANGE"),
        (2, "0x2"),
        (1 << 63, "0x8000000000000000"),
    ],
)
def test_hypercalls(number: int, name: str) -> None:
    assert values.hypercall_name(number) == name


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0x10, "IA32_TIME_STAMP_COUNTER"),
        (0x1B, "IA32_APIC_BASE"),
        (0x8D, "IA32_SGXLEPUBKEYHASH1"),
        (0xC8, "IA32_PMC7"),
        (0x200, "IA32_MTRR_PHYSBASE0"),
        (0x203, "IA32_MTRR_PHYSMASK1"),
        (0x400, "IA32_MC0_CTL"),
        (0x405, "IA32_MC1_STATUS"),
        (0x584, "IA32_RTIT_ADDR2_A"),
        (0x6E0, "IA32_TSC_DEADLINE"),
        (0x817, "IA32_X2APIC_ISR7"),
        (0x830, "IA32_X2APIC_ICR"),
        (0x15FF, "IA32_LBR_255_FROM_IP"),
        (0x4B564D00, "MSR_KVM_WALL_CLOCK_NEW"),
        (0xC0000080, "IA32_EFER"),
        (0xC0000103, "IA32_TSC_AUX"),
        (0x12345, ""),
    ],
)
def test_msrs(index: int, name: str) -> None:
    assert values.msr_name(index) == name


@pytest.mark.parametrize(
    ("port", "name"),
    [
        (0x3F8, "COM1"),
        (0x3FD, "COM1"),
        (0x2F8, "COM2"),
        (0xCF8, "PCI CONFIG_ADDRESS"),
        (0xCF9, "reset control"),
        (0xCFC, "PCI CONFIG_DATA"),
        (0x608, "ACPI PM timer"),
        (0x70, "RTC index"),
        (0x71, "RTC data"),
        (0x510, "fw_cfg"),
        (0x9999, ""),
    ],
)
def test_ports(port: int, name: str) -> None:
    assert values.port_name(port) == name


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (77, "TDCALL (77)"),
        (0x0400004D, "TDCALL (77), bus lock detected"),
        (0x80000021, "INVALID_STATE (33), VM entry failed"),
        (48, "EPT_VIOLATION (48)"),
        (0x100, "exit reason 0x100 (256)"),
    ],
)
def test_exit_reasons(reason: int, text: str) -> None:
    assert values.exit_reason_text(reason) == text


@pytest.mark.parametrize(
    ("value", "text", "kind", "flags"),
    [
        (0x4D, "TDX_SUCCESS, TDCALL (77)", "exit reason", ()),
        (0x8000020000000092, "TDX_OPERAND_BUSY, SEPT_TREE", "operand", ("ERROR",)),
        (0x80000200000000A9, "TDX_OPERAND_BUSY, TD_EPOCH", "operand", ("ERROR",)),
        (0x80000200000000AC, "TDX_OPERAND_BUSY, OP_STATE", "operand", ("ERROR",)),
        (
            0x9000020000000092,
            "TDX_OPERAND_BUSY, SEPT_TREE",
            "operand",
            ("ERROR", "HOST_RECOVERABILITY_HINT"),
        ),
        (
            0xC000010000000001,
            "TDX_OPERAND_INVALID, RCX",
            "operand",
            ("ERROR", "NON_RECOVERABLE"),
        ),
        (
            0xC000010000000000,
            "TDX_OPERAND_INVALID, RAX or no operand",
            "operand",
            ("ERROR", "NON_RECOVERABLE"),
        ),
        (
            0xC000010000000045,
            "TDX_OPERAND_INVALID, CPUID_CONFIG",
            "operand",
            ("ERROR", "NON_RECOVERABLE"),
        ),
        (
            0xC0000B0800000001,
            "TDX_TLB_TRACKING_NOT_DONE, RCX",
            "operand",
            ("ERROR", "NON_RECOVERABLE"),
        ),
        (
            0x6000000280000021,
            "TDX_NON_RECOVERABLE_TD, INVALID_STATE (33), VM entry failed",
            "exit reason",
            ("NON_RECOVERABLE", "FATAL"),
        ),
        (
            0x4000000100000002,
            "TDX_NON_RECOVERABLE_VCPU, TRIPLE_FAULT (2)",
            "exit reason",
            ("NON_RECOVERABLE",),
        ),
        (
            0x4000000200000000,
            "TDX_NON_RECOVERABLE_TD, EXCEPTION_NMI (0)",
            "exit reason",
            ("NON_RECOVERABLE",),
        ),
        (
            0x6000000500000000,
            "TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE, EXCEPTION_NMI (0)",
            "exit reason",
            ("NON_RECOVERABLE", "FATAL"),
        ),
        (
            0xE000000700000001,
            "TDX_NON_RECOVERABLE_TD_WRONG_APIC_MODE, EXTERNAL_INTERRUPT (1)",
            "exit reason",
            ("ERROR", "NON_RECOVERABLE", "FATAL"),
        ),
        (0x8000000300000000, "TDX_INTERRUPTED_RESUMABLE", "", ("ERROR",)),
        (0x8000FF0000000000, "TDX_SW_ERROR", "software", ("ERROR",)),
        (0x8000FF00FFFF0000, "TDX_SEAMCALL_VMFAILINVALID", "software", ("ERROR",)),
        (0x8000FF0000000006, "TDX_SEAMCALL_UD", "software", ("ERROR",)),
        (0x8000FF000000000D, "TDX_SEAMCALL_GP", "software", ("ERROR",)),
        (
            0xC00009200000003B,
            "TDX_INCONSISTENT_MSR, MSR 0x3b IA32_TSC_ADJUST",
            "MSR",
            ("ERROR", "NON_RECOVERABLE"),
        ),
        (
            0xC0000921000001A0,
            "TDX_INCORRECT_MSR_VALUE, MSR 0x1a0 IA32_MISC_ENABLE",
            "MSR",
            ("ERROR", "NON_RECOVERABLE"),
        ),
        (0x00000B0A00000001, "TDX_PAGE_ALREADY_ACCEPTED, level 1 (2 MiB)", "level", ()),
        (0x9000020500000000, "TDX_HOST_PRIORITY_BUSY_TIMEOUT", "", None),
        (0xE000060400000000, "TDX_TD_FATAL", "", None),
        (0x4000004D, "TDX_SUCCESS, TDCALL (77)", "exit reason", ()),
        (0x0000003300000002, "TDX status 0x3300000000, 0x2", "detail", ()),
    ],
)
def test_statuses(value: int, text: str, kind: str, flags: tuple[str, ...] | None) -> None:
    status = values.tdx_status(value)
    assert status.text == text
    assert status.kind == kind
    if flags is not None:
        assert status.flags == flags


@pytest.mark.parametrize("upper", sorted(tdx_module.STATUS_NAMES))
def test_every_named_status_is_named(upper: int) -> None:
    status = values.tdx_status(upper | 1)
    if upper != tdx_module.SW_ERROR:
        assert status.name == tdx_module.STATUS_NAMES[upper]
    assert status.class_name == tdx_module.STATUS_CLASSES[upper >> 40 & 0xFF]


def test_a_status_says_what_it_carries() -> None:
    assert values.tdx_status(0x0400004D).exit_reason == 0x0400004D
    assert values.tdx_status(0x8000020000000092).exit_reason is None
    assert values.tdx_status(0x8000020000000092).is_error
    assert not values.tdx_status(0x00000B0A00000001).is_error


@given(U64)
def test_any_number_has_a_text(value: int) -> None:
    texts = [
        values.tdx_status(value).text,
        values.leaf_name(value),
        values.vendor_result(value),
        values.exit_reason_text(value & 0xFFFFFFFF),
        values.size_text(value),
        values.hypercall_name(value),
        values.errno_text(value),
        values.vector_name(value),
        values.intr_type_name(value),
        values.address(value),
        values.with_name(value, values.msr_name(value)),
    ]
    assert all(text and text.isascii() and text.isprintable() for text in texts)


@pytest.mark.parametrize(
    ("number", "text"), [(11, "EAGAIN (11)"), (22, "EINVAL (22)"), (9999, "9999")]
)
def test_errnos(number: int, text: str) -> None:
    assert values.errno_text(number) == text


@pytest.mark.parametrize(
    ("level", "size"), [(0, "4 KiB"), (1, "2 MiB"), (2, "1 GiB"), (3, "512 GiB"), (7, None)]
)
def test_levels(level: int, size: str | None) -> None:
    assert values.level_size(level) == (size or "no such level")
