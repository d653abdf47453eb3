"""bzImages made by hand, sound and otherwise."""

from __future__ import annotations

from struct import pack_into
from typing import Final

#: Where a field is and how it is packed (Documentation/arch/x86/boot.rst).
_FIELDS: Final = {
    "setup_sects": (0x1F1, "<B"),
    "boot_flag": (0x1FE, "<H"),
    "jump": (0x201, "<B"),
    "magic": (0x202, "<4s"),
    "version": (0x206, "<H"),
    "loadflags": (0x211, "<B"),
    "code32_start": (0x214, "<I"),
    "initrd_addr_max": (0x22C, "<I"),
    "kernel_alignment": (0x230, "<I"),
    "relocatable_kernel": (0x234, "<B"),
    "min_alignment": (0x235, "<B"),
    "xloadflags": (0x236, "<H"),
    "cmdline_size": (0x238, "<I"),
    "payload_offset": (0x248, "<I"),
    "payload_length": (0x24C, "<I"),
    "pref_address": (0x258, "<Q"),
    "init_size": (0x260, "<I"),
    "kernel_info_offset": (0x268, "<I"),
}
#: What Debian's 6.12 has.
USUAL: Final[dict[str, int | bytes]] = {
    "setup_sects": 2,
    "boot_flag": 0xAA55,
    "jump": 0x6A,
    "magic": b"HdrS",
    "version": 0x020F,
    "loadflags": 1,
    "code32_start": 1 << 20,
    "initrd_addr_max": 0x7FFF_FFFF,
    "kernel_alignment": 2 << 20,
    "relocatable_kernel": 1,
    "min_alignment": 21,
    "xloadflags": 0x7F,
    "cmdline_size": 2047,
    "payload_offset": 0x2CC,
    "pref_address": 16 << 20,
    "init_size": 0x37E_E000,
    "kernel_info_offset": 0x1000,
}


def bzimage(packed: bytes = b"", size: int = 0, **changes: int | bytes) -> bytes:
    """One whose payload is `packed` and the `size` of what is in it; `changes` are to USUAL."""
    payload = packed + size.to_bytes(4, "little")
    fields = {**USUAL, "payload_length": len(payload), **changes}
    head = bytearray(3 * 512 + 0x2CC)
    for key, value in fields.items():
        at, form = _FIELDS[key]
        pack_into(form, head, at, value)
    return bytes(head) + payload + b"behind it"
