"""Settings files, good and bad: what is wrong is a line each, and the rest works."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.settings import Settings, load_settings, parse_settings, settings_path


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", Settings()),
        ('theme = "tdx-light"\nascii = true', Settings("tdx-light", True)),
        ('[keys]\nzoom = "x"', Settings(keys={"zoom": ("x",)})),
        ('[keys]\nzoom = "x, Ctrl-n,?"', Settings(keys={"zoom": ("x", "ctrl+n", "question_mark")})),
        ('[keys]\nzoom = "x,x"', Settings(keys={"zoom": ("x",)})),
        ('[keys]\nzoom = ""', Settings(keys={"zoom": ()})),
        ('[keys]\ncontinue = "F5"', Settings(keys={"continue": ("f5",)})),
        ('[layout]\ndefault = "wide"', Settings(layout="wide")),
    ],
)
def test_good_ones(text: str, settings: Settings) -> None:
    assert parse_settings(text) == (settings, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("theme =", "not TOML: Invalid value (at end of document)"),
        ("theme = 3", "theme must be the name of a theme"),
        (f'theme = "{"x" * 99}"', "theme must be the name of a theme"),
        ('ascii = "yes"', "ascii must be true or false"),
        ("keys = 3", "keys must be a table: [keys]"),
        ("[[layout]]", "layout must be a table: [layout]"),
        ("them = 1", "there is no setting them; did you mean theme?"),
        ("q = 1", "there is no setting q"),
        ('[keys]\nzom = "x"', "there is no key keys.zom; did you mean keys.zoom?"),
        ("[keys]\nzoom = 3", 'keys.zoom must be keys in quotes: "x", or "x,Ctrl-n"'),
        ('[keys]\nzoom = "x,nope"', "keys.zoom: there is no key 'nope'"),
        ('[keys]\nfocus = "x"', "keys.focus: the digits stay where they are"),
        ("[layout]\ndefault = 3", "layout.default must be the name of a layout"),
        ("[layout]\nother = 3", "there is no setting layout.other"),
    ],
)
def test_bad_ones(text: str, problem: str) -> None:
    settings, problems = parse_settings(text)
    assert settings == Settings()
    assert problems == (f"settings.toml: {problem}",)


def test_what_is_good_beside_what_is_wrong_works() -> None:
    text = 'theme = "tdx-light"\nascii = 1\n[keys]\nzom = "x"\nzoom = "Z"\nstep = "nope"'
    settings, problems = parse_settings(text)
    assert settings == Settings("tdx-light", keys={"zoom": ("Z",)})
    assert len(problems) == 3


@given(st.text())
def test_any_text_gives_settings(text: str) -> None:
    _, problems = parse_settings(text)
    assert all(isinstance(line, str) for line in problems)


# --- files ----------------------------------------------------------------------------------


def test_without_a_file_nothing_is_wrong() -> None:
    assert load_settings() == (Settings(), ())


def test_the_file_lies_in_the_folder_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_path() == tmp_path / "tdxdbg" / "settings.toml"
    settings_path().parent.mkdir()
    settings_path().write_text('theme = "tdx-light"')
    assert load_settings() == (Settings("tdx-light"), ())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"#" * (1 << 17), "larger than settings can be"),
        (b"[" * 5000, "not TOML"),
    ],
)
def test_files_that_are_no_settings(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(data)
    settings, problems = load_settings(path)
    assert settings == Settings()
    assert len(problems) == 1
    assert problem in problems[0]


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    assert load_settings(tmp_path)[1] == (f"{tmp_path.name}: cannot be read: Is a directory",)
