"""The language of the descriptions says where it is not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.engine import HypercallAnswer, Outcome, Reentry, Step, TdExit
from tdxdbg.engine.state import EVENTS_CHECKED
from tools.make_samples import read_description
from tools.sample_language import DescriptionError, number, read_journal, text_bytes

EXIT = "+1 exit KVM_EXIT_HYPERCALL nr=12 args=0x1000,1,0 ret=0 flags=1 callback=MAP_GPA"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("0x8_0000_4000_0000", 0x8000040000000),
        ("5M", 5 << 20),
        ("4K", 4096),
        ("RETRY", 1),
        ("ALIGN_ERROR", 0x8000000000000002),
        ("EAGAIN", 11),
        ("-KVM_ENOSYS", 0xFFFFFFFFFFFFFC18),
        ("KVM_EXIT_TDX", 40),
    ],
)
def test_numbers(text: str, value: int) -> None:
    assert number(text) == value


def test_text_is_bytes_below_0x100_and_utf8_above() -> None:
    assert text_bytes(r"a\x1b\x9b\u202e\n") == b"a\x1b\x9b\xe2\x80\xae\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("guest MapGPA", "microseconds"),
        ("+1 guess MapGPA", "no verb guess"),
        ("+1 guest MapGAP", "MapGAP"),
        ("+1 guest MapGPA r16=0", "no register r16"),
        ("+1 run", "has not left the TD"),
        ("+1 enter", "has not left the TD"),
        ("+1 guest 1\n+1 guest 2", "is not in the TD"),
        (f"+1 guest MapGPA\n{EXIT} vector=1", "no field vector"),
        (f"+1 guest MapGPA\n{EXIT} really", "really"),
        ("+1 guest MapGPA\n+1 exit KVM_EXIT_SHUTDOWN\n+1 run ret=0", "8"),
        ("+1 guest MapGPA\n+1 error EINVAL\n+1 run ret=0", "nothing that this answers"),
        ('+1 guest ReportFatalError text="' + "x" * 65 + '"', "65 bytes"),
        ("+1 guest MapGPA\n+1 convert 0x1000 4K secret", "secret"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(line: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        read_journal(line, 0)


def test_events_are_what_kvm_found_when_it_looked() -> None:
    lines = ["+1 guest MapGPA", EXIT, "+2.5 run ret=0 events=pending", "+1 enter r10=RETRY"]
    first, _, answer, entry = read_journal("\n".join(lines), 2)
    assert isinstance(first.body, TdExit)
    assert answer.body == Reentry(0, HypercallAnswer(0), has_events=True)
    assert isinstance(entry.body, Step)
    assert entry.body.outcome is Outcome.REENTER_TD
    assert entry.body.effects == EVENTS_CHECKED
    assert entry.body.regs == first.body.regs._replace(r10=1)
    assert [first.time, answer.time, entry.time] == [2_000_001_000, 2_000_004_500, 2_000_005_500]


def test_a_backslash_continues_a_line() -> None:
    whole = read_journal("+1 guest MapGPA r12=1 r13=2", 0)
    assert read_journal("+1 guest MapGPA r12=1 \\\n   r13=2", 0) == whole


def test_a_description_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('title = "x"\ngeneration = "6.16"\njournal = "+1 jump"\n')
    with pytest.raises(DescriptionError, match=r"wrong\.toml: '\+1 jump': no verb"):
        read_description(path)
    path.write_text('title = "x"\ngeneration = "5.0"\njournal = ""\n')
    with pytest.raises(DescriptionError, match=r"wrong\.toml: no generation '5\.0'"):
        read_description(path)
