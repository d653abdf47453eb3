"""The lines of any file, in bounded memory."""

from __future__ import annotations

import io
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.traces import lines
from tdxdbg.traces.lines import MAX_LINE, Lines


def read(data: bytes) -> list[tuple[int, bytes]]:
    return list(Lines(io.BytesIO(data)))


CASES: Final[tuple[tuple[bytes, list[bytes]], ...]] = (
    (b"", []),
    (b"\n", [b""]),
    (b"a", [b"a"]),
    (b"a\n", [b"a"]),
    (b"a\nb", [b"a", b"b"]),
    (b"a\r\nb\r\n", [b"a", b"b"]),
    (b"a\r\nb\r", [b"a", b"b"]),
    (b"\n\na", [b"", b"", b"a"]),
    (b"\xef\xbb\xbfa\n", [b"a"]),
    (b"a\0b\n", [b"a\0b"]),
    (b"\xff\xfe", [b"\xff\xfe"]),
)


@pytest.mark.parametrize(("data", "wanted"), CASES)
def test_lines_and_their_numbers(data: bytes, wanted: list[bytes]) -> None:
    assert read(data) == list(enumerate(wanted, 1))


@given(
    st.binary(max_size=200).map(lambda data: data.replace(b"\xef\xbb\xbf", b"")), st.integers(1, 9)
)
def test_lines_do_not_depend_on_how_they_are_read(data: bytes, chunk: int) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(lines, "_CHUNK", chunk)
        small = read(data)
    assert small == read(data)
    text = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
    wanted = text.split(b"\n")
    assert [line for _, line in small] == (wanted if wanted[-1] else wanted[:-1])


def test_a_line_without_end_is_cut_and_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_CHUNK", 1000)
    long = b"x" * (5 * MAX_LINE)
    assert read(b"a\n" + long + b"\nb\n") == [(1, b"a"), (2, long[:MAX_LINE]), (3, b"b")]
    assert read(long + b"\r\nb") == [(1, long[:MAX_LINE]), (2, b"b")]


def test_how_many_there_are() -> None:
    found = Lines(io.BytesIO(b"a\nb\nc"))
    assert [number for number, _ in found] == [1, 2, 3]
    assert found.count == 3
