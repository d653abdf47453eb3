"""What tools/fetch_kernels has fetched, for the tests that want the real thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.make_initramfs import CACHE


def fetched(name: str) -> Path:
    """A file of the cache, such as `cloud/vmlinuz`; the test is skipped when it is not there."""
    path = CACHE / name
    if not path.is_file():
        pytest.skip(f"no {name} in {CACHE}: tools/fetch_kernels {path.parent.name}")
    return path
