"""BTF made by hand, as far as a reader of offsets looks."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

#: Name, number of the type, place in bits.
Members = Sequence[tuple[str, int, int]]


class Maker:
    """Types are numbered in the order in which they are made; `base` is a Maker of vmlinux."""

    def __init__(self, base: Maker | None = None) -> None:
        self._next: int = base._next if base is not None else 1
        self._strings_from: int = base._strings_end if base is not None else 0
        self._strings = bytearray(b"" if base is not None else b"\0")
        self._types = bytearray()

    @property
    def _strings_end(self) -> int:
        return self._strings_from + len(self._strings)

    def _string(self, text: str) -> int:
        if not text:
            return 0
        at = self._strings_end
        self._strings += text.encode() + b"\0"
        return at

    def _add(self, name: str, kind: int, vlen: int, last: int, extra: bytes, flag: bool) -> int:
        info = kind << 24 | vlen | flag << 31
        self._types += struct.pack("<III", self._string(name), info, last) + extra
        self._next += 1
        return self._next - 1

    def integer(self, name: str, size: int) -> int:
        return self._add(name, 1, 0, size, struct.pack("<I", size * 8), False)

    def struct(self, name: str, size: int, members: Members, *, kind: int = 4) -> int:
        extra = b"".join(
            struct.pack("<III", self._string(member), number, bits)
            for member, number, bits in members
        )
        return self._add(name, kind, len(members), size, extra, False)

    def bitfields(self, name: str, size: int, members: Mapping[str, tuple[int, int, int]]) -> int:
        """With the flag that says that places hold the number of bits too."""
        extra = b"".join(
            struct.pack("<III", self._string(member), number, width << 24 | bits)
            for member, (number, bits, width) in members.items()
        )
        return self._add(name, 4, len(members), size, extra, True)

    def qualified(self, kind: int, number: int, name: str = "") -> int:
        return self._add(name, kind, 0, number, b"", False)

    def data(self) -> bytes:
        head = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self._types), len(self._types), len(self._strings)
        )
        return head + bytes(self._types) + bytes(self._strings)


def host(vcpu_id: int = 36, ret: int = 9000, args: int = 8800) -> tuple[bytes, bytes]:
    """BTF of vmlinux and of kvm_intel of a host with TDX."""
    kernel = Maker()
    number = kernel.integer("int", 4)
    word = kernel.integer("unsigned long long", 8)
    u64 = kernel.qualified(8, kernel.qualified(8, word, "__u64"), "u64")
    kernel.struct("kvm_vcpu", 8000, [("kvm", word, 0), ("vcpu_id", number, 8 * vcpu_id)])
    names = ("rcx", "rdx", *(f"r{number}" for number in range(8, 16)), "rbx", "rdi", "rsi")
    registers = kernel.struct(
        "tdx_module_args", 8 * len(names), [(name, u64, 64 * at) for at, name in enumerate(names)]
    )
    module = Maker(kernel)
    module.struct("kvm_tdx", 8, [("kvm", u64, 0)])
    const = module.qualified(10, u64)
    inner = module.struct("", 16, [("before", u64, 0), ("vp_enter_ret", const, 64)], kind=5)
    module.struct(
        "vcpu_tdx", 9100, [("vp_enter_args", registers, 8 * args), ("", inner, 8 * (ret - 8))]
    )
    return kernel.data(), module.data()
