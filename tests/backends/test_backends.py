from __future__ import annotations

import subprocess
import sys

import pytest

from tdxdbg.backends import BACKENDS, open_backend
from tdxdbg.backends.emulated.memory import Slot
from tdxdbg.backends.emulated.td import TdConfig
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.errors import BackendError
from tdxdbg.module import TdParams

CONFIG = TdConfig(TdParams(), (Slot(0, 1 << 20),), (StartState(0x1000),))


def test_a_backend_is_opened_by_name() -> None:
    assert open_backend("emulated", CONFIG).read_gpa(0, 4) == bytes(4)


def test_an_unknown_backend_names_those_there_are() -> None:
    with pytest.raises(BackendError, match=r"no backend 'hardware'.*emulated"):
        open_backend("hardware", CONFIG)


def test_nothing_is_loaded_before_a_backend_is_opened() -> None:
    code = (
        "import sys, tdxdbg.backends\n"
        "assert not {'unicorn', 'capstone', 'ctypes'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_emulated_backend_reads_no_clock_and_no_entropy() -> None:
    code = (
        f"import sys, {BACKENDS['emulated']}\n"
        "import pathlib\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('tdxdbg.backends'):\n"
        "        used = set(vars(module))\n"
        "        assert not used & {'time', 'random', 'os', 'secrets', 'threading'}, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TdConfig(TdParams(), (Slot(0, 4096),), ()), "0 start states for 1 vCPUs"),
        (TdConfig(TdParams(), (), (StartState(0),)), "guest RAM of 0 bytes"),
        (TdConfig(TdParams(), (Slot(0, 8 << 30),), (StartState(0),)), "takes 4096 to"),
        (TdConfig(TdParams(), (Slot(0, 100),), (StartState(0),)), "whole pages"),
        (TdConfig(TdParams(), (Slot(0, 8192), Slot(4096, 4096)), (StartState(0),)), "overlap"),
        (TdConfig(TdParams(), (Slot(1 << 39, 4096),), (StartState(0),)), "must end below"),
    ],
)
def test_what_cannot_be_a_td_is_refused(config: TdConfig, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_backend("emulated", config)
