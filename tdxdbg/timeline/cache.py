"""The rows that were read last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

#: How many a cache holds.
CACHED_ROWS: Final = 512


def cached(cache: OrderedDict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """What is kept under the key, made when it is not there; the longest unused makes room."""
    found = cache.get(key)
    if found is None:
        found = cache[key] = make()
        while len(cache) > CACHED_ROWS:
            cache.popitem(last=False)
    else:
        cache.move_to_end(key)
    return found
