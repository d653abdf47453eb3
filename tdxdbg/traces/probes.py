"""What other sources than KVM's tracepoints tell: probes of KVM, logs and traces of a VMM.

The events of `kvm_text` and these are all that the joiner knows.
"""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.regs import Regs
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.state import Answer
from tdxdbg.traces import kvm_text


class ProbedExit(NamedTuple):
    """The TD has left: `regs` as a probe of KVM saw them, of which `known` are.

    `vcpu` is the vCPU's number, `ret` what TDH.VP.ENTER returned; None where
    the probe did not record it.
    """

    vcpu: int | None
    ret: int | None
    regs: Regs
    known: int


class ProbedEntry(NamedTuple):
    """The TD is about to be entered, with these registers."""

    vcpu: int | None
    regs: Regs
    known: int


class RunReturned(NamedTuple):
    """ioctl(KVM_RUN) came back, with what was seen of struct kvm_run.

    `run` is None where not even the exit reason was; `errno` is positive when
    it failed, and None when it failed with an errno that was not seen.
    """

    vcpu: int | None
    run: KvmRun | None
    errno: int | None = 0


class RunDetail(NamedTuple):
    """More of struct kvm_run at the last return of KVM_RUN, if it had this exit reason.

    `answer` is what userspace made of it.
    """

    run: KvmRun
    answer: Answer | None = None


class Converted(NamedTuple):
    """KVM_SET_MEMORY_ATTRIBUTES: `gpa` and `size` in bytes."""

    gpa: int
    size: int
    private: bool


Event = kvm_text.Event | ProbedExit | ProbedEntry | RunReturned | RunDetail | Converted
