"""The records of the generations (facts: kernel_exits, head, and 1.2)."""

from __future__ import annotations

import dataclasses

import pytest

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.engine import BY_NAME, GENERATIONS, Completer
from tests.engine.support import ALL, MERGED, SINCE_72, SINCE_616, SINCE_V1

#: facts: kernel_exits 1.2; which generation looks at a sub-function itself
HANDLED: dict[int, tuple[str, ...]] = {
    SubFunction.IO: ALL,
    SubFunction.MMIO: ALL,
    SubFunction.CPUID: ("v19", *MERGED),
    SubFunction.HLT: ("v19", *MERGED),
    SubFunction.RDMSR: ("v19", *MERGED),
    SubFunction.WRMSR: ("v19", *MERGED),
    SubFunction.GET_TD_VM_CALL_INFO: ("v19", *MERGED),
    SubFunction.MAP_GPA: SINCE_V1,
    SubFunction.REPORT_FATAL_ERROR: SINCE_V1,
    SubFunction.GET_QUOTE: SINCE_616,
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: SINCE_616,
    SubFunction.WBINVD: (),
    SubFunction.PCONFIG: (),
    SubFunction.SERVICE: (),
    SubFunction.MIGTD: (),
}
#: Sub-functions that the merged kernels know by a VMX exit reason.
AS_REASON = {
    SubFunction.MMIO: vmx.EPT_MISCONFIG,
    **{
        leaf: int(leaf)
        for leaf in (
            SubFunction.CPUID,
            SubFunction.HLT,
            SubFunction.IO,
            SubFunction.RDMSR,
            SubFunction.WRMSR,
        )
    },
}


def test_names_in_order() -> None:
    assert ALL == ("v19", "exits-v1", "6.16-rc1", "6.16", "7.2", "7.3")
    assert [BY_NAME[name] for name in ALL] == list(GENERATIONS)
    assert repr(GENERATIONS[-1]) == "Generation('7.3')"


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize("leaf", HANDLED)
def test_sub_functions(generation: str, leaf: SubFunction) -> None:
    record = BY_NAME[generation]
    handled = leaf in record.tdvmcalls
    if generation in MERGED and leaf in AS_REASON:
        assert not handled
        handled = AS_REASON[leaf] in record.exits
    assert handled is (generation in HANDLED[leaf])


@pytest.mark.parametrize("generation", ALL)
def test_every_record_says_where_it_is_from(generation: str) -> None:
    record = BY_NAME[generation]
    assert record.kernels
    assert record.source
    assert set(record.completers) <= set(Completer) - {Completer.NONE}


@pytest.mark.parametrize("generation", SINCE_V1)
def test_values(generation: str) -> None:
    record = BY_NAME[generation]
    later = generation in SINCE_616
    expected = Status.SUBFUNC_UNSUPPORTED if later else Status.INVALID_OPERAND
    assert record.map_gpa_not_enabled is expected
    assert not record.io_out_sets_r11
    assert (record.map_gpa_reply.__name__ == "reply_by_errno") is (generation in SINCE_72)


def test_72_differs_from_616_only_in_the_errno_mapping() -> None:
    # facts: kernel_exits, head
    differing = {
        field.name
        for field in dataclasses.fields(BY_NAME["6.16"])
        if getattr(BY_NAME["6.16"], field.name) != getattr(BY_NAME["7.2"], field.name)
    }
    assert differing == {"name", "kernels", "source", "map_gpa_reply"}
