from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.regs import Regs
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated import unicorn_lib
from tdxdbg.backends.emulated.context import Context, Segment
from tdxdbg.backends.emulated.unicorn_lib import Unicorn
from tdxdbg.errors import BackendError

ENGINE = Unicorn()


def test_the_layout_is_the_one_that_is_known() -> None:
    ctx.self_test(Unicorn())


@pytest.mark.parametrize("word", ["_REGISTERS", "_MSRS"])
def test_another_layout_is_refused_in_one_line(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = getattr(ctx, word)
    monkeypatch.setattr(ctx, word, ((places[0][0] + 1, places[0][1]), *places[1:]))
    with pytest.raises(BackendError, match="keeps registers elsewhere"):
        ctx.self_test(Unicorn())


def test_a_context_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctx, "SIZE", ctx.SIZE + 8)
    with pytest.raises(BackendError, match="a context of 5608 bytes instead of 5616"):
        Context(ENGINE)


def test_another_version_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unicorn_lib, "VERSION", "9.9.9")
    with pytest.raises(BackendError, match=r"pip install unicorn==9\.9\.9"):
        Unicorn()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=16, max_size=16))
def test_registers_are_read_as_written(values: list[int]) -> None:
    context = Context(ENGINE)
    context.regs = Regs(*values)
    assert context.regs == tuple(values)
    other = Context(ENGINE)
    other.restore_dump(context.dump())
    assert other.regs == context.regs


@given(st.integers(0, 0x3F_FFFF))
def test_flags_are_read_as_written(flags: int) -> None:
    """Bits 1, 3, 5 and 15 are fixed; VM, VIF and VIP do not exist in long mode."""
    context = Context(ENGINE)
    flags = flags & 0x0024_7FD5 | 2
    context.rflags = flags
    assert context.rflags == flags


def test_segments_and_code() -> None:
    context = Context(ENGINE)
    context.set_segment(ctx.FS, Segment(0x2B, 0x1234_5678_9ABC, 0xFFFF, 0xF300))
    assert context.segment(ctx.FS) == (0x2B, 0x1234_5678_9ABC, 0xFFFF, 0xF300)
    assert context.segment_base(ctx.FS) == 0x1234_5678_9ABC
    context.set_flat_code(0x33, 3)
    assert (context.cpl, context.is_64bit) == (3, True)


def test_an_exception_in_a_hook_comes_out_of_the_run() -> None:
    """SystemExit too: a callback from C must let nothing through, and lose nothing."""
    engine = Unicorn()
    memory = (ctypes.c_uint8 * 8192)()
    start = ctypes.addressof(memory) + 4095 & -4096
    engine.map(0x1000, start, 4096)
    ctypes.memmove(start, b"\xcc", 1)

    def react(number: int) -> None:
        raise SystemExit(number)

    engine.on_exit(react)
    with pytest.raises(SystemExit, match="3"):
        engine.start(0x1000)
    assert engine.failure is None
