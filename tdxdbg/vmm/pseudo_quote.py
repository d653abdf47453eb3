"""A quote of the right layout over an emulated TDREPORT, signed by nobody.

Layout: Intel TDX DCAP quote, version 4: a header of 48 bytes, the TD report
body of 584, the length of the signature data (u32) and these. The body is
copied from the TDREPORT; the vendor of the "QE" and the signature are text
that says what this is, so that no verifier accepts it and a person who looks
at the bytes knows why.
"""

from __future__ import annotations

from hashlib import sha384
from typing import Final

from tdxdbg.module.mr_report import EMULATED_MAC, REPORT_SIZE

VERSION: Final = 4
#: ECDSA-P256, which is what parsers of this version expect.
_KEY_TYPE: Final = 2
_TEE_TDX: Final = 0x81
VENDOR: Final = b"tdxdbg: EMULATED"
SIGNATURE: Final = b"tdxdbg: this quote comes from an emulator and nobody signed it  "

# Of the TDREPORT (see module/mr_report.py), in bytes.
_TDINFO_HASH: Final = slice(80, 128)
_REPORT_DATA: Final = slice(128, 192)
_MAC: Final = slice(224, 256)
_TCB: Final = slice(264, 384)
_TDINFO: Final = slice(512, 1024)
_TDINFO_MEASURED: Final = slice(512, 912)


def quote_of(report: bytes) -> bytes | None:
    """The quote over a TDREPORT; None for what is none of this TD, as it is unchanged."""
    if len(report) != REPORT_SIZE or report[0] != _TEE_TDX or report[_MAC] != EMULATED_MAC:
        return None
    if sha384(report[_TDINFO]).digest() != report[_TDINFO_HASH]:
        return None
    header = b"".join(
        (
            VERSION.to_bytes(2, "little"),
            _KEY_TYPE.to_bytes(2, "little"),
            _TEE_TDX.to_bytes(4, "little"),
            bytes(4),
            VENDOR,
            bytes(20),
        )
    )
    body = report[_TCB] + report[_TDINFO_MEASURED] + report[_REPORT_DATA]
    return header + body + len(SIGNATURE).to_bytes(4, "little") + SIGNATURE
