"""Metadata fields: which exist, what a guest may see of them, their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tdxdbg.abi import tdx_fields
from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.tdx_fields import (
    CONTEXT_MASK,
    FIELD_ID_MUST_BE_ZERO,
    NULL_FIELD_ID,
    SYS_FIELDS,
    TD_FIELDS,
    Field,
    class_and_code,
)

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

Values = tuple[int, ...]
Reader = Callable[["TdxModule"], Values]


def _words(data: bytes) -> Values:
    return tuple(int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8))


#: Elements of each field that a guest can read, by name.
TD_VALUES: Final[dict[str, Reader]] = {
    "TD_UUID": lambda m: _words(m.params.td_uuid),
    "NUM_VCPUS": lambda m: (m.params.num_vcpus,),
    "NUM_L2_VMS": lambda m: (0,),
    "ATTRIBUTES": lambda m: (m.params.attributes,),
    "XFAM": lambda m: (m.params.xfam,),
    "MAX_VCPUS": lambda m: (m.params.max_vcpus,),
    "GPAW": lambda m: (int(m.params.gpaw == 52),),
    "TSC_FREQUENCY": lambda m: (m.params.tsc_frequency,),
    "NOTIFY_ENABLES": lambda m: (m.td.notify_enables,),
    "CONFIG_FLAGS": lambda m: (m.params.all_config_flags,),
    "TD_CTLS": lambda m: (m.td.td_ctls,),
    "TOPOLOGY_ENUM_CONFIGURED": lambda m: (int(m.params.topology_configured),),
    "MRTD": lambda m: _words(m.params.mrtd),
    "MRCONFIGID": lambda m: _words(m.params.mrconfigid),
    "MROWNER": lambda m: _words(m.params.mrowner),
    "MROWNERCONFIG": lambda m: _words(m.params.mrownerconfig),
    "RTMR": lambda m: _words(b"".join(m.td.rtmrs)),
}

SYS_VALUES: Final[dict[str, Reader]] = {
    "VENDOR_ID": lambda m: (tdx_fields.SYS_VENDOR_INTEL,),
    "MINOR_VERSION": lambda m: (5,),
    "MAJOR_VERSION": lambda m: (1,),
    "SYS_ATTRIBUTES": lambda m: (0,),
    "NUM_TDX_FEATURES": lambda m: (1,),
    "TDX_FEATURES0": lambda m: (tdx_fields.TDX_FEATURES0_NO_RBP_MOD,),
}


class Found(NamedTuple):
    """One element of a field."""

    field: Field
    element: int


class Context:
    """The fields of one context code, in the module's order."""

    def __init__(self, fields: tuple[Field, ...], values: dict[str, Reader]) -> None:
        self._fields = fields
        self._values = values

    def find(self, field_id: int) -> Found | int:
        """The element with this id, or METADATA_FIELD_ID_INCORRECT.

        The context code, the size and the top bit of an id are not looked at
        (facts: ghci_and_guest 9).
        """
        if field_id & FIELD_ID_MUST_BE_ZERO:
            return status.METADATA_FIELD_ID_INCORRECT
        wanted_class, code = class_and_code(field_id)
        for field in self._fields:
            field_class, first = field.key
            if wanted_class == field_class and first <= code < first + field.span:
                return Found(field, code - first)
        return status.METADATA_FIELD_ID_INCORRECT

    def value(self, module: TdxModule, found: Found) -> int:
        """The value of a readable element, masked."""
        return self._values[found.field.name](module)[found.element] & found.field.read_mask

    def first(self) -> int:
        """The id of the first readable element."""
        return next(field.id for field in self._fields if field.read_mask)

    def after(self, found: Found) -> int:
        """The id of the next readable element, NULL_FIELD_ID at the end."""
        if found.element + 1 < found.field.span:
            return found.field.id + found.element + 1
        rest = self._fields[self._fields.index(found.field) + 1 :]
        return next((field.id for field in rest if field.read_mask), NULL_FIELD_ID)


TD: Final = Context(TD_FIELDS, TD_VALUES)
SYS: Final = Context(SYS_FIELDS, SYS_VALUES)


def is_null(field_id: int) -> bool:
    """All ones, whatever the context code says."""
    return field_id | CONTEXT_MASK == NULL_FIELD_ID
