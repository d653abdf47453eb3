"""What to run on a TDX host to record its exits, in forms that `tdxdbg.traces` reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdxdbg.recipes import bpftrace, kprobe, qemu
from tdxdbg.recipes.host import Offsets

#: By name: makes the text, given the offsets of the host's kernel or None.
RECIPES: Final[dict[str, Callable[[Offsets | None], str]]] = {
    "kprobe": kprobe.script,
    "bpftrace": lambda _: bpftrace.program(),
    "qemu": lambda _: qemu.options(),
}
