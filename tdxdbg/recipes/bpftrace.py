"""A bpftrace program that prints a line for each exit, reply and return to userspace.

Facts: kvm_and_traces B3. Not run on TDX hardware.
"""

from __future__ import annotations

from typing import Final

from tdxdbg.recipes.host import REGISTERS

#: 64-bit words of kvm_run's union that are printed.
UNION_WORDS: Final = 8

_PROGRAM: Final = """\
#!/usr/bin/env bpftrace
// Records each TD exit (X) and reply (R) with all registers that the guest exposed, and each
// return of KVM_RUN (U) with the head of kvm_run's union, as text that tdxdbg opens:
//     bpftrace THIS_FILE > td.txt    or    bpftrace -f json THIS_FILE > td.jsonl
//
// Needs: Linux 6.16 or later with BTF, bpftrace 0.21 or later (types of modules), root.
// Overhead: an estimate is 1 to 2 us an exit, which was not measured. Not run on TDX hardware.
// Gaps: RAX, RBP, RSP, RIP and XMM registers; registers outside of the guest's mask (RCX) are
// 0; a reply counts only after a TDVMCALL; of kvm_run's 256 bytes only the first {bytes}; when
// bpftrace says that events were lost, exits are missing there.
{probes}
fexit:kvm:kvm_arch_vcpu_ioctl_run
{{
    $run = args.vcpu->run;
    $u = (uint64 *)&$run->hypercall;
    printf("U %llu %d %d %u %d{formats}\\n",
        nsecs, tid, args.vcpu->vcpu_id, $run->exit_reason, retval,
        {words});
}}
"""

_PROBE: Final = """\

fentry:kvm_intel:{function}
{{
    $t = (struct vcpu_tdx *)args.vcpu;
    $a = $t->vp_enter_args;
    printf("{letter} %llu %d %d %d %llx{formats}\\n",
        nsecs, cpu, tid, $t->vcpu.vcpu_id, $t->vp_enter_ret,
        {registers});
}}
"""

#: What a line begins with, and the function at whose entry it is printed.
PROBES: Final = (("X", "tdx_handle_exit"), ("R", "tdx_vcpu_run"))


def program() -> str:
    """The program; bpftrace takes the offsets out of the host's BTF by itself."""
    probes = "".join(
        _PROBE.format(
            letter=letter,
            function=function,
            formats=" %llx" * len(REGISTERS),
            registers=", ".join(f"$a.{name}" for name in REGISTERS),
        )
        for letter, function in PROBES
    )
    return _PROGRAM.format(
        bytes=8 * UNION_WORDS,
        probes=probes,
        formats=" %llx" * UNION_WORDS,
        words=", ".join(f"$u[{at}]" for at in range(UNION_WORDS)),
    )
