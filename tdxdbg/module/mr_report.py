"""TDG.MR.REPORT: a TDREPORT of the right layout that no verifier accepts.

The 1024 bytes are REPORTMACSTRUCT (256), TEE_TCB_INFO (239), 17 reserved,
TDINFO (512). Everything about the TD is as on hardware: attributes, XFAM,
measurements, REPORTDATA and the two hashes. What only hardware can say is
empty (CPUSVN 0, TEE_TCB_INFO.VALID 0: no field of it is populated), and the
32 bytes of the MAC, which cannot be computed without the CPU's key, are the
text `EMULATED_MAC`: that is how a report is known as emulated.
"""

from __future__ import annotations

from hashlib import sha384
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.regs import R8, RCX, RDX
from tdxdbg.module.done import Done
from tdxdbg.module.operand import gpa_is_valid, invalid, violation
from tdxdbg.module.results import RETRY, Guest, Result
from tdxdbg.module.state import NO_MEASUREMENT, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

REPORT_SIZE: Final = 1024
REPORT_DATA_SIZE: Final = 64
EMULATED_MAC: Final = b"tdxdbg: emulated, not a real MAC"

#: TEE type TDX, sub-type 0, version 0 (no service TD bound).
_REPORT_TYPE: Final = bytes((0x81, 0, 0, 0))
_CPUSVN: Final = bytes(16)
_TEE_TCB_INFO: Final = bytes(239)
_TEE_TCB_INFO_HASH: Final = sha384(_TEE_TCB_INFO).digest()


def tdinfo(module: TdxModule) -> bytes:
    """TDINFO, 512 bytes: what the report says of the TD."""
    params = module.params
    return b"".join(
        (
            params.attributes.to_bytes(8, "little"),
            params.xfam.to_bytes(8, "little"),
            params.mrtd,
            params.mrconfigid,
            params.mrowner,
            params.mrownerconfig,
            *module.td.rtmrs,
            NO_MEASUREMENT,  # SERVTD_HASH
            bytes(64),
        )
    )


def report(module: TdxModule, report_data: bytes) -> bytes:
    """The TDREPORT over 64 bytes of REPORTDATA."""
    info = tdinfo(module)
    mac_struct = b"".join(
        (
            _REPORT_TYPE,
            bytes(12),
            _CPUSVN,
            _TEE_TCB_INFO_HASH,
            sha384(info).digest(),
            report_data,
            bytes(32),
            EMULATED_MAC,
        )
    )
    return mac_struct + _TEE_TCB_INFO + bytes(17) + info


def mr_report(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done | Result:
    """Write the report to RCX, over the REPORTDATA at RDX; both may be shared."""
    regs = guest.regs
    target, source = regs[RCX], regs[RDX]
    if target % REPORT_SIZE:
        return Done(invalid(status.OPERAND_RCX), regs)
    if source % REPORT_DATA_SIZE or not gpa_is_valid(module.params, source, private_only=False):
        return Done(invalid(status.OPERAND_RDX), regs)
    stopped = violation(module, vcpu, guest, source, write=False)
    if stopped is not None:
        return stopped
    if regs[R8]:
        return Done(invalid(status.OPERAND_R8), regs)
    if _hash_takes_time(module, guest):
        return RETRY
    if not gpa_is_valid(module.params, target, private_only=False):
        return Done(invalid(status.OPERAND_RCX), regs)
    stopped = violation(module, vcpu, guest, target, write=True)
    if stopped is not None:
        return stopped
    data = module.memory.read_gpa(source, REPORT_DATA_SIZE)
    module.memory.write_gpa(target, report(module, data))
    return Done(status.SUCCESS, regs)


def _hash_takes_time(module: TdxModule, guest: Guest) -> bool:
    """The interruption point: only where TEE_INFO_HASH was not cached."""
    cached = module.td.tee_info_valid
    module.td.tee_info_valid = True
    return guest.interrupt_pending and not cached
