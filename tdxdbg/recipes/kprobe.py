"""Kprobe events that print all registers of a TDVMCALL, and of the reply to it.

TDH.VP.ENTER itself cannot be probed (noinstr), so the probes are at the
functions before and behind it (facts: kvm_and_traces B3). Not run on TDX
hardware.
"""

from __future__ import annotations

from typing import Final

from tdxdbg.recipes.host import REGISTERS, Offsets

#: Event and the function whose entry is probed; the vCPU is its first argument.
PROBES: Final = (("exit", "tdx_handle_exit"), ("reply", "tdx_vcpu_run"))
#: The group of the events.
GROUP: Final = "tdx"
#: KVM's own events that say what userspace got and gave.
KVM_EVENTS: Final = (
    "kvm_userspace_exit", "kvm_entry", "kvm_pio", "kvm_mmio", "kvm_msr", "kvm_hypercall",
)  # fmt: skip

_SCRIPT: Final = """\
#!/bin/sh
# Records each TD exit with all registers that the guest exposed, and each reply,
# as tracefs text that tdxdbg opens: sh THIS_SCRIPT [FILE], as root, on the TDX host.
# It ends with Ctrl-C, and takes its probes away.
#
# Needs: Linux 6.16 or later with kvm_intel as a module, CONFIG_KPROBE_EVENTS, tracefs.
# Overhead: two kprobes and a few trace events an exit; an estimate is 1 to 2 us an
# exit, which was not measured. Not run on TDX hardware.
# Gaps: RAX, RBP, RSP, RIP and XMM registers; registers outside of the guest's mask
# (RCX) are 0; a reply counts only after a TDVMCALL; exits that KVM handles before
# tdx_handle_exit() are not seen; what userspace wrote into kvm_run is seen by its effect.
set -eu
out=${{1:-td.ftrace.txt}}
tracing=${{TRACING:-/sys/kernel/tracing}}
dir=$tracing/instances/tdxdbg

{offsets}
stop() {{
    trap - EXIT INT TERM
    echo 0 > "$dir/tracing_on" || true
    echo 0 > "$dir/events/enable" || true
    [ -z "${{reader:-}}" ] || kill "$reader" 2>/dev/null || true
    wait
    rmdir "$dir" || true
    for name in {names}; do echo "-:{group}/$name" >> "$tracing/kprobe_events" || true; done
    exit 0
}}

mkdir -p "$dir"
trap stop EXIT INT TERM
{probes}
for name in {names}; do echo 1 > "$dir/events/{group}/$name/enable"; done
for name in {events}; do echo 1 > "$dir/events/kvm/$name/enable"; done
cat "$dir/trace_pipe" > "$out" &
reader=$!
echo "recording to $out; Ctrl-C ends it" >&2
wait "$reader"
"""

_BY_PAHOLE: Final = """\
# No BTF was at hand when this was printed, so pahole reads it here.
btf() {
    pahole -C "$1" --btf_base /sys/kernel/btf/vmlinux /sys/kernel/btf/kvm_intel |
        awk -v name="$2" '{ for (i = 1; i < NF; i++) if ($i == name ";") print $(NF-2) }'
}
vcpu=$(btf kvm_vcpu vcpu_id)
ret=$(btf vcpu_tdx vp_enter_ret)
args=$(btf vcpu_tdx vp_enter_args)
: "${vcpu:?}" "${ret:?}" "${args:?}"
"""


def script(offsets: Offsets | None) -> str:
    """The shell script; without offsets it finds them itself, with pahole."""
    if offsets is None:
        head = _BY_PAHOLE
        places = [f"$((args+{8 * at}))" for at in range(len(REGISTERS))]
        fields = _fields("$vcpu", "$ret", places)
    else:
        head = f"# Offsets by {offsets.source}; another kernel has others.\n"
        places = [str(at) for at in offsets.registers]
        fields = _fields(str(offsets.vcpu_id), str(offsets.vp_enter_ret), places)
    probes = "\n".join(
        f'echo "p:{GROUP}/{event} kvm_intel:{function} {fields}" >> "$tracing/kprobe_events"'
        for event, function in PROBES
    )
    return _SCRIPT.format(
        offsets=head,
        names=" ".join(event for event, _ in PROBES),
        events=" ".join(KVM_EVENTS),
        group=GROUP,
        probes=probes,
    )


def _fields(vcpu: str, ret: str, places: list[str]) -> str:
    """What a probe prints: NAME=+OFFSET(%di):TYPE; RDI holds the first argument."""
    registers = (f"{name}=+{place}(%di):x64" for name, place in zip(REGISTERS, places, strict=True))
    return " ".join((f"vcpu=+{vcpu}(%di):s32", f"ret=+{ret}(%di):x64", *registers))
