"""Recordings that are compressed, as a whole and as archives."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import zstandard

from tdxdbg.errors import TraceError
from tdxdbg.traces import archive, compressed, open_trace
from tdxdbg.traces.archive import BLOCK, Archive, ArchiveWriter, open_archive
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.native import Trace
from tests.traces.journals import META, journal

PLAIN = Trace.from_records(META, journal(40)).data()
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": partial(lzma.compress, preset=0),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
KINDS = pytest.mark.parametrize("kind", PACK)


def written(folder: Path, data: bytes, name: str = "x.tdxt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# --- compressed as a whole --------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("padding", [0, 700])
def test_opens_as_it_is(kind: str, members: int, padding: int, tmp_path: Path) -> None:
    step = -(-len(PLAIN) // members)
    parts = [PLAIN[at : at + step] for at in range(0, len(PLAIN), step)]
    packed = b"".join(PACK[kind](part) + bytes(padding) for part in parts)
    with open_trace(written(tmp_path, packed)) as trace:
        assert trace.data() == PLAIN
        assert trace.problems == []


@KINDS
@pytest.mark.parametrize("damage", ["is cut off", "is damaged in the middle"])
def test_what_comes_before_damage_is_there(kind: str, damage: str, tmp_path: Path) -> None:
    chance = random.Random(2)
    noise = b"".join(PLAIN[:4096] if not part else chance.randbytes(4096) for part in range(300))
    packed = bytearray(PACK[kind](noise))
    if "cut" in damage:
        del packed[len(packed) // 2 :]
    else:
        packed[len(packed) // 2 : len(packed) // 2 + 4000] = b"\xa5" * 4000
    with open_trace(written(tmp_path, bytes(packed))) as trace:
        assert any(f"the {kind} file {damage}" in line for line in trace.problems)
        assert trace.n_records > 300


@KINDS
def test_one_that_expands_without_end(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "MAX_SIZE", 4 << 20)
    path = written(tmp_path, PACK[kind](PLAIN + bytes(8 << 20)))
    with pytest.raises(TraceError, match="unpacks to more than"):
        open_trace(path)


@KINDS
def test_what_is_no_recording_inside(kind: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="not a recording that tdxdbg knows"):
        open_trace(written(tmp_path, PACK[kind](b"a letter\n")))
    with pytest.raises(TraceError, match="there is nothing in it"):
        open_trace(written(tmp_path, PACK[kind](b"")))
    with pytest.raises(TraceError, match=r"is damaged|is cut off"):
        open_trace(written(tmp_path, PACK[kind](b"")[:8] + b"\xff" * 20))


def test_damaged_anywhere() -> None:
    chance = random.Random(5)
    good = [pack(PLAIN) for pack in PACK.values()]
    for _ in range(600):
        packed = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 5)):
            packed[chance.randrange(len(packed))] = chance.randrange(256)
        packing = compressed.packing_of(bytes(packed))
        if packing is None:
            continue
        file = io.BytesIO(packed)
        plain = compressed.Inflated(packing, file.read(100), file, "x")
        assert sum(map(len, plain)) <= 4 * len(PLAIN) or plain.problem


# --- archives ---------------------------------------------------------------------------


def archived(path: Path, trace: Trace) -> Path:
    with path.open("wb") as file:
        writer = ArchiveWriter(file.write)
        writer.write(trace.head)
        for first in range(0, trace.n_records, 1000):
            writer.write(trace.slots(first, first + 1000))
        writer.finish()
    return path


@pytest.fixture(scope="module")
def long() -> Trace:
    """Some blocks, the last of them not full."""
    trace = Trace.from_records(META, journal(3000))
    assert trace.n_records > 3 * BLOCK
    assert trace.n_records % BLOCK
    return trace


def test_an_archive_is_the_trace(long: Trace, tmp_path: Path) -> None:
    path = archived(tmp_path / "x.tdxt.zst", long)
    assert path.stat().st_size < len(long.data()) / 4
    with open_trace(path) as trace:
        assert isinstance(trace, Archive)
        assert len(trace) == len(long)
        assert not trace.grows
        for row in (2999, 0, 1500, 1499, 2998):
            assert trace.row_records(row) == long.row_records(row)
        assert trace.data() == long.data()
        assert trace.problems == []


@pytest.mark.skipif(shutil.which("zstd") is None, reason="there is no zstd program here")
def test_any_zstd_unpacks_it(long: Trace, tmp_path: Path) -> None:
    path = archived(tmp_path / "x.tdxt.zst", long)
    done = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True)
    assert done.stdout == long.data()


def test_the_library_unpacks_it_as_a_whole(long: Trace, tmp_path: Path) -> None:
    data = archived(tmp_path / "x", long).read_bytes()
    file = io.BytesIO(data)
    packing = compressed.packing_of(data)
    assert packing is not None
    plain = compressed.Inflated(packing, file.read(1000), file, "x")
    assert b"".join(plain) == long.data()
    assert plain.problem == ""


def test_only_what_is_looked_at_is_unpacked(
    long: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archived(tmp_path / "x", long)
    monkeypatch.setattr(archive, "_KEPT", 2 * BLOCK * RECORD_SIZE)
    with path.open("rb") as file:
        trace = open_archive(file, "x")
    assert trace is not None
    with trace:
        assert len(trace._memory._there) <= 2
        chance = random.Random(1)
        for _ in range(200):
            row = chance.randrange(3000)
            assert trace.row_records(row) == long.row_records(row)
            assert len(trace._memory._there) <= 3
        assert trace.data() == long.data(), "all at once is more than is kept"
        assert trace.row_records(7) == long.row_records(7)


def test_a_damaged_block_is_left_out(long: Trace, tmp_path: Path) -> None:
    path = archived(tmp_path / "x", long)
    data = bytearray(path.read_bytes())
    table = None
    with path.open("rb") as file:
        table = archive.read_table(file)
    assert table is not None
    at = (table.packed[2] + table.packed[3]) // 2
    data[at : at + 64] = bytes(64)
    path.write_bytes(data)
    with open_trace(path) as trace:
        assert len(trace) == 3000
        left = [index for index, _ in trace.records()]
        whole = [index for index, _ in long.records()]
        assert left == [index for index in whole if not BLOCK <= index < 2 * BLOCK]
        assert "1 blocks of the archive are damaged" in trace.problems
        assert trace.row_records(2999) == long.row_records(2999)


def test_a_cut_archive_is_unpacked_as_far_as_it_goes(long: Trace, tmp_path: Path) -> None:
    path = archived(tmp_path / "x", long)
    os.truncate(path, path.stat().st_size * 2 // 3)
    with open_trace(path) as trace:
        assert not isinstance(trace, Archive)
        assert 1000 < len(trace) < 3000
        assert any("is cut off" in line for line in trace.problems)


def test_an_archive_of_anything_else_is_unpacked(tmp_path: Path) -> None:
    """Somebody's seekable file of text."""
    text = b"# tracer: nop\n" * 3
    one = zstandard.ZstdCompressor().compress(text)
    table = archive._ENTRY.pack(len(one), len(text))
    data = one + archive._SKIPPABLE.pack(0x184D2A5E, len(table) + 9) + table
    path = written(tmp_path, data + archive._FOOTER.pack(1, 0, 0x8F92EAB1))
    with pytest.raises(TraceError, match="no exits in 0 events"):
        open_trace(path)


def test_a_table_of_lies(long: Trace, tmp_path: Path) -> None:
    """It opens, or says why not; never more is mapped or unpacked than is there."""
    path = archived(tmp_path / "x", long)
    data = path.read_bytes()
    chance = random.Random(9)
    for _ in range(300):
        lie = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            at = len(lie) - 1 - chance.randrange(9 + 8 * 5 + 8)
            lie[at] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        path.write_bytes(lie)
        said = ""
        try:
            with open_trace(path) as trace:
                assert all(len(trace.row_records(row)) <= 5 for row in range(min(9, len(trace))))
        except TraceError as problem:
            said = str(problem)
        assert "\n" not in said
