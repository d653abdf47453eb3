"""docs/session.md: its examples run, and it names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tdxdbg.session import LiveConfig, Session

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "session.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: re.findall(r"def (\w+)", code)[0])
def test_an_example_runs(code: str) -> None:
    names: dict[str, object] = {}
    exec(compile(code, "docs/session.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        assert callable(test)
        test()


def test_it_names_every_method() -> None:
    public = [name for name in dir(Session) if not name.startswith("_")]
    # Explained in other words, or by what they return.
    known = {"start", "refresh", "alive", "close", "world", "timeline", "open"}
    assert [name for name in public if name not in TEXT and name not in known] == []


def test_it_names_every_option() -> None:
    fields = set(LiveConfig.__dataclass_fields__) - {"guest"}
    assert [name for name in fields if f"`{name}`" not in TEXT] == []
