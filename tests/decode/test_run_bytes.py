from __future__ import annotations

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.decode.run_bytes import run_bytes
from tdxdbg.decode.tree import decode_run
from tdxdbg.engine.kvm_run import recorded_run
from tests.decode.test_uapi import exit_of
from tests.decode.trees import MIB, SHARED48, call

MAP = exit_of(call(SubFunction.MAP_GPA, r12=SHARED48 | 0x4000_0000, r13=4 * MIB))
PORT = exit_of(call(SubFunction.IO, r12=4, r13=1, r14=0x3F8, r15=0x41424344))


def number(found: dict[int, int | None], at: int, size: int) -> int:
    return sum((found[at + place] or 0) << 8 * place for place in range(size))


def test_the_bytes_are_where_the_fields_say() -> None:
    for run in (MAP, PORT):
        values = {at: item.value for at, item in run_bytes(run, 5).items()}
        for row in decode_run(run, 5):
            if row.known and row.size <= 8 and row.field != "io data":
                text = row.raw
                expected = int(text, 16 if text.startswith("0x") else 10)
                assert number(values, row.offset, row.size) == expected, row


def test_port_data_is_the_page_behind() -> None:
    found = run_bytes(PORT)
    page = [item.value for at, item in found.items() if at >= 0x1000]
    assert bytes(page[:4]) == b"DCBA"  # type: ignore[arg-type]


def test_written_stale_and_unknown_differ() -> None:
    found = run_bytes(MAP)
    assert found[40].written
    assert not found[64].written
    seen = run_bytes(recorded_run(3, MAP.union[:64], (1 << 64) - 1), None)
    assert 14 not in seen
    assert seen[95].value is not None
    assert seen[96].value is None
    assert not seen[96].written
