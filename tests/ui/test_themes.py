from __future__ import annotations

from pathlib import Path

import pytest
from rich.color import Color, ColorSystem

from tdxdbg.resources import themes_dir
from tdxdbg.ui.palette import COLOURS, ROLES, Palette
from tdxdbg.ui.themes import (
    DEFAULT,
    ThemeError,
    choose,
    for_terminal,
    load_themes,
    notice,
    parse_theme,
    read_theme,
    textual_theme,
    user_themes_dir,
)
from tests.ui.sight import SIGHTS, contrast, difference, seen

GOOD = (themes_dir() / "tdx-dark.toml").read_text("utf-8")
NAMES = ["tdx-16", "tdx-colorblind", "tdx-dark", "tdx-high-contrast", "tdx-light"]
#: Those whose colours are their own and not the terminal's.
COLOURED = [name for name in NAMES if name != "tdx-16"]
TEXTS = sorted(set(COLOURS) - {"background", "cursor", "lit", "frame"})
STATES = ("shared", "private", "mixed")


@pytest.fixture(params=NAMES)
def palette(request: pytest.FixtureRequest) -> Palette:
    return choose(load_themes(), str(request.param))


@pytest.fixture(params=COLOURED)
def coloured(request: pytest.FixtureRequest) -> Palette:
    return choose(load_themes(), str(request.param))


def test_the_shipped_themes_load_without_a_problem() -> None:
    themes = load_themes()
    assert sorted(themes.palettes) == NAMES
    assert themes.problems == ()
    assert choose(themes, None).name == DEFAULT
    assert not choose(themes, "tdx-light").dark
    assert all(palette.title for palette in themes.palettes.values())
    assert [name for name in NAMES if themes.palettes[name].ansi] == ["tdx-16"]


# --- contrast ----------------------------------------------------------------------------


@pytest.mark.parametrize("role", TEXTS)
@pytest.mark.parametrize("behind", ["background", "cursor"])
def test_text_can_be_read(coloured: Palette, role: str, behind: str) -> None:
    """WCAG 2: AA, and AAA where high contrast is promised."""
    least = 7.0 if coloured.name == "tdx-high-contrast" else 4.5
    assert contrast(coloured.colours[role], coloured.colours[behind]) >= least


@pytest.mark.parametrize("role", STATES)
def test_the_range_of_the_exit_can_be_read_in_the_map(coloured: Palette, role: str) -> None:
    assert contrast(coloured.colours[role], coloured.colours["lit"]) >= 4.5


@pytest.mark.parametrize("role", TEXTS)
def test_text_can_be_read_with_256_colours(coloured: Palette, role: str) -> None:
    def nearest(name: str) -> str:
        colour = Color.parse(coloured.colours[name]).downgrade(ColorSystem.EIGHT_BIT)
        return colour.get_truecolor().hex

    assert contrast(nearest(role), nearest("background")) >= 4.5
    assert contrast(nearest(role), nearest("cursor")) >= 4.0


#: What terminals make of the 16 colours: the Linux console's, and xterm's, both on black.
CONSOLE = {"default": "#aaaaaa", "red": "#aa0000", "green": "#00aa00", "yellow": "#aa5500",
           "magenta": "#aa00aa", "cyan": "#00aaaa", "bright_red": "#ff5555",
           "bright_yellow": "#ffff55", "bright_cyan": "#55ffff"}  # fmt: skip
XTERM = {"default": "#e5e5e5", "red": "#cd0000", "green": "#00cd00", "yellow": "#cdcd00",
         "magenta": "#cd00cd", "cyan": "#00cdcd", "bright_red": "#ff0000",
         "bright_yellow": "#ffff00", "bright_cyan": "#00ffff"}  # fmt: skip


@pytest.mark.parametrize("terminal", [CONSOLE, XTERM], ids=["console", "xterm"])
@pytest.mark.parametrize("role", TEXTS)
def test_the_16_colours_can_be_read_on_black(terminal: dict[str, str], role: str) -> None:
    colour = choose(load_themes(), "tdx-16").colours[role]
    if colour != "faint":
        assert contrast(terminal[colour], "#000000") >= 3.0


def test_the_cursor_line_of_16_colours_is_one_bar() -> None:
    palette = choose(load_themes(), "tdx-16")
    lines = {palette.style(role, True) for role in ("text", "shared", "error", "dim", "ok")}
    assert len({(item.color, item.bgcolor, item.reverse) for item in lines}) == 1
    assert all(item.reverse and item.bold for item in lines)
    # What is turned around already stands out of the bar.
    assert not palette.style("badge", True).reverse


# --- colour blindness --------------------------------------------------------------------

PAIRS = [("shared", "private"), ("shared", "mixed"), ("private", "mixed"),
         ("ok", "error"), ("ok", "retry"), ("error", "retry")]  # fmt: skip


@pytest.mark.parametrize("kind", sorted(SIGHTS))
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_means_something_else_looks_otherwise(kind: str, one: str, other: str) -> None:
    colours = choose(load_themes(), "tdx-colorblind").colours
    assert difference(seen(colours[one], kind), seen(colours[other], kind)) >= 20


def test_the_measure_knows_what_cannot_be_told_apart() -> None:
    """Red and green of one lightness, for the eyes that take them for the same."""
    red, green = "#a86464", "#7f7a64"
    assert difference(seen(red, "deuteranopia"), seen(green, "deuteranopia")) < 10
    assert difference(seen(red, "tritanopia"), seen(green, "tritanopia")) > 20


@pytest.mark.parametrize(("one", "other"), [("shared", "private"), ("ok", "error")])
def test_colour_blind_pairs_differ_in_lightness(one: str, other: str) -> None:
    colours = choose(load_themes(), "tdx-colorblind").colours
    assert contrast(colours[one], colours[other]) >= 1.7


# --- without colour ----------------------------------------------------------------------


def test_without_colour_no_role_has_one(palette: Palette) -> None:
    plain = palette.without_colour()
    for role in ROLES - {"background", "cursor", "lit"}:
        for current in (False, True):
            style = plain.style(role, current)
            assert style.color is None
            assert style.bgcolor is None


@pytest.mark.parametrize("role", sorted(ROLES - {"background", "cursor", "lit"}))
def test_without_colour_the_cursor_line_stands_out(role: str) -> None:
    plain = choose(load_themes(), None).without_colour()
    assert plain.style(role) != plain.style(role, True)


def test_without_colour_shades_keep_their_meaning() -> None:
    """A reversed dark shade looks like a light one, which is another state."""
    plain = choose(load_themes(), None).without_colour()
    looks = set()
    for state in STATES:
        for role in (state, f"{state}_lit", f"{state}_now"):
            style = plain.style(role)
            assert not style.reverse
            looks.add((bool(style.bold), bool(style.underline)))
    assert len(looks) == 3


@pytest.mark.parametrize(
    ("environ", "name", "plain"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "tdx-dark", False),
        ({"TERM": "xterm-256color"}, "tdx-dark", False),
        ({"TERM": "xterm-kitty"}, "tdx-dark", False),
        ({"TERM": "xterm"}, "tdx-16", False),
        ({"TERM": "linux"}, "tdx-16", False),
        ({}, "tdx-16", False),
        ({"TERM": "linux", "COLORTERM": "24bit"}, "tdx-dark", False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "tdx-dark", True),
        ({"TERM": "linux", "NO_COLOR": "1"}, "tdx-16", True),
        # Empty means not set: https://no-color.org
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "tdx-dark", False),
    ],
)
def test_the_theme_that_suits_the_terminal(environ: dict[str, str], name: str, plain: bool) -> None:
    palette = for_terminal(load_themes(), None, environ)
    assert (palette.name, palette.plain) == (name, plain)
    asked = for_terminal(load_themes(), "tdx-light", environ)
    assert (asked.name, asked.plain) == ("tdx-light", plain)


def test_every_role_has_a_style_with_both_colours(palette: Palette) -> None:
    for role in ROLES - {"background", "cursor", "lit"}:
        for current in (False, True):
            style = palette.style(role, current)
            assert style.color is not None
            assert style.bgcolor is not None


@pytest.mark.parametrize("plain", [False, True])
def test_textual_gets_colours_that_it_understands(palette: Palette, plain: bool) -> None:
    palette = palette.without_colour() if plain else palette
    theme = textual_theme(palette)
    assert (theme.dark, theme.ansi) == (palette.dark, palette.ansi)
    assert theme.to_color_system().generate()
    if not palette.ansi:
        assert theme.background == palette.colours["background"]


# --- files -------------------------------------------------------------------------------


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
        (changed('retry = "#f0e442"', 'retry = "orange"'), "colors.retry: 'orange' is not a"),
        (changed('retry = "#f0e442"', "retry = 3"), "colors.retry: 3 is not a colour"),
        (changed('retry = "#f0e442"', 'rtery = "#f0e442"'), "unknown key colors.rtery"),
        (changed('retry = "#f0e442"', ""), "colors.retry is missing"),
        ('name = "a"\ndark = true\ncolors = 3', "the table [colors] is missing"),
        (changed('retry = "#f0e442"', 'retry = "reverse"'), "colors.retry: 'reverse' is not"),
        (changed('cursor = "#1b2a3a"', 'cursor = "faint"'), "colors.cursor: 'faint' is not"),
        (changed("dark = true", 'dark = true\nbase = "nope"'), "base: there is no theme 'nope'"),
        (changed('title = "', "title = 3 # "), "title must be text"),
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


def test_what_was_left_out_is_one_line(tmp_path: Path) -> None:
    assert notice(load_themes()) == ""
    (tmp_path / "a.toml").write_text("name = 3", "utf-8")
    assert notice(load_themes([tmp_path])).startswith("a.toml: name must be")
    (tmp_path / "b.toml").write_text("", "utf-8")
    (tmp_path / "c.toml").write_text("", "utf-8")
    assert notice(load_themes([tmp_path])).endswith("digits and dashes (and 2 more)")


def test_a_theme_builds_on_another(tmp_path: Path) -> None:
    text = 'name = "mine"\nbase = "tdx-light"\ndark = false\n[colors]\nshared = "#123456"\n'
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    mine, light = (
        choose(load_themes([themes_dir(), tmp_path]), name) for name in ("mine", "tdx-light")
    )
    assert mine.colours == {**light.colours, "shared": "#123456"}


def test_the_folder_of_the_user_is_that_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_themes_dir() == tmp_path / "tdxdbg" / "themes"


def test_a_huge_theme_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * (1 << 20))
    with pytest.raises(ThemeError, match="larger than a theme"):
        read_theme(path)


def test_an_unknown_theme_names_those_that_exist() -> None:
    with pytest.raises(ThemeError, match="no theme 'nope'; themes: tdx-16, tdx-colorblind"):
        choose(load_themes(), "nope")
