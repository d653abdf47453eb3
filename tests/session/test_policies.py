"""A policy from a person's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.errors import SessionError
from tdxdbg.session import Session
from tdxdbg.session.policies import load_policies

REFUSE = '''
import errno
from tdxdbg.vmm import Policy, Reply

class Refuse(Policy):
    """The first conversion fails."""
    state = 0
    def reply(self, ask, below):
        if ask.is_conversion and not self.state:
            self.state = 1
            return Reply(ask.conversion_answer(errno.EINVAL))
        return below(ask)

class Breaks(Policy):
    def __init__(self):
        raise ZeroDivisionError("at once")

number = 7
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(REFUSE)
    return path


def test_it_answers(mine: Path) -> None:
    with Session.open("mapgpa_retry", kernel="7.2", policies=[f"{mine}:Refuse"]) as td:
        td.run_until("leaf == MapGPA")
        assert td.state.answer == {"ret": 22}
        td.step()
        assert td.regs.r10 == 1 << 63


def test_names_stay_names() -> None:
    assert load_policies(["eagain:2", "qemu"]) == ["eagain:2", "qemu"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mine.py:Refused", "no tdxdbg.vmm.Policy"),
        ("mine.py:number", "no tdxdbg.vmm.Policy"),
        ("mine.py:Breaks", "ZeroDivisionError: at once"),
        ("other.py:Refuse", "there is no file"),
        ("bad.py:Refuse", "SyntaxError"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(mine: Path, name: str, problem: str) -> None:
    (mine.parent / "bad.py").write_text("def")
    with pytest.raises(SessionError, match=problem):
        load_policies([str(mine.parent / name)])
