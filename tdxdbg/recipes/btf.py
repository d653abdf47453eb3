"""Offsets of struct members out of a kernel's BTF, as /sys/kernel/btf shows it.

Layout of the format: include/uapi/linux/btf.h. A module's BTF continues that of
vmlinux: its type numbers and string offsets go on where those end. Only what
structs are made of is looked at.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final, NamedTuple

from tdxdbg.errors import BackendError

_MAGIC: Final = 0xEB9F
#: magic, version, flags, hdr_len, type_off, type_len, str_off, str_len
_HEADER: Final = Struct("<HBBIIIII")
#: struct btf_type: name_off, info, size or type
_TYPE: Final = Struct("<III")
#: struct btf_member: name_off, type, offset
_MEMBER: Final = Struct("<III")

_STRUCT: Final = 4
_UNION: Final = 5
_TYPEDEF: Final = 8
#: VOLATILE, CONST, RESTRICT and TYPE_TAG: the type behind them is the same.
_QUALIFIERS: Final = (_TYPEDEF, 9, 10, 11, 18)
#: Bytes behind struct btf_type by kind: fixed, and for each of `vlen` items.
_EXTRA: Final = {
    1: (4, 0), 2: (0, 0), 3: (12, 0), _STRUCT: (0, 12), _UNION: (0, 12), 6: (0, 8),
    7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0), 11: (0, 0), 12: (0, 0), 13: (0, 8),
    14: (4, 0), 15: (0, 12), 16: (0, 0), 17: (4, 0), 18: (0, 0), 19: (0, 12),
}  # fmt: skip
#: Qualifiers that are followed from one type to the next.
_LONGEST: Final = 16


class Member(NamedTuple):
    """A struct's member: its place in bytes, and the number of its type."""

    offset: int
    type: int


class Btf:
    """The types of vmlinux, or with `base` those of a module on top of it."""

    def __init__(self, data: bytes, name: str = "BTF", base: Btf | None = None) -> None:
        """Raises BackendError when `data` is no BTF."""
        self.name = name
        self._data = data
        self._base = base
        self._first_type = base.types if base is not None else 1
        self._first_string = base.string_end if base is not None else 0
        try:
            magic, _, _, size, type_at, type_size, string_at, string_size = _HEADER.unpack_from(
                data
            )
            if magic != _MAGIC or max(size + type_at + type_size, size + string_at) > len(data):
                raise BackendError(f"{name}: no BTF of a little-endian kernel")
            self._strings = data[size + string_at : size + string_at + string_size]
            self._places = self._walk(size + type_at, size + type_at + type_size)
        except (error, KeyError):
            raise BackendError(f"{name}: damaged, or BTF of a newer kind") from None

    @property
    def types(self) -> int:
        """The number after the last type's."""
        return self._first_type + len(self._places)

    @property
    def string_end(self) -> int:
        return self._first_string + len(self._strings)

    def _walk(self, at: int, end: int) -> list[int]:
        places = []
        unpack = _TYPE.unpack_from
        while at < end:
            places.append(at)
            info = unpack(self._data, at)[1]
            fixed, each = _EXTRA[info >> 24 & 0x1F]
            at += _TYPE.size + fixed + each * (info & 0xFFFF)
        if at > end:
            raise BackendError(f"{self.name}: damaged: its last type is cut off")
        return places

    # --- looking up -------------------------------------------------------------------

    def offset(self, struct: str, path: str) -> int:
        """Bytes from the start of `struct` to a member, members of members with dots.

        Raises BackendError, which names what is not there.
        """
        number = self._struct(struct)
        total = 0
        for name in path.split("."):
            found = self._member(number, name.encode(), set())
            if found is None:
                raise BackendError(
                    f"{self.name}: struct {struct} has no member {path}; "
                    "this kernel is not of the kind that the recipe is for"
                )
            total += found.offset
            number = found.type
        return total

    def _struct(self, name: str) -> int:
        wanted = name.encode()
        for index, at in enumerate(self._places):
            name_at, info, _ = _TYPE.unpack_from(self._data, at)
            if info >> 24 & 0x1F == _STRUCT and info & 0xFFFF and self._string(name_at) == wanted:
                return self._first_type + index
        if self._base is not None:
            return self._base._struct(name)
        raise BackendError(f"{self.name}: no struct {name}; is kvm_intel loaded, with its BTF?")

    def _member(self, number: int, name: bytes, seen: set[int]) -> Member | None:
        """A member by name, also inside members that have none; `seen` are types looked into."""
        if number in seen:
            return None
        seen.add(number)
        for name_at, type_, offset in self._members(number):
            if self._string(name_at) == name:
                return Member(offset, type_)
            if not name_at:
                inner = self._member(type_, name, seen)
                if inner is not None:
                    return Member(offset + inner.offset, inner.type)
        return None

    def _members(self, number: int) -> list[tuple[int, int, int]]:
        """Name, type and place of the members of a type, behind its qualifiers."""
        for _ in range(_LONGEST):
            owner, at = self._place(number)
            _, info, number = _TYPE.unpack_from(owner._data, at)
            kind = info >> 24 & 0x1F
            if kind not in _QUALIFIERS:
                break
        if kind not in (_STRUCT, _UNION):
            return []
        members = []
        for index in range(info & 0xFFFF):
            name_at, type_, bits = _MEMBER.unpack_from(
                owner._data, at + _TYPE.size + index * _MEMBER.size
            )
            if info >> 31:
                bits &= 0xFF_FFFF
            members.append((name_at, type_, bits >> 3))
        return members

    def _place(self, number: int) -> tuple[Btf, int]:
        if number < self._first_type and self._base is not None:
            return self._base._place(number)
        index = number - self._first_type
        if not 0 <= index < len(self._places):
            raise BackendError(f"{self.name}: type {number} of {self.types} does not exist")
        return self, self._places[index]

    def _string(self, at: int) -> bytes:
        if at < self._first_string and self._base is not None:
            return self._base._string(at)
        start = at - self._first_string
        return self._strings[start : self._strings.find(b"\0", start)]
