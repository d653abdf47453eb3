"""How compared rows read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tdxdbg.analysis.compare import ComparedRow, compare
from tdxdbg.analysis.compare_text import groups, json_object, mail_lines, text_lines
from tdxdbg.engine import BY_NAME, GENERATIONS
from tests.analysis.samples import NAMES, load, rebuilt


def rows_of(name: str, *generations: str) -> list[ComparedRow]:
    chosen = [BY_NAME[item] for item in generations] or list(GENERATIONS)
    return list(compare(rebuilt(*load(name)), chosen))


def test_text_has_three_columns() -> None:
    row = rows_of("mapgpa_eagain_before_7_2", "6.16-rc1", "6.16", "7.2")[0]
    lines = text_lines(row)
    assert lines[0].startswith("#0  8.771201  v0  MapGPA  ")
    assert lines[1] == (
        "    6.16      KVM_EXIT_HYPERCALL nr=0xc args=0x40000000,0x200,0 ret=0         "
        "R10=INVALID_OPERAND R11=0x8000040200000"
    )
    assert lines[2] == "    6.16-rc1    flags=1"
    assert [line.split()[:2] for line in lines[5:6]] == [["*", "7.2"]]
    assert "R10=RETRY R11=0x8000040200000" in lines[5]
    columns = {line.index("R10=") for line in lines if "R10=" in line}
    assert len(columns) == 1


def test_generations_that_agree_are_one_block() -> None:
    rows = rows_of("v1_stale_hypercall_ret")
    assert text_lines(rows[0])[1].split() == ["all", "nothing", "R10=-KVM_ENOSYS"]
    found = [[side.generation for side in group] for group in groups(rows[1])]
    assert found == [["exits-v1"], ["v19"], ["6.16-rc1", "6.16", "7.2", "7.3"]]


def test_chunks_in_the_middle_are_counted() -> None:
    lines = text_lines(rows_of("mapgpa_64mib_interrupted", "6.16")[9])
    assert [line.strip() for line in lines if "more" in line] == ["... 9 more"]
    assert sum("KVM_EXIT_HYPERCALL" in line for line in lines) == 2


def test_marks_are_under_the_names() -> None:
    lines = text_lines(rows_of("mapgpa_5mib_3_chunks", "6.16", "v19")[1])
    assert "  * v19" in lines[-2][:10]
    assert lines[-1].split()[0] == "assumed"


def test_stale_values_are_said_to_be_stale() -> None:
    text = "\n".join(text_lines(rows_of("v1_stale_hypercall_ret", "exits-v1")[1]))
    assert "ret=0xfffffffffffffc18 (not written)" in re.sub(r"\s+", " ", text)


def test_an_exit_of_v19_shows_what_is_not_zero() -> None:
    text = " ".join(text_lines(rows_of("mapgpa_one_page", "v19")[0]))
    words = set(text.split())
    assert {"in_r11=0x10001", "in_r12=0x8000001234000", "in_r13=0x1000"} <= words
    assert not any(word.startswith("out_") or word == "in_r14=0" for word in words)


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("memory_fault_implicit_conversion", 0, "KVM_RUN = -EFAULT (14) KVM_EXIT_MEMORY_FAULT"),
        ("mapgpa_ebusy", 0, "KVM_RUN = -EINVAL (22)"),
        ("bus_lock", 0, "KVM_EXIT_X86_BUS_LOCK run.flags=2"),
        ("triple_fault", 4, "no entry recorded"),
        ("vp_enter_statuses", 2, "goes on as it was"),
        ("mmio_probe", 3, "data=01 len=1 is_write=1"),
        ("mmio_probe", 0, "data=?"),
    ],
)
def test_words(name: str, row: int, words: str) -> None:
    generation = load(name)[0].generation
    text = " ".join(text_lines(rows_of(name, generation)[row]))
    assert words in re.sub(r"\s+", " ", text)


def test_what_cannot_be_computed_is_said() -> None:
    meta, records = load("mapgpa_one_page")
    records[0] = records[0]._replace(known=0)
    row = next(compare(rebuilt(meta, records), [BY_NAME["6.16"], BY_NAME["7.3"]]))
    assert "too little was recorded to compute it" in "\n".join(text_lines(row))


def test_mail_says_what_differs() -> None:
    lines = mail_lines(rows_of("mapgpa_eagain_before_7_2", "6.16", "7.2")[0])
    assert lines[0].startswith("exit 0, vCPU 0: MapGPA")
    assert "  6.16:" in lines
    assert "* 7.2 (differs in r10):" in lines
    assert "    guest: R10=RETRY R11=0x8000040200000" in lines
    assert lines[-1] == ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lines", [text_lines, mail_lines], ids=["text", "mail"])
def test_lines_are_printable_ascii(name: str, lines: Callable[[ComparedRow], list[str]]) -> None:
    for row in rows_of(name):
        for line in lines(row):
            assert re.fullmatch(r"[ -~]*", line)
            assert line == line.rstrip()
            assert lines is text_lines or len(line) <= 72


def test_what_the_guest_wrote_is_escaped_once() -> None:
    row = rows_of("fatal_error_hostile_text", "6.16")[0]
    assert r"\x1b[2J\x1b[H" in text_lines(row)[0]
    assert r"\x1b[2J\x1b[H" in mail_lines(row)[0]
    assert r"\\x1b" not in "".join([*text_lines(row), *mail_lines(row)])


@pytest.mark.parametrize("name", NAMES)
def test_json_has_every_generation(name: str) -> None:
    for row in rows_of(name):
        text = json.dumps(json_object(row))
        assert re.fullmatch(r"[ -~]*", text)
        assert list(json.loads(text)["generations"]) == [item.name for item in GENERATIONS]


def test_json_values() -> None:
    row = json_object(rows_of("v1_stale_hypercall_ret", "exits-v1", "6.16")[1])
    assert (row["row"], row["vcpu"], row["name"]) == (1, 0, "MapGPA")
    assert (row["reference"], row["differs"]) == ("exits-v1", True)
    sides = row["generations"]
    assert isinstance(sides, dict)
    old, new = sides["exits-v1"], sides["6.16"]
    assert old["recorded"]
    assert not new["recorded"]
    assert new["differs"] == ["ret", "r10", "r11"]
    assert "ret" in old["userspace"][0]["not_written"]
    assert old["userspace"][0]["exit"] == "KVM_EXIT_HYPERCALL"
    assert old["userspace"][0]["fields"]["args[1]"] == "0x200"
    assert old["guest"]["registers"]["r10"] == "0x8000000000000000"
    assert old["guest"]["changed"] == ["r10", "r11"]
    assert new["guest"]["registers"]["r10"] == "0x0"
