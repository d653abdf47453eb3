"""What a headless command loads: never textual, and no numpy to begin with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "sample_traces/mapgpa_64mib_interrupted.tdxt"

# Runs a command as `tdxdbg` would and says, on the last line, which of the watched
# packages were loaded.
RUN = """
import json, sys
argv = json.loads(sys.argv[1])
import tdxdbg.cli
if argv is not None:
    sys.argv = ["tdxdbg", *argv]
    try:
        status = tdxdbg.cli.main()
    except SystemExit as end:
        status = end.code
    assert not status, f"exit status {status}"
print()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

#: Slow to import, or able to reach the network: nothing that starts needs them.
HEAVY = {"textual", "numpy", "capstone", "unicorn", "asyncio", "socket", "hypothesis", "pytest"}

AT_START: list[list[str] | None] = [
    None,
    ["--version"],
    ["--help"],
    ["generations"],
    ["generations", "--diff", "6.16", "7.2"],
    ["samples"],
    ["guests"],
    ["decode", "--r10", "0", "--r11", "0x10001", "--r12", "0x80000000", "--r13", "0x1000"],
]

WITH_A_TRACE: list[list[str]] = [
    ["print", SAMPLE, "--count", "3"],
    ["print", SAMPLE, "--format", "json"],
    ["print", SAMPLE, "--format", "mail"],
    ["print", SAMPLE, "--filter", "leaf == MapGPA"],
    ["check", SAMPLE],
    ["export", SAMPLE, "-o", "-", "--to", "jsonl", "--from", "3"],
    ["export", SAMPLE, "-o", "-", "--to", "csv", "--filter", "retry"],
]

PURE_ROOMS = ["abi", "engine", "module", "decode", "filters"]


def loaded(code: str, *args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("argv", AT_START, ids=lambda argv: " ".join(argv or ["import"]))
def test_a_command_without_a_trace_starts_light(argv: list[str] | None) -> None:
    assert not loaded(RUN, json.dumps(argv)) & HEAVY


@pytest.mark.parametrize("argv", WITH_A_TRACE, ids=" ".join)
def test_a_headless_command_never_loads_the_screen(argv: list[str]) -> None:
    assert not loaded(RUN, json.dumps(argv)) & {"textual", "unicorn", "asyncio"}


def test_compare_never_loads_the_screen() -> None:
    argv = ["compare", SAMPLE, "--kernels", "6.16,7.2"]
    code = RUN.replace("assert not status", "assert status in (None, 0, 1)")
    assert not loaded(code, json.dumps(argv)) & {"textual", "unicorn", "asyncio"}


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_loads_nothing_heavy(room: str) -> None:
    code = (
        f"import json, sys, tdxdbg.{room};"
        " print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    assert not loaded(code) & HEAVY


def test_a_flag_is_a_filter_without_a_parser() -> None:
    code = (
        "import json, sys; from tdxdbg.filters import {}; {};"
        " print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    assert "lark" not in loaded(code.format("compile_filter", "compile_filter('retry')"))
    assert "lark" in loaded(code.format("prepare", "prepare()"))
