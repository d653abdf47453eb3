"""What tools/fetch_kernels has fetched, for the tests that want the real thing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

_CHECKOUT: Final = Path(__file__).parents[1]
CACHE: Final = Path(os.environ.get("TDXDBG_KERNELS") or _CHECKOUT / ".cache" / "kernels")


def fetched(name: str) -> Path:
    """A file of the cache, such as `cloud/vmlinuz`; the test is skipped when it is not there."""
    path = CACHE / name
    if not path.is_file():
        pytest.skip(f"no {name} in {CACHE}: tools/fetch_kernels {path.parent.name}")
    return path
