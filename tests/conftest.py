"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run, on every machine.
settings.register_profile(
    "tdxdbg", derandomize=True, deadline=None, max_examples=100, database=None
)
settings.load_profile("tdxdbg")
