"""Offsets out of BTF."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from tdxdbg.errors import BackendError
from tdxdbg.recipes.btf import Btf
from tests.recipes.btf_bytes import Maker, host

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def both() -> Btf:
    kernel, module = host()
    return Btf(module, "kvm_intel", Btf(kernel, "vmlinux"))


@pytest.mark.parametrize(
    ("struct", "path", "offset"),
    [
        ("kvm_vcpu", "vcpu_id", 36),
        ("vcpu_tdx", "vp_enter_args", 8800),
        ("vcpu_tdx", "vp_enter_args.r10", 8800 + 32),
        ("vcpu_tdx", "vp_enter_ret", 9000),
        ("tdx_module_args", "rsi", 96),
    ],
)
def test_members(struct: str, path: str, offset: int) -> None:
    assert both().offset(struct, path) == offset


def test_bitfields_have_their_place() -> None:
    maker = Maker()
    number = maker.integer("int", 4)
    maker.bitfields("flags", 8, {"low": (number, 0, 3), "high": (number, 32, 5)})
    assert Btf(maker.data()).offset("flags", "high") == 4


def test_a_struct_inside_itself_ends() -> None:
    maker = Maker()
    maker.struct("loop", 8, [("", 1, 0), ("", 1, 0), ("end", 1, 64)])
    assert Btf(maker.data()).offset("loop", "end") == 8
    with pytest.raises(BackendError, match="no member other"):
        Btf(maker.data()).offset("loop", "other")


@pytest.mark.parametrize(
    ("struct", "path", "says"),
    [
        ("vcpu_vmx", "x", "no struct vcpu_vmx; is kvm_intel loaded"),
        ("vcpu_tdx", "vp_enter_args.r16", "no member vp_enter_args.r16"),
        ("kvm_vcpu", "vcpu_id.x", "no member vcpu_id.x"),
    ],
)
def test_what_is_not_there(struct: str, path: str, says: str) -> None:
    with pytest.raises(BackendError, match=says):
        both().offset(struct, path)


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", b"\xeb\x9f" + bytes(40), bytes(24)])
def test_no_btf(data: bytes) -> None:
    with pytest.raises(BackendError):
        Btf(data)


def test_damage_is_refused_or_makes_no_difference() -> None:
    kernel, module = host()
    chance = random.Random(1)
    for _ in range(2000):
        damaged = bytearray(module)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        del damaged[chance.choice((len(damaged), chance.randrange(len(damaged)))) :]
        with suppress(BackendError):
            assert Btf(bytes(damaged), "x", Btf(kernel)).offset("vcpu_tdx", "vp_enter_ret") >= 0


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel shows no BTF")
def test_this_kernel() -> None:
    btf = Btf(VMLINUX.read_bytes())
    assert btf.offset("list_head", "next") == 0
    assert btf.offset("list_head", "prev") == 8
    assert btf.offset("task_struct", "se.run_node.rb_right") == (
        btf.offset("task_struct", "se") + btf.offset("sched_entity", "run_node.rb_right")
    )
