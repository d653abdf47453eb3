"""The window of a virtio-mmio device (virtio 1.2, 4.2.2 and 3.1.1)."""

from __future__ import annotations

import pytest

from tdxdbg.vmm import virtio
from tdxdbg.vmm.virtio import FEATURES, Virtio


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [
        (0x000, 4, int.from_bytes(b"virt", "little")),
        (0x004, 4, 2),
        (0x008, 4, 4),
        (0x00C, 4, int.from_bytes(b"tdxd", "little")),
        (0x034, 4, 0),
        (0x060, 4, 0),
        (0x070, 4, 0),
        (0x0FC, 4, 0),
        (0x100, 4, 0),
        (0x1FC, 4, 0),
        (0x000, 1, 0),
        (0x000, 2, 0),
    ],
)
def test_what_a_probe_reads(offset: int, size: int, value: int) -> None:
    assert Virtio().read(offset, size) == value


def offered(device: Virtio) -> int:
    features = 0
    for half in (0, 1):
        device.write(virtio.DEVICE_FEATURES_SEL, 4, half)
        features |= device.read(virtio.DEVICE_FEATURES, 4) << 32 * half
    return features


def accept(device: Virtio, features: int) -> None:
    for half in (0, 1):
        device.write(virtio.DRIVER_FEATURES_SEL, 4, half)
        device.write(virtio.DRIVER_FEATURES, 4, features >> 32 * half & 0xFFFF_FFFF)


@pytest.mark.parametrize(
    ("features", "status"),
    [(FEATURES, 0x0B), (0, 0x03), (FEATURES | 1, 0x03), (1, 0x03), (FEATURES << 1, 0x03)],
)
def test_negotiation(features: int, status: int) -> None:
    device = Virtio()
    assert offered(device) == FEATURES
    device.write(virtio.STATUS, 4, 3)
    accept(device, features)
    device.write(virtio.STATUS, 4, 0x0B)
    assert device.read(virtio.STATUS, 4) == status


def test_features_are_fixed_after_it_and_a_reset_forgets_them() -> None:
    device = Virtio()
    accept(device, FEATURES)
    device.write(virtio.STATUS, 4, 0x0B)
    accept(device, 0)
    device.write(virtio.STATUS, 4, 0x0F)
    assert device.read(virtio.STATUS, 4) == 0x0F
    device.write(virtio.STATUS, 4, 0)
    assert device.state == virtio.VirtioState()


def test_no_other_half_of_the_features() -> None:
    device = Virtio()
    device.write(virtio.DEVICE_FEATURES_SEL, 4, 2)
    assert device.read(virtio.DEVICE_FEATURES, 4) == 0
    device.write(virtio.DRIVER_FEATURES_SEL, 4, 0xFFFF_FFFF)
    device.write(virtio.DRIVER_FEATURES, 4, 0xFFFF_FFFF)
    assert device.state.driver_features == 0


@pytest.mark.parametrize("offset", range(0, virtio.SIZE, 2))
def test_narrow_writes_and_other_registers_change_nothing(offset: int) -> None:
    device = Virtio()
    device.write(offset, 2, 0xFFFF)
    assert device.state == virtio.VirtioState()
    known = (virtio.STATUS, virtio.DEVICE_FEATURES_SEL, virtio.DRIVER_FEATURES_SEL)
    if offset not in (*known, virtio.DRIVER_FEATURES):
        device.write(offset, 4, 0xFFFF_FFFF)
        assert device.state == virtio.VirtioState()
