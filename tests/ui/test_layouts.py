"""Layouts by name: kept as they are, and whatever a file says is survived."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.layout import CODE, LIVE, MEMORY, QUEUE, REPLAY, UAPI, Sizes, View, arrange
from tdxdbg.ui.layouts import (
    DEFAULT,
    LayoutError,
    delete_layout,
    from_data,
    layout_names,
    read_layout,
    save_layout,
    to_data,
)
from tests.ui.test_layout import chosen

MINE = View(
    focus=UAPI,
    recent=(UAPI, CODE),
    zoomed=True,
    sizes={"full": Sizes((3, 2, 1), ((2, 1), (1, 1, 1), (1, 1, 1)))},
)


@given(chosen())
def test_a_view_survives_json(choice: tuple[object, View]) -> None:
    view = choice[1]
    assert from_data(json.loads(json.dumps(to_data(view))), LIVE.panes) == view


def test_saved_and_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    assert layout_names(folder) == []
    save_layout("wide-code", MINE, folder)
    save_layout("a", View(), folder)
    save_layout("a", MINE, folder)
    assert layout_names(folder) == ["a", "wide-code"]
    assert read_layout("a", REPLAY.panes, folder) == MINE
    assert read_layout(DEFAULT, REPLAY.panes, folder) == View()
    delete_layout("a", folder)
    assert layout_names(folder) == ["wide-code"]
    assert sorted(path.name for path in folder.iterdir()) == ["wide-code.json"]


def test_panes_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    save_layout("live", View(focus=MEMORY, recent=(MEMORY, UAPI)), tmp_path)
    view = read_layout("live", REPLAY.panes, tmp_path)
    assert (view.focus, view.recent) == (QUEUE, (QUEUE, UAPI))


@pytest.mark.parametrize(
    "name", ["", "Upper", "../up", "a/b", "-a", "a" * 41, "a b", ".a", "a\x1b[31m", DEFAULT]
)
def test_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(LayoutError):
        save_layout(name, View(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    if name != DEFAULT:
        with pytest.raises(LayoutError, match="there is no layout"):
            read_layout(name, REPLAY.panes, tmp_path)


def test_an_unknown_name_is_told_the_known_ones(tmp_path: Path) -> None:
    save_layout("mine", View(), tmp_path)
    with pytest.raises(LayoutError, match="there is no layout mien; layouts: default, mine"):
        read_layout("mien", REPLAY.panes, tmp_path)
    with pytest.raises(LayoutError, match="there is no saved layout default"):
        delete_layout(DEFAULT, tmp_path)


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no JSON"),
    "text": (b"\x1b[31m", "is no JSON"),
    "not UTF-8": (b"\xff", "is no JSON"),
    "cut off": (json.dumps(to_data(MINE)).encode()[:-5], "is no JSON"),
    "deep": (b"[" * 2000 + b"]" * 2000, "is no JSON"),
    "large": (b" " * (1 << 15) + b"{}", "is no JSON"),
    "a huge number": (b'{"version": ' + b"9" * 10_000 + b"}", "is no JSON"),
    "a list": (b"[]", "is no layout of version 1"),
    "another version": (b'{"version": 2}', "is no layout of version 1"),
}


@pytest.mark.parametrize(("data", "text"), BAD.values(), ids=BAD)
def test_files_that_are_no_layout(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(LayoutError, match=f"layout bad: .*{text}.*: save it again"):
        read_layout("bad", REPLAY.panes, tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**9) | st.text(max_size=5)
    | st.sampled_from([*REPLAY.panes, "full", "wide"]),
    lambda item: st.lists(item, max_size=4) | st.dictionaries(
        st.sampled_from(["bands", "places", "full", "wide", "tabs", "x"]), item, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={"focus": JSON, "front": JSON, "zoomed": JSON, "sizes": JSON},
))  # fmt: skip
def test_what_makes_no_sense_in_a_file_is_left_out(data: dict[str, object]) -> None:
    view = from_data(data, REPLAY.panes)
    for size in ((200, 60), (120, 40), (80, 24)):
        assert view.focus in arrange(*size, view, REPLAY).places


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nothing")
    assert layout_names(tmp_path) == ["folder", "gone", "pipe"]
    for name in layout_names(tmp_path):
        with pytest.raises(LayoutError, match=f"layout {name}"):
            read_layout(name, REPLAY.panes, tmp_path)
    with pytest.raises(LayoutError, match="not saved"):
        save_layout("folder", View(), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]
