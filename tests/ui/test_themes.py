from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.resources import themes_dir
from tdxdbg.ui.palette import COLOURS, ROLES, Palette
from tdxdbg.ui.themes import (
    DEFAULT,
    ThemeError,
    choose,
    load_themes,
    parse_theme,
    read_theme,
    textual_theme,
)

GOOD = (themes_dir() / "tdx-dark.toml").read_text("utf-8")
NAMES = ["tdx-colorblind", "tdx-dark", "tdx-light"]


@pytest.fixture(params=NAMES)
def palette(request: pytest.FixtureRequest) -> Palette:
    return choose(load_themes(), str(request.param))


def luminance(colour: str) -> float:
    """Relative luminance as in WCAG 2."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_shipped_themes_load_without_a_problem() -> None:
    themes = load_themes()
    assert sorted(themes.palettes) == NAMES
    assert themes.problems == ()
    assert choose(themes, None).name == DEFAULT
    assert not choose(themes, "tdx-light").dark


@pytest.mark.parametrize("role", sorted(set(COLOURS) - {"background", "cursor", "lit", "frame"}))
def test_text_can_be_read(palette: Palette, role: str) -> None:
    assert contrast(palette.colours[role], palette.colours["background"]) >= 4.5


@pytest.mark.parametrize("role", ["text", "value", "name", "shared", "private", "retry"])
@pytest.mark.parametrize("behind", ["cursor", "lit"])
def test_text_can_be_read_on_the_line_of_the_cursor(
    palette: Palette, role: str, behind: str
) -> None:
    assert contrast(palette.colours[role], palette.colours[behind]) >= 4.5


def test_the_documented_colours_of_the_dark_theme() -> None:
    colours = choose(load_themes(), "tdx-dark").colours
    assert colours["background"] == "#101418"
    expected = {
        "shared": "#e69f00",
        "private": "#56b4e9",
        "error": "#d55e00",
        "retry": "#f0e442",
        "ok": "#009e73",
    }
    assert {role: colours[role] for role in expected} == expected


@pytest.mark.parametrize(("one", "other"), [("shared", "private"), ("ok", "error")])
def test_colour_blind_pairs_differ_in_lightness(one: str, other: str) -> None:
    colours = choose(load_themes(), "tdx-colorblind").colours
    assert contrast(colours[one], colours[other]) >= 1.7


def test_every_role_has_a_style_with_both_colours(palette: Palette) -> None:
    for role in ROLES - {"background", "cursor", "lit"}:
        for current in (False, True):
            style = palette.style(role, current)
            assert style.color is not None
            assert style.bgcolor is not None


def test_textual_gets_the_background(palette: Palette) -> None:
    theme = textual_theme(palette)
    assert theme.background == palette.colours["background"]
    assert theme.dark == palette.dark


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "bad.toml: not TOML"),
        (changed('name = "tdx-dark"', 'name = "Tdx Dark"'), "name must be lower-case"),
        (changed('name = "tdx-dark"', ""), "name must be"),
        (changed("dark = true", "dark = 1"), "dark must be true or false"),
        (changed("dark = true", "drak = true"), "unknown key 'drak'"),
        (changed("[colors]", "[colours]"), "unknown key 'colours'"),
        (changed('retry = "#f0e442"', 'retry = "yellow"'), "colors.retry: 'yellow' is not a"),
        (changed('retry = "#f0e442"', "retry = 3"), "colors.retry: 3 is not a colour"),
        (changed('retry = "#f0e442"', 'rtery = "#f0e442"'), "unknown key colors.rtery"),
        (changed('retry = "#f0e442"', ""), "colors.retry is missing"),
        ('name = "a"\ndark = true\ncolors = 3', "the table [colors] is missing"),
    ],
)
def test_what_is_wrong_with_a_theme_is_one_line_with_file_and_key(text: str, message: str) -> None:
    with pytest.raises(ThemeError) as caught:
        parse_theme(text, "bad.toml")
    assert str(caught.value).startswith("bad.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_theme_is_left_out_and_reported(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD.replace("tdx-dark", "mine"), "utf-8")
    (tmp_path / "b.toml").write_text("name = 3", "utf-8")
    (tmp_path / "c.toml").write_bytes(b"\xff")
    (tmp_path / "d.toml").mkdir()
    themes = load_themes([themes_dir(), tmp_path])
    assert sorted(themes.palettes) == sorted([*NAMES, "mine"])
    assert [line.partition(":")[0] for line in themes.problems] == ["b.toml", "c.toml", "d.toml"]


def test_a_huge_theme_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * (1 << 20))
    with pytest.raises(ThemeError, match="larger than a theme"):
        read_theme(path)


def test_an_unknown_theme_names_those_that_exist() -> None:
    with pytest.raises(ThemeError, match="no theme 'nope'; themes: tdx-colorblind, tdx-dark"):
        choose(load_themes(), "nope")
