"""The recipes as they are printed and, as far as that goes without TDX, run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tdxdbg.cli.group import cli
from tdxdbg.recipes import RECIPES
from tdxdbg.recipes.host import REGISTERS, Offsets, read_offsets
from tests.recipes.btf_bytes import host


@pytest.fixture
def btf(tmp_path: Path) -> Path:
    folder = tmp_path / "btf"
    folder.mkdir()
    kernel, module = host()
    (folder / "vmlinux").write_bytes(kernel)
    (folder / "kvm_intel").write_bytes(module)
    return folder


def recipe(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["recipe", *arguments], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.output


def test_offsets(btf: Path) -> None:
    found = read_offsets(str(btf))
    assert found == Offsets(36, 9000, tuple(range(8800, 8904, 8)), f"the BTF in {btf}")
    assert len(found.registers) == len(REGISTERS)


def test_a_module_that_is_built_in(btf: Path) -> None:
    (btf / "kvm_intel").unlink()
    result = CliRunner().invoke(cli, ["recipe", "kprobe", "--btf", str(btf)], standalone_mode=False)
    assert "no struct vcpu_tdx" in str(result.exception)


@pytest.mark.parametrize("name", RECIPES)
def test_each_says_what_it_needs_costs_and_leaves_out(name: str) -> None:
    text = recipe(name)
    for word in ("Needs:", "Overhead:", "Gaps:"):
        assert word in text
    assert all(len(line) <= 100 or not line.startswith(("#", "//")) for line in text.splitlines())


def fake_tracefs(folder: Path) -> Path:
    for event in ("tdx/exit", "tdx/reply"):
        (folder / "instances/tdxdbg/events" / event).mkdir(parents=True)
    for event in re.findall(r"kvm_\w+", recipe("kprobe").split("events/kvm")[0].split("for")[-1]):
        (folder / "instances/tdxdbg/events/kvm" / event).mkdir(parents=True)
    (folder / "instances/tdxdbg/trace_pipe").write_text("a line\n")
    (folder / "kprobe_events").touch()
    return folder


def test_the_kprobe_script_runs(btf: Path, tmp_path: Path) -> None:
    tracing = fake_tracefs(tmp_path / "tracing")
    script, out = tmp_path / "record.sh", tmp_path / "out.txt"
    script.write_text(recipe("kprobe", "--btf", str(btf)))
    done = subprocess.run(
        ["sh", str(script), str(out)],
        env={**os.environ, "TRACING": str(tracing)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "a line\n"
    lines = (tracing / "kprobe_events").read_text().splitlines()
    assert lines[0].startswith(
        "p:tdx/exit kvm_intel:tdx_handle_exit vcpu=+36(%di):s32 ret=+9000(%di):x64 "
        "rcx=+8800(%di):x64 rdx=+8808(%di):x64 "
    )
    assert lines[1].startswith("p:tdx/reply kvm_intel:tdx_vcpu_run vcpu=")
    assert lines[2:] == ["-:tdx/exit", "-:tdx/reply"], "the probes are taken away"
    enabled = {
        path.parent.name
        for path in tracing.glob("instances/tdxdbg/events/*/*/enable")
        if path.read_text() == "1\n"
    }
    assert {"exit", "reply", "kvm_userspace_exit", "kvm_entry", "kvm_pio"} <= enabled


def test_without_btf_the_script_asks_pahole(tmp_path: Path) -> None:
    tracing = fake_tracefs(tmp_path / "tracing")
    pahole = tmp_path / "bin/pahole"
    pahole.parent.mkdir()
    pahole.write_text(
        "#!/bin/sh\n"
        "echo '\tint                        vcpu_id;              /*    36     4 */'\n"
        "echo '\tu64                        vp_enter_ret;         /*  9000     8 */'\n"
        "echo '\tstruct tdx_module_args     vp_enter_args;        /*  8800   104 */'\n"
    )
    pahole.chmod(0o755)
    script = tmp_path / "record.sh"
    script.write_text(RECIPES["kprobe"](None))
    path = f"{pahole.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(script), str(tmp_path / "out.txt")],
        env={**os.environ, "TRACING": str(tracing), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first = (tracing / "kprobe_events").read_text().splitlines()[0]
    assert "vcpu=+36(%di):s32 ret=+9000(%di):x64 rcx=+8800(%di):x64 rdx=+8808(%di):x64" in first
    assert "rsi=+8896(%di):x64" in first
