import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.ghci import SUB_FUNCTION_NAMES
from tdxdbg.abi.regs import REG_NAMES, Regs
from tdxdbg.decode.tdvmcall import PURPOSE, SUB_FUNCTIONS
from tdxdbg.decode.tree import decode_exit, decode_registers
from tdxdbg.engine import Td, TdExit
from tdxdbg.filters import compile_filter
from tests.decode.trees import MIB, SHARED48, SHARED52, call, find, rows, walk

U64 = st.integers(0, (1 << 64) - 1)
TD52 = Td(gpaw=52)

#: The sample of facts ghci_and_guest 2.3.
LINUX_PANIC = {
    "r12": 0,
    "r14": 0x6F6373696D204454,
    "r15": 0x746172756769666E,
    "rbx": 0x504553203A6E6F69,
    "rdi": 0x6168204556232054,
    "rsi": 0x206562206F742073,
    "r8": 0x64656C6261736964,
}


def test_tables_are_complete() -> None:
    assert set(SUB_FUNCTIONS) == set(SUB_FUNCTION_NAMES) == set(PURPOSE)


@pytest.mark.parametrize(
    ("exit_", "td", "expected"),
    [
        (
            call(0x10001, r12=SHARED52 | 0x40000000, r13=8 * MIB),
            TD52,
            {
                "call type (R10)": ("0x0", "standard GHCI call"),
                "GPA (R12)": ("0x8000040000000", "0x40000000, shared"),
                "size (R13)": ("0x800000", "8 MiB, 4 chunks of 2 MiB"),
                "end": ("0x8000040800000", "last byte 0x407fffff without the shared bit"),
            },
        ),
        (
            call(0x10001, r12=0x40000000, r13=5 * MIB),
            Td(),
            {
                "GPA (R12)": ("0x40000000", "0x40000000, private"),
                "size (R13)": ("0x500000", "5 MiB, 3 chunks of 2 MiB"),
            },
        ),
        (
            call(0x10001, r12=0x1001, r13=0x1001),
            Td(),
            {
                "GPA (R12)": ("0x1001", "0x1001, private, not a multiple of 4 KiB"),
                "size (R13)": ("0x1001", "4097 bytes, 1 chunk of 2 MiB, not a multiple of 4 KiB"),
            },
        ),
        (call(0x10001, r12=0x1000), Td(), {"end": ("0x1000", "empty range")}),
        (
            call(0x10001, r12=2**64 - 4096, r13=8192),
            Td(),
            {"end": ("0x1000", "the range wraps")},
        ),
        (
            call(0x10001, r12=SHARED48 - 4096, r13=8192),
            Td(),
            {"end": ("0x800000001000", "the range crosses the shared bit")},
        ),
        (
            call(30, r12=1, r13=1, r14=0x3F8, r15=0x48),
            Td(),
            {
                "size (R12)": ("0x1", "1 byte"),
                "direction (R13)": ("0x1", "out"),
                "port (R14)": ("0x3f8", "COM1"),
                "value (R15)": ("0x48", "'H'"),
            },
        ),
        (
            call(30, r12=3, r13=2, r14=0x103F8, r15=0x1FF),
            Td(),
            {
                "size (R12)": ("0x3", "not 1, 2 or 4"),
                "direction (R13)": ("0x2", "neither 0 (in) nor 1 (out)"),
                "port (R14)": ("0x103f8", "KVM uses 0x3f8 COM1"),
            },
        ),
        (
            call(30, r12=1, r13=0, r14=0x99, r15=7),
            Td(),
            {"direction (R13)": ("0x0", "in"), "value (R15)": ("0x7", "not used by a read")},
        ),
        (
            call(30, r12=1, r13=1, r14=0x99, r15=0x148),
            Td(),
            {"value (R15)": ("0x148", "'H', bits above 7 are set and ignored")},
        ),
        (
            call(48, r12=4, r13=1, r14=SHARED48 | 0xFEC00000, r15=0x10),
            Td(),
            {
                "size (R12)": ("0x4", "4 bytes"),
                "direction (R13)": ("0x1", "write"),
                "GPA (R14)": ("0x8000fec00000", "0xfec00000, shared"),
                "value (R15)": ("0x10", ""),
            },
        ),
        (
            call(48, r12=0x1_0000_0004, r13=0, r14=0xFEC00000),
            Td(),
            {
                "size (R12)": ("0x100000004", "4 bytes"),
                "GPA (R14)": ("0xfec00000", "0xfec00000, private"),
            },
        ),
        (call(48, r12=3), Td(), {"size (R12)": ("0x3", "not 1, 2, 4 or 8")}),
        (
            call(10, r12=0x40000001, r13=2),
            Td(),
            {
                "leaf (EAX) (R12)": ("0x40000001", "hypervisor leaf"),
                "sub-leaf (ECX) (R13)": ("0x2", ""),
            },
        ),
        (call(12), Td(), {"interrupts blocked (R12)": ("0x0", "interrupts enabled")}),
        (call(12, r12=1), Td(), {"interrupts blocked (R12)": ("0x1", "interrupts blocked")}),
        (call(31, r12=0x1B), Td(), {"MSR (R12)": ("0x1b", "IA32_APIC_BASE")}),
        (
            call(32, r12=0x830, r13=0xFD),
            Td(),
            {"MSR (R12)": ("0x830", "IA32_X2APIC_ICR"), "value (R13)": ("0xfd", "")},
        ),
        (call(54, r12=1), Td(), {"instruction (R12)": ("0x1", "WBNOINVD")}),
        (call(65, r12=1), Td(), {"operand (R12)": ("0x1", "")}),
        (call(0x10000), Td(), {"leaf (R12)": ("0x0", "are the base calls there")}),
        (call(0x10000, r12=9), Td(), {"leaf (R12)": ("0x9", "not a leaf of the GHCI")}),
        (
            call(0x10002, r12=SHARED48 | 0x5000, r13=0x2000),
            Td(),
            {
                "buffer GPA (R12)": ("0x800000005000", "0x5000, shared"),
                "buffer size (R13)": ("0x2000", "8 KiB"),
            },
        ),
        (call(0x10004, r12=0x40), Td(), {"vector (R12)": ("0x40", "vector 0x40")}),
        (call(0x10004, r12=31), Td(), {"vector (R12)": ("0x1f", "not in 32..255")}),
        (
            call(0x10005, r12=SHARED48, r13=SHARED48 | 0x1000),
            Td(),
            {
                "command GPA (R12)": ("0x800000000000", "0x0, shared"),
                "response GPA (R13)": ("0x800000001000", "0x1000, shared"),
                "notify vector (R14)": ("0x0", "blocking call"),
                "timeout (R15)": ("0x0", "infinite"),
            },
        ),
        (
            call(0x10006, r12=0x10002, rdi=0x30),
            Td(),
            {
                "function (R12)": ("0x10002", "ReportStatus, version 1"),
                "vector (RDI)": ("0x30", ""),
            },
        ),
        (call(0x10006, r12=9), Td(), {"function (R12)": ("0x9", "unknown function, version 0")}),
        (call(18, r12=0x77), Td(), {"R12": ("0x77", "")}),
        (
            call(0x1000, r10=12, r12=16, r13=0x10),
            Td(),
            {
                "call type (R10)": (
                    "0xc",
                    "vendor-specific: KVM reads it as a hypercall number",
                ),
                "GPA (R11)": ("0x1000", ""),
                "pages (R12)": ("0x10", "64 KiB"),
                "attributes (R13)": ("0x10", "ENCRYPTED: private"),
            },
        ),
        (
            call(1, r10=12, r12=16, r13=0x21),
            Td(),
            {
                "GPA (R11)": ("0x1", "not a multiple of 4 KiB"),
                "attributes (R13)": ("0x21", "DECRYPTED: shared, 2 MiB pages, other bits 0x20"),
            },
        ),
        (call(3, r10=5), Td(), {"a0 (R11)": ("0x3", "")}),
    ],
)
def test_operands(exit_: TdExit, td: Td, expected: dict[str, tuple[str, str]]) -> None:
    found = rows(decode_exit(exit_, td=td))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("exit_", "name", "raw", "meaning"),
    [
        (
            call(0x10001),
            "TDG.VP.VMCALL<MapGPA>",
            "R11=0x10001",
            "convert pages between private and shared",
        ),
        (
            call(0x1_0000_000A),
            "TDG.VP.VMCALL<0x10000000a>",
            "R11=0x10000000a",
            "a sub-function that the GHCI does not define",
        ),
        (
            call(0, r10=12),
            "TDG.VP.VMCALL<KVM_HC_MAP_GPA_RANGE>",
            "R10=0xc",
            "KVM hypercall by TDVMCALL",
        ),
        (
            call(0, r10=0x77),
            "TDG.VP.VMCALL<0x77>",
            "R10=0x77",
            "no KVM hypercall has this number",
        ),
        (
            call(0, rcx=0x0D04, r10=0x5D),
            "TDG.VP.VMCALL<0x5d>",
            "R10=0x5d",
            "a Hyper-V hypercall by its RCX bitmap: R10 control word, RDX and R8 GPAs",
        ),
    ],
)
def test_titles(exit_: TdExit, name: str, raw: str, meaning: str) -> None:
    tree = decode_exit(exit_)
    assert (tree.name, tree.raw, tree.meaning) == (name, raw, meaning)


# --- ReportFatalError -------------------------------------------------------------------


def fatal(**regs: int) -> TdExit:
    return call(0x10003, **regs)


@pytest.mark.parametrize(
    ("exit_", "text"),
    [
        (fatal(**LINUX_PANIC), "TD misconfiguration: SEPT #VE has to be disabled"),
        (fatal(), ""),
        (fatal(rdx=0x41), "\\x00" * 56 + "A"),
        (fatal(r14=0x1B5B33316D), "m13[\\x1b"),
        (fatal(rcx=0xFC00, r14=0x42), "B"),
        # A register that is not selected is left out: the text closes up.
        (fatal(rcx=0xFC00 & ~(1 << 14), r14=0x4141, r15=0x42), "B"),
        (fatal(rcx=0xFFCC, r14=int.from_bytes(b"\\[x]\xff\x9b\x7f\0", "little")),
         "\\\\[x]\\xff\\x9b\\x7f"),
    ],
)  # fmt: skip
def test_fatal_text(exit_: TdExit, text: str) -> None:
    assert find(decode_exit(exit_), "text").meaning == text


def test_fatal_error_word() -> None:
    tree = decode_exit(fatal(r12=1 << 63 | 0x0BAAAAAD << 32 | 3, r13=SHARED48 | 0x7000))
    word = rows(find(tree, "error code (R12)"))
    assert word["code (31:0)"] == ("0x3", "reserved by the GHCI")
    assert word["extended code (62:32)"] == ("0xbaaaaad", "")
    assert word["GPA valid (63)"] == ("1", "R13 is the GPA of a text page")
    assert find(tree, "text page (R13)").meaning == "0x7000, shared"
    assert find(decode_exit(fatal()), "code (31:0)").meaning == "panic"
    assert find(decode_exit(fatal()), "text page (R13)").meaning == "not used"


def test_fatal_text_of_which_a_piece_is_missing() -> None:
    known = 0xFFFF & ~(1 << REG_NAMES.index("rdi"))
    assert find(decode_exit(fatal(**LINUX_PANIC), known), "text").meaning == "not recorded"


# --- RCX, hidden and unknown ------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "meaning"),
    [
        (0xFFCC, "RDX RBX RSI RDI R8..R15 (as Linux and EDK2)"),
        (0xFC00, "R10 R11 R12 R13 R14 R15 (as older Linux and td-shim)"),
        (0x0D04, "RDX R8 R10 R11 (as a Hyper-V hypercall)"),
        (0x3C00, "R10 R11 R12 R13"),
        (0xFF00, "R8..R15"),
        (0, "none"),
    ],
)
def test_rcx(mask: int, meaning: str) -> None:
    row = find(decode_exit(call(10, rcx=mask)), "RCX bitmap")
    assert (row.raw, row.meaning) == (hex(mask), meaning)


@pytest.mark.parametrize(
    ("mask", "illegal", "names"),
    [
        (0xFFCD, "0x1", "RAX"),
        (0xFFCE, "0x2", "RCX"),
        (0xFFDC, "0x10", "RSP"),
        (0xFFEC, "0x20", "RBP (NO_RBP_MOD)"),
        (0x10_0000_FFCC, "0x1000000000", "bits 63:34"),
        (0xFFCC | 0x33, "0x33", "RAX RCX RSP RBP (NO_RBP_MOD)"),
    ],
)
def test_rcx_bits_that_the_module_refuses(mask: int, illegal: str, names: str) -> None:
    row = find(decode_exit(call(10, rcx=mask)), "illegal bits")
    assert row.raw == illegal
    assert row.meaning.startswith(f"{names}: the TDX module refuses")


def test_rcx_of_an_l2_vm_with_xmm() -> None:
    tree = decode_exit(call(10, rcx=0x1_8001_FFCC))
    assert find(tree, "VM (bits 33:32)").raw == "1"
    assert find(tree, "XMM").meaning == "XMM0 XMM15"
    assert not [node for node in walk(tree) if node.name == "illegal bits"]


def test_registers_that_rcx_leaves_out_are_hidden() -> None:
    tree = decode_exit(call(0x10001, rcx=0x0C00))
    assert rows(tree)["GPA (R12)"] == (
        "0x0",
        "hidden: RCX bit 12 is clear, so KVM reads 0",
    )
    assert find(decode_exit(call(10, rcx=0)), "not selected").meaning.startswith("R10 and R11")


@pytest.mark.parametrize(
    ("known", "name", "row"),
    [
        (0xFFFF & ~(1 << 12), "GPA (R12)", ("?", "not recorded")),
        (0xFFFF & ~(1 << 13), "size (R13)", ("?", "not recorded")),
        (0xFFFF & ~2, "RCX bitmap", ("?", "not recorded: which registers are hidden is unknown")),
        (0xFFFF & ~(1 << 10), "call type (R10)", ("?", "not recorded")),
        (0xFFFF & ~(1 << 11), "R12", ("0x800000001000", "")),
    ],
)
def test_registers_that_nobody_recorded(known: int, name: str, row: tuple[str, str]) -> None:
    exit_ = call(0x10001, r12=SHARED48 | 0x1000, r13=0x1000)
    assert rows(decode_exit(exit_, known))[name] == row
    # The mask of the exit itself counts as well.
    assert rows(decode_exit(exit_._replace(known=known)))[name] == row


def test_a_hidden_register_needs_no_recording() -> None:
    tree = decode_exit(call(0x10001, rcx=0x0C00), 0xFFFF & ~(1 << 12))
    assert rows(tree)["GPA (R12)"][0] == "0x0"


@given(st.builds(Regs, *[U64] * 16), U64, st.sampled_from([48, 52]))
def test_anything_decodes_to_printable_rows_with_valid_filters(
    regs: Regs, known: int, gpaw: int
) -> None:
    tree = decode_exit(TdExit(0, 77, regs), known, Td(gpaw=gpaw))
    for node in walk(tree):
        assert all(text.isascii() for text in node[:3])
        assert all(text.isprintable() for text in node[:3])


@pytest.mark.parametrize("leaf", [*SUB_FUNCTION_NAMES, 18, 1 << 40])
@pytest.mark.parametrize("r10", [0, 12, 99])
def test_every_filter_compiles(leaf: int, r10: int) -> None:
    regs = dict.fromkeys(("r12", "r13", "r14", "r15"), SHARED48 | 0x1000)
    tree = decode_exit(call(leaf, r10=r10, **regs))
    filters = [node.filter for node in walk(tree) if node.filter]
    assert filters
    for text in filters:
        assert compile_filter(text).fields


# --- registers that somebody typed ------------------------------------------------------


def test_typed_registers() -> None:
    tree = decode_registers({"r11": 0x10001, "r12": SHARED48, "r13": 4096})
    assert tree.name == "TDG.VP.VMCALL<MapGPA>"
    assert rows(tree)["RCX bitmap"][0] == "?"
    assert rows(tree)["GPA (R12)"] == ("0x800000000000", "0x0, shared")
    assert decode_registers({"r10": 12}).name == "TDG.VP.VMCALL<KVM_HC_MAP_GPA_RANGE>"
    assert decode_registers({"rcx": 0xFFCC}).meaning.endswith("R10 not recorded")
    assert decode_registers({"r8": 0x1000, "rcx": 2}, 48).name == "EPT violation"
    with pytest.raises(KeyError):
        decode_registers({"rip": 1})
