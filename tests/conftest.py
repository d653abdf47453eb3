"""Settings that all tests share."""

from __future__ import annotations

import os
from itertools import count

import pytest
from hypothesis import settings

# The pictures of the screen are in colour, whatever the terminal of this run wants.
# Before any test imports Textual, which looks once.
os.environ.pop("NO_COLOR", None)

# The same examples in every run, on every machine.
settings.register_profile(
    "tdxdbg", derandomize=True, deadline=None, max_examples=100, database=None
)
settings.load_profile("tdxdbg")

_HOMES = count()


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each test has settings, memory and cache of its own, and not those of who runs it."""
    home = tmp_path_factory.getbasetemp() / f"home{next(_HOMES)}"
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home / name))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Boots that take minutes are for who asks for them: `-m linux`."""
    if "linux" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("linux")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_make_parametrize_id(config: object, val: object) -> str | None:
    """Names of tests go between processes as UTF-8; some of what is tested cannot."""
    return ascii(val) if isinstance(val, str) and not val.isprintable() else None
