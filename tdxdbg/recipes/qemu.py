"""QEMU's own trace log of what a TD makes it do (facts: kvm_and_traces B2)."""

from __future__ import annotations

from typing import Final

#: The events that say something of a TD's exits.
EVENTS: Final = (
    "kvm_run_exit", "kvm_run_exit_system_event", "kvm_memory_fault", "kvm_convert_memory",
    "kvm_hc_map_gpa_range", "kvm_set_user_memory", "tdx_handle_reset",
)  # fmt: skip

_TEXT: Final = """\
# Options for qemu-system-x86_64 that record its exits as text that tdxdbg opens. No root,
# and no new kernel; add them to the command line of the VM:

{options}
    -msg timestamp=on -D td.qemu.log

# Needs: a QEMU whose trace backend is "log" (its default). Without -msg timestamp=on there are
# neither times nor threads in it. An event that this QEMU does not have is refused when it
# starts: take that option away.
# Overhead: a line of text an exit to userspace; not measured.
# Gaps: no registers at all, nothing that KVM handles itself, no arguments of most exits:
# GetQuote, ReportFatalError and I/O show their reason only.
"""


def options() -> str:
    """The options, with what they need and leave out as comments."""
    lines = "\n".join(f"    -trace {name} \\" for name in EVENTS)
    return _TEXT.format(options=lines)
