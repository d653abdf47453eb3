"""Reading one JSON object of the JSON Lines form: every value is checked, and named when bad."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tdxdbg.abi.regs import NO_REGS, REG_NAMES, U64, Regs
from tdxdbg.traces.meta import number
from tdxdbg.traces.records import DERIVED_SHIFT, KNOWN_NAMES

_MISSING: Final = object()
_PLAIN: Final = 9999


class FieldError(ValueError):
    """A bad value; `key` is where it stands in the line, "" for the line itself."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class Fields:
    """One JSON object whose keys are taken one by one; `done` refuses what is left.

    `vcpu` and `known` are those of the record, for the readers of bodies.
    """

    def __init__(self, items: Mapping[str, object]) -> None:
        self._items = items
        self._taken: list[str] = []
        self.vcpu = 0
        self.known = 0

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def raw(self, key: str, default: object = None) -> object:
        """The value as it stands."""
        self._taken.append(key)
        return self._items.get(key, default)

    def number(self, key: str, default: int | None = None, limit: int = U64) -> int:
        """A number from 0 to `limit`; raises FieldError when missing and without default."""
        value = self.raw(key, _MISSING)
        if value is _MISSING:
            if default is None:
                raise FieldError("", f"{key} is missing")
            return default
        return checked_number(key, value, limit)

    def optional(self, key: str, limit: int = U64) -> int | None:
        """A number, or None for a missing key or null."""
        value = self.raw(key)
        return None if value is None else checked_number(key, value, limit)

    def flag(self, key: str) -> bool:
        """True or false; false when missing."""
        value = self.raw(key, False)
        if not isinstance(value, bool):
            raise FieldError(key, f"{key} must be true or false")
        return value

    def object(self, key: str) -> Mapping[str, object] | None:
        """A JSON object, or None for a missing key or null."""
        value = self.raw(key)
        if value is not None and not isinstance(value, dict):
            raise FieldError(key, f"{key} must be an object {{...}}")
        return value

    def name(self, key: str, names: Mapping[str, int], default: int) -> int:
        """One of these names."""
        value = self.raw(key, _MISSING)
        if value is _MISSING:
            return default
        if not isinstance(value, str) or value not in names:
            raise FieldError(key, f"{key} must be one of {', '.join(names)}")
        return names[value]

    def bits(self, key: str, names: Mapping[str, int], default: int, limit: int = U64) -> int:
        """A mask: a list of names, or a number."""
        value = self.raw(key, _MISSING)
        if value is _MISSING:
            return default
        if not isinstance(value, list):
            return checked_number(key, value, limit)
        mask = 0
        for item in value:
            if not isinstance(item, str) or item not in names:
                raise FieldError(key, f"{key} lists names out of {', '.join(names)}")
            mask |= names[item]
        return mask

    def data(self, key: str, limit: int) -> bytes | None:
        """Bytes as hex digits, at most `limit` of them; None for a missing key or null."""
        value = self.raw(key)
        return None if value is None else checked_hex(key, value, limit)

    def done(self) -> None:
        """Raises FieldError for a key that nothing took."""
        for key in self._items:
            if key not in self._taken:
                known = ", ".join(dict.fromkeys(self._taken))
                raise FieldError(key, f"{key!r} is not known here; known are {known}")


def checked_number(key: str, value: object, limit: int = U64) -> int:
    """A number from 0 to `limit`, also as "0x..." text; raises FieldError."""
    result = number(value)
    if result is None or result > limit:
        raise FieldError(key, f'{key} must be a number from 0 to {limit:#x}, or "0x..." text')
    return result


def checked_hex(key: str, value: object, limit: int) -> bytes:
    """Bytes out of hex digits; raises FieldError."""
    try:
        if isinstance(value, str) and len(value) <= 2 * limit:
            return bytes.fromhex(value)
    except ValueError:
        pass
    raise FieldError(key, f"{key} must be hex digits, two a byte, at most {limit} bytes")


def shown(value: int) -> int | str:
    """Small numbers in decimal, others as hex text."""
    return value if value <= _PLAIN else hex(value)


# --- registers and masks ---------------------------------------------------------------

KNOWN_BITS: Final[dict[str, int]] = {
    **{name: 1 << number for number, name in enumerate(REG_NAMES)},
    **KNOWN_NAMES,
    **{f"derived:{name}": 1 << (DERIVED_SHIFT + number) for number, name in enumerate(REG_NAMES)},
}


def names_of(mask: int, names: Mapping[str, int]) -> list[str] | str:
    """The names of the bits, or hex text where a bit has none."""
    if mask & ~sum(names.values()):
        return hex(mask)
    return [name for name, bit in names.items() if mask & bit]


def regs_to_json(regs: Regs) -> dict[str, str]:
    """The registers that are not 0."""
    return {name: hex(value) for name, value in zip(REG_NAMES, regs, strict=True) if value}


def regs_from_json(fields: Fields) -> Regs:
    """`regs`: registers that are not named are 0."""
    items = fields.object("regs")
    if not items:
        return NO_REGS
    _only(items, REG_NAMES)
    return Regs(**{name: checked_number(name, value) for name, value in items.items()})


def _only(items: Iterable[str], names: Iterable[str]) -> None:
    allowed = tuple(names)
    for key in items:
        if key not in allowed:
            raise FieldError(key, f"{key!r} is no register; registers are {', '.join(allowed)}")
