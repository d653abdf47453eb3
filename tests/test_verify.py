"""The engine against the kernel's own handlers, and what `verify` says when they differ."""

from __future__ import annotations

import copy
import gzip
import json
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tdxdbg.engine import GENERATIONS
from tdxdbg.errors import BackendError, TraceError
from tdxdbg.verify import Vector, check, make_answer, read_vectors, verify
from tests.engine.support import answer_of, call

VECTORS = Path(__file__).parent / "vectors"
COUNTS = dict.fromkeys(("exits-v1", "6.16-rc1", "6.16", "7.2", "7.3"), 3955) | {"v19": 3954}


@cache
def vectors(generation: str) -> tuple[Vector, ...]:
    return tuple(read_vectors(VECTORS / f"{generation}.jsonl.gz"))


@pytest.mark.parametrize("generation", [record.name for record in GENERATIONS])
def test_every_vector_passes(generation: str) -> None:
    tally = verify(vectors(generation))
    assert tally.failures == []
    assert tally.passed == COUNTS[generation]
    assert {vector["generation"] for vector in vectors(generation)} == {generation}


def test_there_is_a_file_for_each_generation() -> None:
    names = {path.name.removesuffix(".jsonl.gz") for path in VECTORS.glob("*.gz")}
    assert names == {record.name for record in GENERATIONS} == set(COUNTS)


# --- an altered vector fails and names what differs -----------------------------------


def named(generation: str, wanted: Callable[[Any], object]) -> dict[str, Any]:
    """A copy of the first vector that is as wanted."""
    found = next(vector for vector in vectors(generation) if wanted(vector))
    return copy.deepcopy(dict(found))


def kinds(vector: Vector) -> list[object]:
    return [step.get("exit_reason", step["kind"]) for step in vector["expected"]]


def first_exit(reason: int) -> Callable[[Any], object]:
    return lambda vector: vector["expected"][0].get("exit_reason") == reason


RUN_FIELDS = [
    ("7.3", 1, "exception"),
    ("7.3", 1, "error_code"),
    *(("7.3", 2, name) for name in ("direction", "size", "port", "count", "data_offset", "data")),
    *(("7.3", 3, name) for name in ("nr", "args", "ret", "flags")),
    ("exits-v1", 3, "ret"),
    *(("7.3", 6, name) for name in ("phys_addr", "data", "len", "is_write")),
    *(("7.3", 9, name) for name in ("hardware_entry_failure_reason", "cpu")),
    *(("7.3", 17, name) for name in ("suberror", "ndata", "data")),
    *((name, 24, "data") for name in ("exits-v1", "6.16", "7.3")),
    *(("7.3", 24, name) for name in ("type", "ndata")),
    *(("7.3", 29, name) for name in ("error", "reason", "index", "data")),
    ("7.3", 30, "data"),
    ("7.3", 37, "flags"),
    *(("7.3", 39, name) for name in ("flags", "gpa", "size")),
    *(("7.3", 40, name) for name in ("flags", "nr", "ret")),
    *(("v19", 40, name) for name in ("type", "in_rcx", "in_r11", "out_r10")),
]


@pytest.mark.parametrize(("generation", "reason", "field"), RUN_FIELDS)
def test_altered_run(generation: str, reason: int, field: str) -> None:
    vector = named(generation, first_exit(reason))
    assert check(vector) is None
    step = vector["expected"][0]
    step["run"][field] = altered(step["run"][field])
    what = check(vector)
    assert what is not None
    assert what.startswith(f"step 0: {step['name']}.{field}: engine ")


def altered(value: object) -> object:
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, list):
        return [*value, 0]
    return "ff" if isinstance(value, str) else 0


def alter(vector: dict[str, Any], *path: str | int, value: object) -> dict[str, Any]:
    place: Any = vector
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return vector


def guest(vector: Vector) -> bool:
    return kinds(vector) == ["guest"] and bool(vector["expected"][0].get("guest"))


def chunked(vector: Vector) -> bool:
    return kinds(vector) == [3, 3, "guest"]


ALTERATIONS: list[tuple[str, dict[str, Any], str]] = [
    (
        "kind",
        alter(named("7.3", guest), "expected", 0, value={"kind": "exit", "exit_reason": 2}),
        "step 0: engine guest, kernel exit",
    ),
    (
        "kind of a later step",
        alter(named("7.3", chunked), "expected", 2, value={"kind": "error", "errno": 22}),
        "step 2: engine guest, kernel error",
    ),
    (
        "exit_reason",
        alter(named("7.3", first_exit(3)), "expected", 0, "exit_reason", value=6),
        "step 0: exit_reason: engine 3, kernel 6",
    ),
    (
        "has_completion",
        alter(named("7.3", first_exit(3)), "expected", 0, "has_completion", value=False),
        "step 0: has_completion: engine True, kernel False",
    ),
    (
        "run_flags",
        alter(named("7.3", first_exit(33)), "expected", 0, "run_flags", value=0),
        "step 0: run_flags: engine 2, kernel 0",
    ),
    (
        "errno",
        alter(named("7.3", lambda v: "error" in kinds(v)), "expected", 1, "errno", value=11),
        "step 1: errno: engine 22, kernel 11",
    ),
    (
        "no exit with that error",
        alter(
            named("7.3", lambda v: kinds(v)[1:2] == ["error"]),
            "expected",
            1,
            "exit_reason",
            value=39,
        ),
        "step 1: exit_reason: engine None, kernel 39",
    ),
    (
        "a register",
        alter(named("7.3", guest), "expected", 0, "regs", "rbx", value=1 << 40),
        "step 0: rbx: engine ",
    ),
    (
        "what the guest sees",
        alter(named("7.3", guest), "expected", 0, "guest", value={}),
        "step 0: the guest sees r10=",
    ),
    (
        "what the guest does not see",
        alter(named("7.3", chunked), "expected", 2, "guest", value={"r11": 5}),
        "step 2: the guest sees nothing changed, kernel r11=0x5",
    ),
    *(
        (
            f"effect {name}",
            alter(named("7.3", chunked), "effects", name, value=7),
            f"effect {name}: engine {1 if name == 'events_checked' else 0}, kernel 7",
        )
        for name in ("warn", "vm_bugged", "events_checked", "halted")
    ),
    (
        "a step too many",
        alter(
            named("7.3", guest),
            "expected",
            value=[*named("7.3", guest)["expected"], {"kind": "guest"}],
        ),
        "step 0: the guest runs, but 2 steps are expected",
    ),
    (
        "an answer",
        alter(named("7.3", chunked), "input", "answers", value=[{"ret": 22}]),
        "step 1: engine guest, kernel exit",
    ),
    (
        "a pending event",
        alter(named("7.3", chunked), "input", "pending", value=[1]),
        "step 1: engine guest, kernel exit",
    ),
]


@pytest.mark.parametrize(
    ("vector", "what"), [row[1:] for row in ALTERATIONS], ids=[row[0] for row in ALTERATIONS]
)
def test_altered(vector: Vector, what: str) -> None:
    tally = verify([vector])
    assert tally.passed == 0
    assert tally.failures[0].vector == f"7.3 {vector['id']}"
    assert tally.failures[0].what.startswith(what)


@pytest.mark.parametrize(
    "vector", [named("exits-v1", lambda vector: vector.get("depends_on_stale_memory"))]
)
def test_a_vector_that_reads_stale_memory_ran_on_a_page_of_zeros(vector: dict[str, Any]) -> None:
    assert check(vector) is None


def test_a_vector_with_a_prelude() -> None:
    vector = named("exits-v1", lambda vector: vector["input"].get("prelude"))
    assert check(vector) is None
    vector["input"]["prelude"] = []
    assert check(vector) is not None


# --- vectors that are none ------------------------------------------------------------

MALFORMED: list[tuple[tuple[str | int, ...], object]] = [
    (("input",), None),
    (("input",), []),
    (("input", "regs"), None),
    (("input", "regs"), {"eax": 1}),
    (("input", "regs", "r12"), "1"),
    (("input", "regs", "r13"), 1.5),
    (("input", "gpaw"), 1 << 40),
    (("input", "gpaw"), None),
    (("input", "maxphyaddr"), -1),
    (("input", "answers"), 5),
    (("input", "answers"), [{"ret": -1}]),
    (("input", "answers"), [{"ret": "0"}]),
    (("input", "answers"), [7]),
    (("input", "prelude"), [{"rcx": 0xFFCC, "r11": 65537, "r13": 1 << 45}]),
    (("input", "env"), {"slot": [1]}),
    (("input", "env"), {"cpuid": [[1]]}),
    (("input", "env"), {"msrs": 1}),
    (("input", "env"), []),
    (("expected",), 5),
    (("expected",), [5]),
    (("expected",), [{}]),
    (("effects",), None),
    (("effects",), {"other": 1}),
]


@pytest.mark.parametrize(("path", "value"), MALFORMED)
def test_malformed(path: tuple[str | int, ...], value: object) -> None:
    vector = alter(named("7.3", chunked), *path, value=value)
    tally = verify([vector, named("7.3", chunked)])
    assert tally.passed == 1, "the good part is not lost"
    assert [failure.what.split(":")[0] for failure in tally.failures] == ["the vector is malformed"]


def test_a_number_that_no_register_holds() -> None:
    vector = alter(named("7.3", first_exit(24)), "input", "regs", "r12", value=1 << 64)
    assert verify([vector]).failures[0].what.startswith("the vector is malformed: error: ")


def test_an_answer_to_an_exit_that_has_none() -> None:
    step = answer_of("7.3", call(0x10003))
    assert make_answer({"ret": 0}, step) is None


# --- files ----------------------------------------------------------------------------

GOOD = json.dumps({"id": "a", "generation": "7.3", "input": {}, "expected": []})


@pytest.mark.parametrize("packed", [True, False])
def test_plain_and_gzip_with_empty_lines(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "vectors"
    data = f"{GOOD}\n\n  \n{GOOD}\n".encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    assert [vector["id"] for vector in read_vectors(path)] == ["a", "a"]


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(b"")
    assert list(read_vectors(path)) == []


_PACKED = gzip.compress(GOOD.encode() * 50)
BAD_FILES: list[tuple[str, bytes, str]] = [
    ("no gzip after the magic", b"\x1f\x8bnonsense", "cannot read vectors"),
    ("gzip cut off", _PACKED[:-20], "cannot read vectors"),
    ("gzip with a broken body", _PACKED[:12] + b"\xff" * 12 + _PACKED[24:], "cannot read vectors"),
    ("gzip with a wrong sum", _PACKED[:-8] + b"\0" * 8, ""),
    ("no UTF-8", b'{"\xff\n', ":1: column 3: not UTF-8"),
    ("no JSON", GOOD.encode() + b"\n{nonsense\n", ":2: not a line of JSON"),
    ("deep JSON", b"[" * 100_000, ":1: not a line of JSON: nested too deep"),
    ("a line that is too long", b"\n" + b"[" * (3 << 20), ":2: not a test vector: longer than 1"),
    ("a number without end", b'{"id":' + b"1" * 10_000 + b"}", ":1: not a line of JSON"),
    ("a list", b"[1, 2]", ":1: not a test vector"),
    ("a number", b"7", ":1: not a test vector"),
    ("no input", b'{"id": 1, "generation": "7.3", "expected": []}', ":1: not a test vector"),
    ("unknown generation", GOOD.replace("7.3", "9.9").encode(), ":1: unknown generation '9.9'"),
    ("no generation", GOOD.replace('"7.3"', "[7]").encode(), ":1: unknown generation [7]"),
]


@pytest.mark.parametrize(
    ("data", "message"), [row[1:] for row in BAD_FILES], ids=[row[0] for row in BAD_FILES]
)
def test_bad_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "vectors.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(TraceError) as caught:
        list(read_vectors(path))
    line = str(caught.value)
    assert line.startswith(str(path))
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.jsonl", "no such file; give a .jsonl or .jsonl.gz file of them"),
        (".", "is a directory; give the files in it"),
        ("x" * 300, "File name too long; make or fetch it again"),
    ],
)
def test_no_file(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / name
    with pytest.raises(TraceError) as caught:
        list(read_vectors(path))
    # In the words of the class: the name of a file may be too long for one line.
    assert str(caught.value) == str(TraceError(f"{path}: cannot read vectors: {message}"))


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BackendError, match="vectors: no permission to read it"):
        list(read_vectors(tmp_path / "vectors"))


def test_gigabytes_in_one_packed_line_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "vectors.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(TraceError, match=":1: not a test vector: longer than 1 MiB"):
            list(read_vectors(path))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_good_vectors_before_a_bad_line_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "vectors.jsonl"
    path.write_text(f"{GOOD}\n{GOOD}\n{{")
    lines = read_vectors(path)
    assert [next(lines)["id"], next(lines)["id"]] == ["a", "a"]
    with pytest.raises(TraceError):
        next(lines)
