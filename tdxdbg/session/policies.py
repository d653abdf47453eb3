"""Policies from a person's own file: FILE.py:NAME, beside those that have a name.

NAME is a class without parameters, or an instance, of `tdxdbg.vmm.Policy`. The
file is a program that the person asks to be run; it runs in the worker.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from pathlib import Path

from tdxdbg.errors import SessionError
from tdxdbg.vmm import Policy


def load_policies(texts: Iterable[str]) -> list[str | Policy]:
    """Names as they are, files as the policies in them; raises SessionError."""
    return [_load(text) if ".py:" in text else text for text in texts]


def _load(text: str) -> Policy:
    path, _, name = text.rpartition(":")
    if not Path(path).is_file():
        raise SessionError(f"policy {text!r}: there is no file {path}; give FILE.py:NAME")
    try:
        found = runpy.run_path(path).get(name)
        policy = found() if isinstance(found, type) else found
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise SessionError(f"policy {text!r}: the file does not run: {why}") from error
    if not isinstance(policy, Policy):
        raise SessionError(
            f"policy {text!r}: {name!r} in it is no tdxdbg.vmm.Policy; make it a class of that kind"
        )
    return policy
