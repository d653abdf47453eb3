"""Raw fields are the same events as the kernel's own text."""

from __future__ import annotations

from typing import Final

import pytest

from tdxdbg.traces import kvm_fields, kvm_text
from tdxdbg.traces.kvm_text import Entry, Exit, Hypercall, Mmio, Msr, PageFault, Pio, UserspaceExit
from tdxdbg.traces.probes import Event

PAIRS: Final[tuple[tuple[str, str, Event | None], ...]] = (
    (
        "kvm_exit",
        "exit_reason=77 guest_rip=0x0 isa=1 info1=0x000000000000fc00 info2=0x0000000000000005 "
        "intr_info=0x80000b0e error_code=0x0 vcpu_id=3 requests=0x0",
        Exit(3, 77, 0xFC00, 5, 0x80000B0E),
    ),
    # Before 5.10.
    (
        "kvm_exit",
        "exit_reason=48 guest_rip=0x0 isa=1 info1=184 info2=0",
        Exit(None, 48, 0x184, 0, 0),
    ),
    (
        "kvm_exit",
        "exit_reason=0x4d (77) info1=0xfc00 (64512) info2=0x0 (0)",
        Exit(None, 77, 0xFC00, 0, 0),
    ),
    ("kvm_exit", "exit_reason=4294967295 isa=1 info1=0x0 info2=0x0", Exit(None, None, 0, 0, 0)),
    ("kvm_exit", "exit_reason=57005 isa=1 info1=0x0 info2=0x0", Exit(None, None, 0, 0, 0)),
    ("kvm_exit", "exit_reason=77 isa=2 info1=0x1 info2=0x0", Exit(None, None, 1, 0, 0)),
    ("kvm_exit", "isa=1 info1=0x0 info2=0x0", None),
    ("kvm_entry", "vcpu_id=1 rip=0x0 immediate_exit=0", Entry(1)),
    ("kvm_userspace_exit", "reason=2 errno=0", UserspaceExit(2, 0)),
    ("kvm_userspace_exit", "reason=0x2 (2) errno=0x0 (0)", UserspaceExit(2, 0)),
    # What is left there of an earlier exit says nothing.
    ("kvm_userspace_exit", "reason=2 errno=-4", UserspaceExit(0, 4)),
    (
        "kvm_userspace_exit",
        "reason=10 errno=-4",
        UserspaceExit(10, 4),
    ),
    (
        "kvm_userspace_exit",
        "reason=0x27 (39) errno=0xfffffff2 (-14)",
        UserspaceExit(39, 14),
    ),
    ("kvm_userspace_exit", "reason=2", None),
    ("kvm_pio", "rw=1 port=0x3f8 size=1 count=1 val=0x41", Pio(True, 0x3F8, 1, 1, 0x41)),
    (
        "kvm_pio",
        "rw=0x0 (0) port=0xcfc (3324) size=0x4 (4) count=0x1 (1) val=0xdeadbeef (-559038737)",
        Pio(False, 0xCFC, 4, 1, 0xDEADBEEF),
    ),
    ("kvm_pio", "rw=1 port=3f8 size=1 val=54", Pio(True, 0x3F8, 1, 0, 0x54)),
    ("kvm_pio", "rw=1 port=0x3f8 size=3 count=1 val=0x41", None),
    ("kvm_pio", "rw=1 port=0x10000 size=1 count=1 val=0x41", None),
    ("kvm_mmio", "type=0 len=8 gpa=0xfed00000 val=0x0", Mmio("unsatisfied-read", 8, 0xFED00000, 0)),
    ("kvm_mmio", "type=1 len=4 gpa=0xfed00000 val=0x9", Mmio("read", 4, 0xFED00000, 9)),
    ("kvm_mmio", "type=2 len=1 gpa=0xfed00000 val=0x9", Mmio("write", 1, 0xFED00000, 9)),
    ("kvm_mmio", "type=3 len=1 gpa=0xfed00000 val=0x9", None),
    ("kvm_mmio", "type=2 len=9 gpa=0xfed00000 val=0x9", None),
    # The number of an MSR is hex without a sign of it, as the kernel prints it.
    ("kvm_msr", "write=0 ecx=10 data=0x410bea0a14f exception=0", Msr(False, 0x10, 0x410BEA0A14F)),
    ("kvm_msr", "write=0x1 (1) ecx=0x174 (372) data=0x8 (8) exception=(0)", Msr(True, 0x174, 8)),
    ("kvm_hypercall", "nr=0xb a0=0x1 a1=0x0 a2=0x0 a3=0xfd", Hypercall(11, (1, 0, 0, 0xFD))),
    (
        "kvm_page_fault",
        "vcpu_id=1 guest_rip=0x0 fault_address=0x10f000 error_code=0x2",
        PageFault(0x10F000),
    ),
    ("kvm_fpu", "load=1", None),
)


@pytest.mark.parametrize(("name", "text", "event"), PAIRS)
def test_raw_fields(name: str, text: str, event: Event | None) -> None:
    assert kvm_fields.raw(name.encode(), text.encode()) == event
    assert kvm_fields.raw(name.encode(), b"[FAILED TO PARSE] " + text.encode()) == event


NAMES: Final = (
    ("kvm_userspace_exit", "reason KVM_EXIT_IO (2)"),
    ("kvm_exit", "reason UNKNOWN (77) rip 0x0 info fc00 0"),
    ("kvm_exit", "vcpu 0 reason TDCALL rip 0x0 info1 0x0 info2 0x0"),
    ("kvm_entry", "vcpu 0, rip 0x0"),
    ("kvm_entry", "vcpu 0 rip 0x0"),
    ("kvm_page_fault", "vcpu 0 rip 0x0 address 0x0000000000100000 error_code 0x2"),
    ("kvm_page_fault", "address fee00000 error_code 6"),
    ("kvm_pio", "pio_write at 0x3f8 size 1 count 1 val 0x41"),
    ("kvm_mmio", "mmio read len 4 gpa 0x0 val 0x0"),
    ("kvm_msr", "msr_write dead = 0x0 (#GP)"),
    ("kvm_hypercall", "nr 0xb a0 0x1 a1 0x0 a2 0x0 a3 0xfd"),
    ("events without a name", "load"),
)


@pytest.mark.parametrize(("name", "text"), NAMES)
def test_texts_that_tell_their_event(name: str, text: str) -> None:
    assert kvm_text.name_of(text.encode()).decode() == name


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TDCALL", 77),
        ("0x4d", 77),
        ("UNKNOWN (77)", 77),
        ("UNKNOWN (4294967295)", None),
        ("EPT_VIOLATION FAILED_VMENTRY", 0x80000030),
        ("EXTERNAL_INTERRUPT 0x4000000", 0x4000001),
        ("0xffff FAILED_VMENTRY 0x7fff0000", None),
        ("0xdead", None),
        ("npf", None),
        ("EPT_VIOLATION what", None),
    ],
)
def test_reasons(text: str, number: int | None) -> None:
    event = kvm_text.parse(
        b"kvm_exit", f"vcpu 0 reason {text} rip 0x0 info1 0x0 info2 0x0".encode()
    )
    assert event == Exit(0, number, 0, 0, 0)
