"""A line that is typed, and what was typed before."""

from __future__ import annotations

import pytest

from tdxdbg.ui.edit import MOST, LineEdit


def typed(*keys: str, text: str = "") -> LineEdit:
    edit = LineEdit.holding(text)
    for key in keys:
        assert edit.key(key, key if len(key) == 1 else None)
    return edit


@pytest.mark.parametrize(
    ("start", "keys", "text", "cursor"),
    [
        ("", "a b c", "abc", 3),
        ("abc", "left x", "abxc", 3),
        ("abc", "home x", "xabc", 1),
        ("abc", "home delete", "bc", 0),
        ("abc", "backspace backspace", "a", 1),
        ("a bc", "ctrl+w", "a", 1),
        ("abc", "left ctrl+u", "c", 0),
        ("abc", "left ctrl+k", "ab", 2),
        ("", "left right home end backspace delete", "", 0),
    ],
)
def test_line_editing(start: str, keys: str, text: str, cursor: int) -> None:
    edit = typed(*keys.split(), text=start)
    assert (edit.text, edit.cursor) == (text, cursor)


def test_what_is_no_printable_ascii_is_not_taken() -> None:
    edit = LineEdit()
    assert not edit.key("f5", None)
    assert not edit.key("x", "\x1b")
    edit.insert("a\x1b[31m\u202eb\n" + "x" * 1000)
    assert edit.text.startswith("a[31mbx")
    assert len(edit.text) == MOST


PAST = ("filter a", "go 1", "filter b", "go 2")


@pytest.mark.parametrize(
    ("start", "keys", "text"),
    [
        ("", "up", "go 2"),
        ("", "up up", "filter b"),
        ("", "ctrl+p ctrl+p ctrl+n", "go 2"),
        ("", "up up up up up up", "filter a"),
        ("", "up down", ""),
        ("", "down", ""),
        ("f", "up", "filter b"),
        ("f", "up up up", "filter a"),
        ("f", "up up down down", "f"),
        ("x", "up", "x"),
        ("go 2", "up", "go 2"),
        # What was recalled and then changed is what the next Up goes from.
        ("f", "up backspace up", "filter b"),
        ("f", "up backspace backspace a", "filtera"),
    ],
)
def test_up_takes_lines_that_begin_with_what_was_typed(start: str, keys: str, text: str) -> None:
    edit = LineEdit.holding(start)
    edit.past = PAST
    for key in keys.split():
        edit.key(key, key if len(key) == 1 else None)
    assert edit.text == text
    assert edit.cursor == len(text)


def test_without_a_history_up_is_no_key_of_a_line() -> None:
    assert not LineEdit().key("up", None)
