"""No text reaches a widget but through `Line`s: the source is walked for any other way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tdxdbg.ui
from tdxdbg.ui.glyphs import ASCII_FOR

UI = Path(tdxdbg.ui.__file__).parent
SOURCES = sorted(UI.rglob("*.py"))

#: Widgets and functions of textual and rich that take text, by the name they are called with.
FORBIDDEN_CALLS = {
    "Button", "Checkbox", "Collapsible", "Content", "DataTable", "Digits", "DirectoryTree",
    "Footer", "Header", "Input", "Label", "Link", "ListItem", "ListView", "Log", "Markdown",
    "MarkdownViewer", "OptionList", "Option", "Placeholder", "Pretty", "RadioButton", "RichLog",
    "Rule", "Select", "SelectionList", "Static", "Switch", "TabbedContent", "TabPane", "TextArea",
    "Text", "Toast", "Tooltip", "Tree", "assemble", "bell", "copy_to_clipboard", "format_title",
    "from_ansi", "from_markup", "from_text", "notify", "open_url", "panic", "print", "render_str",
}  # fmt: skip
#: Attributes of widgets and apps that textual shows.
FORBIDDEN_ATTRIBUTES = {"border_title", "border_subtitle", "loading", "sub_title", "title",
                        "tooltip"}  # fmt: skip
#: Where strips are made: the only place that may.
STRIPS = {"widgets/lines_widget.py"}
#: Where text is made safe that already was: pieces of `Safe` text.
SAFE_MAKERS = {"lines.py"}


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        name = str(path.relative_to(UI))
        for item in ast.walk(tree):
            yield name, item


def called(item: ast.Call) -> str:
    function = item.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def places(found: Iterator[tuple[str, ast.expr | ast.stmt]]) -> list[str]:
    return [f"{name}:{item.lineno}" for name, item in found]


def calls(names: set[str], allowed: set[str]) -> Iterator[tuple[str, ast.Call]]:
    for name, item in trees():
        if isinstance(item, ast.Call) and called(item) in names and name not in allowed:
            yield name, item


def test_there_is_a_source_to_walk() -> None:
    assert len(SOURCES) > 15


def test_nothing_of_textual_or_rich_that_takes_text_is_called() -> None:
    assert places(calls(FORBIDDEN_CALLS, set())) == []


def test_strips_and_segments_are_made_in_one_place() -> None:
    assert places(calls({"PaintedStrip", "Segment", "Strip"}, STRIPS)) == []


def test_safe_text_is_claimed_only_where_pieces_of_it_are_cut() -> None:
    assert places(calls({"Safe", "NewType", "cast"}, SAFE_MAKERS)) == []


@pytest.mark.parametrize("attribute", sorted(FORBIDDEN_ATTRIBUTES))
def test_no_text_is_given_to_an_attribute_that_textual_shows(attribute: str) -> None:
    found = (
        (name, target)
        for name, item in trees()
        if isinstance(item, ast.Assign | ast.AnnAssign | ast.AugAssign)
        for target in (item.targets if isinstance(item, ast.Assign) else [item.target])
        if isinstance(target, ast.Attribute) and target.attr == attribute
    )
    assert places(found) == []


def literal(item: ast.expr) -> bool:
    """A literal, or a choice between literals; no f-string with something in it."""
    if isinstance(item, ast.IfExp):
        return literal(item.body) and literal(item.orelse)
    return isinstance(item, ast.Constant) and isinstance(item.value, str)


def test_own_words_are_literals() -> None:
    wrong = (
        (name, item)
        for name, item in calls({"own"}, set())
        if item.keywords or len(item.args) != 1 or not literal(item.args[0])
    )
    assert places(wrong) == []


def test_every_glyph_has_something_that_stands_for_it_in_ascii() -> None:
    glyphs = {
        character
        for name, item in trees()
        if isinstance(item, ast.Constant) and isinstance(item.value, str) and name != "glyphs.py"
        for character in item.value
        if ord(character) > 126
    }
    assert glyphs - set(ASCII_FOR) == set()


def test_what_stands_for_a_glyph_is_one_printable_character() -> None:
    assert all(len(text) == 1 and " " < text <= "~" for text in ASCII_FOR.values())
