"""The command line: exit statuses, one-line errors, what goes to which stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdxdbg.cli.group import COMMANDS
from tdxdbg.cli.options import GENERATION_NAMES
from tdxdbg.engine import BY_NAME
from tdxdbg.resources import sample_paths, samples_dir

SAMPLES = samples_dir()
DEMO = str(SAMPLES / "mapgpa_64mib_interrupted.tdxt")


def tdxdbg(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdxdbg", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = tdxdbg(command, "--help")
    assert result.returncode == 0
    assert f"Example: tdxdbg {command}" in result.stdout.replace("Examples:", "Example:")


def test_help_lists_the_commands_and_nothing_unbuilt() -> None:
    listed = tdxdbg("--help").stdout
    assert all(f"  {name} " in listed for name in COMMANDS)
    assert "tour" not in listed


def test_version() -> None:
    assert tdxdbg("--version").stdout.startswith("tdxdbg ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = tdxdbg("--completion", shell)
    assert result.returncode == 0
    assert "_TDXDBG_COMPLETE" in result.stdout


def test_generation_names_in_the_help_are_the_engines() -> None:
    assert tuple(BY_NAME) == GENERATION_NAMES


WRONG_USAGE = [
    (["nonsense"], "no command 'nonsense'"),
    (["prnt", DEMO], "did you mean print?"),
    (["print"], "TRACE"),
    (["print", DEMO, "--kernel", "9.9"], "9.9"),
    (["print", DEMO, "--filter", "leef == MapGPA"], "did you mean leaf"),
    (["print", DEMO, "--from", "-1"], "-1"),
    (["decode"], "nothing to decode"),
    (["decode", "--r11", "0x1ffffffffffffffff"], "64 bits"),
    (["decode", "--r11", "MapGPA"], "not a number"),
    (["compare", DEMO, "--kernels", "6.16,9.9"], "9.9"),
    (["generations", "--diff", "6.16"], "2 arguments"),
    (["replay", DEMO, "--theme", "nonsense"], "nonsense"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_USAGE, ids=lambda value: str(value)[:40])
def test_wrong_usage_is_status_2_and_says_what(arguments: list[str], words: str) -> None:
    result = tdxdbg(*arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert "--help" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_replay_without_a_terminal_is_status_4() -> None:
    result = tdxdbg("replay", DEMO)
    assert result.returncode == 4
    assert "tdxdbg print" in result.stderr
    assert len(result.stderr.splitlines()) == 1


BAD_INPUT = [
    ("missing.tdxt", None, "no such file"),
    ("empty.tdxt", b"", "empty"),
    ("picture.tdxt", b"\x89PNG\r\n\x1a\n" + bytes(100), ""),
    ("esc\x1b]0;title\x07.tdxt", b"hello", ""),
]


@pytest.mark.parametrize(
    ("name", "content", "words"), BAD_INPUT, ids=["missing", "empty", "png", "esc"]
)
@pytest.mark.parametrize("command", ["print", "check", "compare"])
def test_bad_input_is_status_3_and_one_line(
    tmp_path: Path, command: str, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    extra = ["--kernels", "6.16,7.2"] if command == "compare" else []
    result = tdxdbg(command, str(path), *extra)
    assert result.returncode == 3
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert "\x1b" not in result.stderr


def test_decode_shows_a_register_set() -> None:
    result = tdxdbg("decode", "--r11", "0x10001", "--r12", "0x800040000000", "--r13", "0x500000")
    assert result.returncode == 0
    assert "MapGPA" in result.stdout
    assert "3 chunks of 2 MiB" in result.stdout


def test_decode_shows_a_status() -> None:
    assert (
        "TDX_OPERAND_BUSY, SEPT_TREE" in tdxdbg("decode", "--status", "0x8000020000000092").stdout
    )


def test_generations_and_their_difference() -> None:
    listed = tdxdbg("generations").stdout
    assert all(name in listed for name in GENERATION_NAMES)
    difference = tdxdbg("generations", "--diff", "6.16", "7.2").stdout
    assert "map_gpa_reply" in difference
    assert "tdvmcalls" not in difference
    assert "alike" in tdxdbg("generations", "--diff", "7.2", "7.2").stdout


def test_samples_are_listed_with_their_stories() -> None:
    lines = tdxdbg("samples").stdout.splitlines()
    assert len(lines) == len(sample_paths()) >= 20
    for name in ("mapgpa_64mib_interrupted", "linux_boot"):
        assert any(line.startswith(f"{name} ") for line in lines)


def test_print_as_json_is_one_object_a_line() -> None:
    result = tdxdbg("print", DEMO, "--format", "json")
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert [item["row"] for item in objects] == list(range(len(objects)))


def test_print_a_range_and_a_filter() -> None:
    everything = tdxdbg("print", DEMO, "--format", "json").stdout.splitlines()
    part = tdxdbg("print", DEMO, "--format", "json", "--from", "2", "--count", "3")
    assert part.stdout.splitlines() == everything[2:5]
    retries = tdxdbg("print", DEMO, "--format", "json", "--filter", "leaf == MapGPA and retry")
    assert [line in everything for line in retries.stdout.splitlines()] == [True, True]


def test_mail_is_72_columns_wide_and_plain() -> None:
    result = tdxdbg("print", DEMO, "--format", "mail")
    assert result.returncode == 0
    assert max(map(len, result.stdout.splitlines())) <= 72
    assert result.stdout.isascii()


def test_check_agrees_and_another_kernel_does_not() -> None:
    assert tdxdbg("check", DEMO).returncode == 0
    # In exits-v1 the recorded kernel's HLT and CPUID calls are unknown sub-functions.
    other = tdxdbg("check", str(SAMPLES / "cpuid_hlt_msr.tdxt"), "--kernel", "exits-v1")
    assert other.returncode == 1
    assert "r10" in other.stdout


def test_verify_names_what_fails(tmp_path: Path) -> None:
    vector = {
        "id": "x-1",
        "generation": "7.2",
        "input": {"gpaw": 48, "maxphyaddr": 52, "cap_exit_hypercall": True, "regs": {"r11": 99}},
        "expected": [{"kind": "guest", "regs": {"r10": 0}}],
        "effects": {},
    }
    path = tmp_path / "vectors.jsonl"
    path.write_text(json.dumps(vector) + "\n", encoding="ascii")
    result = tdxdbg("verify", str(path))
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == "0 passed, 1 failed"
    assert "x-1" in result.stdout
    assert "r10" in result.stdout


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m tdxdbg print {DEMO} --format json | head -n 1"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    assert result.returncode == 0
    assert json.loads(result.stdout)["row"] == 0


def test_a_trace_on_standard_input() -> None:
    converted = SAMPLES / "serial_hello.tdxt"
    with converted.open("rb") as file:
        result = subprocess.run(
            [sys.executable, "-m", "tdxdbg", "print", "-", "--format", "json"],
            stdin=file,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 0
    assert result.stdout == tdxdbg("print", str(converted), "--format", "json").stdout


def test_the_shell_gets_completions() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tdxdbg"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "_TDXDBG_COMPLETE": "bash_complete",
            "COMP_WORDS": "tdxdbg gener",
            "COMP_CWORD": "1",
        },
    )
    assert "generations" in result.stdout
