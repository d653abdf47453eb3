"""What the live screen is made of, without a screen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.backends.symbols import Symbol, Symbols
from tdxdbg.engine import BY_NAME, Engine, KvmRun
from tdxdbg.filters import FilterError
from tdxdbg.session.state import State
from tdxdbg.ui.answer.form import AnswerForm, Value, WrongValueError, parse_value, value_text
from tdxdbg.ui.live.judge import (
    judge_address,
    judge_stop,
    judge_vector,
    judge_written,
    with_console,
)
from tdxdbg.ui.live.targets import Names, TargetError, parse_address, parse_stop, parse_written
from tdxdbg.ui.live.wire import Wire
from tdxdbg.ui.live.words import Situation, badges, news, typing_words
from tdxdbg.ui.prompt import Verdict
from tests.ui.demo import SHARED, TD, tdvmcall
from tests.ui.fake import BASE, FakeEvent, FakeProgram

NAMES = Names(FakeProgram.symbols, {"rsp": 0x24000, "rip": BASE})


# --- an answer ----------------------------------------------------------------------------


def run_of(r11: int, **regs: int) -> KvmRun:
    engine = Engine(TD, BY_NAME["7.2"])
    engine.force_into_td(0)
    step = engine.feed(tdvmcall(r11, **regs))
    assert step.run is not None
    return step.run


HYPERCALL = run_of(SubFunction.MAP_GPA, r12=0x4000_0000 | SHARED, r13=1 << 21)
PORT_IN = run_of(SubFunction.IO, r12=2, r13=0, r14=0x60)
QUOTE = run_of(SubFunction.GET_QUOTE, r12=0x4000_0000 | SHARED, r13=4096)


@pytest.mark.parametrize(
    ("run", "field", "text", "value"),
    [
        (HYPERCALL, "ret", "0", 0),
        (HYPERCALL, "ret", "EAGAIN", 11),
        (HYPERCALL, "ret", " einval ", 22),
        (HYPERCALL, "ret", "ok", 0),
        (HYPERCALL, "ret", "0x16", 22),
        (HYPERCALL, "ret", "-11", (1 << 64) - 11),
        (HYPERCALL, "ret", "", None),
        (QUOTE, "ret", "RETRY", 1),
        (QUOTE, "ret", "gpa_inuse", 1 << 63 | 1),
        (PORT_IN, "data", "0x41", b"A\0"),
        (PORT_IN, "data", "41 42", b"AB"),
        (PORT_IN, "data", "-1", b"\xff\xff"),
    ],
)
def test_values(run: KvmRun, field: str, text: str, value: Value) -> None:
    assert parse_value(run, field, text) == value


@pytest.mark.parametrize(
    ("run", "field", "text", "says"),
    [
        (HYPERCALL, "ret", "EAGIAN", "did you mean EAGAIN?"),
        (HYPERCALL, "ret", "zzz", "EAGAIN"),
        (HYPERCALL, "ret", "0x10000000000000000", "64 bits"),
        (QUOTE, "ret", "RETYR", "did you mean RETRY?"),
        (PORT_IN, "data", "0x10000", "16 bits"),
        (PORT_IN, "data", "41 42 43", "2 bytes"),
        (PORT_IN, "data", "4 x", "hex"),
        (PORT_IN, "data", "q", "hex bytes"),
    ],
)
def test_wrong_values_say_what_is_right(run: KvmRun, field: str, text: str, says: str) -> None:
    with pytest.raises(WrongValueError, match=says):
        parse_value(run, field, text)


@given(st.one_of(st.integers(0, (1 << 64) - 1), st.none()))
def test_a_value_reads_as_it_is_written(value: Value) -> None:
    assert parse_value(HYPERCALL, "ret", value_text(value)) == value


def test_typing_replaces_what_was_proposed_and_can_be_dropped() -> None:
    form = AnswerForm(QUOTE, {"ret": 0, "r11": None}, {"ret": 0, "r11": None})
    form.start()
    assert form.line("ret").text == "0"
    for key in "RETRY":
        form.key(key, key)
    form.move(1)
    form.key("5", "5")
    assert form.values() == {"ret": 1, "r11": 5}
    form.cancel()
    assert form.values() == {}
    form.start()
    form.key("left", None)
    form.key("1", "1")
    assert form.values() == {"ret": 10}, "an arrow edits the proposed value instead"


def test_only_what_is_read_can_be_answered() -> None:
    port_out = run_of(SubFunction.IO, r12=1, r13=1, r14=0x3F8, r15=65)
    assert AnswerForm.of(port_out, {"data": None}, {"data": None}).fields == ()
    assert AnswerForm.of(PORT_IN, {"data": b"a"}, {"data": None}).edited
    assert AnswerForm.of(HYPERCALL, {"ret": 0}, {"ret": 0}).fields == ("ret",)


# --- places -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "linear"),
    [
        ("1000", 0x1000, True),
        ("0x1000", 0x1000, True),
        ("gpa 2000", 0x2000, False),
        ("GPA:0x2000", 0x2000, False),
        ("map_gpa", BASE + 0x40, True),
        ("map_gpa+0x10", BASE + 0x50, True),
        ("map_gpa - 8", BASE + 0x38, True),
        ("rsp", 0x24000, True),
        ("RSP-16", 0x24000 - 16, True),
    ],
)
def test_addresses(text: str, value: int, linear: bool) -> None:
    found = parse_address(text, NAMES)
    assert (found.value, found.linear) == (value, linear)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("map_gap", "did you mean map_gpa"),
        ("map_gpa+x", "not a number"),
        ("0-1", "64 bits"),
        ("ffffffffffffffff+1", "64 bits"),
        ("", "an address"),
        ("a b c", "an address"),
    ],
)
def test_what_is_no_address_says_why(text: str, says: str) -> None:
    with pytest.raises(TargetError, match=says):
        parse_address(text, NAMES)


@pytest.mark.parametrize(
    ("text", "kind", "address", "size"),
    [
        ("leaf == MapGPA", "condition", None, 0),
        ("map_gpa", "code", BASE + 0x40, 0),
        ("map_gpa+4", "code", BASE + 0x44, 0),
        ("at 101000", "code", BASE, 0),
        ("101000", "code", BASE, 0),
        ("watch 2000", "write", 0x2000, 8),
        ("watch rsp-8 16", "write", 0x23FF8, 16),
        ("watch rsp - 8", "write", 0x23FF8, 8),
        ("watch gpa 2000", "write", 0x2000, 8),
        ("watch gpa 2000 4096", "write", 0x2000, 4096),
        ("watch gpa in 4M..6M", "mapping", 4 << 20, (2 << 20) + 1),
        ("watch gpa in 0x1000..0x1fff", "mapping", 0x1000, 0x1000),
        ("watch gpa == 0x2000", "mapping", 0x2000, 1),
    ],
)
def test_breakpoints(text: str, kind: str, address: int | None, size: int) -> None:
    stop = parse_stop(text, NAMES)
    value = stop.address.value if stop.address is not None else None
    assert (stop.kind, value, stop.size) == (kind, address, size)


@pytest.mark.parametrize(
    "text",
    ["watch", "watch 2000 0", "watch 2000 5000", "watch nowhere", "watch gpa in 1..2 or leaf == 1"],
)
def test_what_cannot_be_watched(text: str) -> None:
    with pytest.raises(TargetError):
        parse_stop(text, NAMES)


def test_a_condition_is_checked_as_a_filter_is() -> None:
    with pytest.raises(FilterError, match="leaf"):
        parse_stop("lef == MapGPA", NAMES)


@given(st.text(max_size=30), st.integers(0, 40))
def test_prompts_take_any_text(text: str, cursor: int) -> None:
    judge_stop(text, cursor, NAMES)
    judge_address(text, cursor, NAMES)
    judge_vector(text, cursor)
    judge_written(f"console {text}", cursor, 1)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("console login:", b"login:"),
        ("  console  ~ #  ", b"~ #"),
        (r"console ~ #\x20", b"~ # "),
        (r"console a\r\n\t\\n", b"a\r\n\t\\n"),
        ("console é", b"\xc3\xa9"),
        ("console.x", None),
        ("415", None),
        ("retry", None),
        ("", None),
    ],
)
def test_a_text_that_the_guest_is_to_write(text: str, written: bytes | None) -> None:
    assert parse_written(text) == written
    verdict = judge_written(text, len(text), 1)
    assert (verdict is None) == (written is None)
    assert verdict is None or verdict.good


@pytest.mark.parametrize(
    ("text", "direction", "says"),
    [
        ("console", 1, "what the guest is to write"),
        ("console ", 1, "what the guest is to write"),
        ("console x", -1, "t goes on"),
        (r"console \q", 1, "is none of"),
        ("console a\\", 1, "is none of"),
        (r"console \x4", 1, "is none of"),
        ("console " + "x" * 4097, 1, "4,097 bytes: wait for at most 4,096"),
    ],
)
def test_what_cannot_be_waited_for_says_why(text: str, direction: int, says: str) -> None:
    with pytest.raises(TargetError, match=says):
        parse_written(text, direction)
    verdict = judge_written(text, 0, direction)
    assert verdict is not None
    assert not verdict.good


@pytest.mark.parametrize(
    ("text", "words", "start"),
    [
        ("c", ("console ", "cpu"), 0),
        (" con", ("console ",), 1),
        ("", ("cpu",), 0),
        ("x", ("cpu",), 0),
    ],
)
def test_the_word_for_it_is_offered(text: str, words: tuple[str, ...], start: int) -> None:
    verdict = with_console(Verdict(False, "", 0, ("cpu",)), text, len(text))
    assert (verdict.words, verdict.start) == (words, start)


@pytest.mark.parametrize(
    ("text", "good", "word"),
    [("map", False, "map_gpa"), ("watch ma", False, "map_gpa"), ("lea", False, "leaf"),
     ("watch gpa in 4M..6M", True, ""), ("watch gpa in 4M", False, ""),
     ("leaf == Map", False, "MapGPA"), ("watch rsp 8", True, ""), ("", False, "index")],
)  # fmt: skip
def test_prompts_offer_words(text: str, good: bool, word: str) -> None:
    verdict = judge_stop(text, len(text), NAMES)
    assert verdict.good is good
    assert not word or word in verdict.words


@pytest.mark.parametrize(("text", "good"), [("33", True), ("0x21 1", True), ("15", False),
                                            ("256", False), ("", False), ("x", False)])  # fmt: skip
def test_vectors(text: str, good: bool) -> None:
    assert judge_vector(text, len(text)).good is good


# --- words --------------------------------------------------------------------------------


def state(where: str = "in the TD", **values: object) -> State:
    return State("live", where, "a step", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("situation", "says", "line"),
    [
        (Situation("in_td", state()), " LIVE  IN TD ", "stopped"),
        (Situation("running", state(row=9)), " LIVE  RUNNING ", "running: 10 exits"),
        (Situation("held", state("held", answer={"ret": 11}, proposed={"ret": 0})),
         " LIVE  HELD ", "ret = 0xb (edited)"),
        (Situation("held", state("held", answer={"ret": 0}, proposed={"ret": 0})),
         " LIVE  HELD ", "ret = 0 (proposed)"),
        (Situation("held", state("held", stop="\x1b[31mfatal")), " LIVE  HELD ",
         "the VMM stops: \\x1b[31mfatal"),
        (Situation("ended", state("ended", detail="\x9bdone")), " LIVE  ENDED ",
         "ended: \\x9bdone"),
        (Situation("died", state(), died="signal 9"), " LIVE  DIED ",
         "starts the guest again: signal 9"),
        (Situation("held", state("held"), behind="3 steps"), " PAST 3 steps back ",
         "3 steps before the present"),
        (Situation("running", state(), behind="3 steps", reading=True),
         " PAST 3 steps back  RUNNING ", "reading the past"),
        (Situation("in_td", state(), world="fork 2"), " FORK 2  IN TD ", "stopped"),
    ],
)  # fmt: skip
def test_it_is_always_said_in_words(situation: Situation, says: str, line: str) -> None:
    assert "".join(text for text, _ in badges(situation)) == says
    assert line in news(situation).text


@pytest.mark.parametrize(
    ("situation", "says"),
    [
        (Situation("running", state()), ""),
        (Situation("in_td", state()), ". It waits in the port: then c runs the guest on"),
        (Situation("held", state()), ". It waits in the port: then c runs the guest on"),
        (Situation("ended", state()), ". The guest has ended: nobody reads this"),
        (Situation("died", state(), died="signal 9"),
         ". The worker is gone: R starts the guest again"),
        (Situation("held", state(), behind="1 step"),
         ". The past hears nothing; f leads back, F forks"),
    ],
)  # fmt: skip
def test_how_typing_ends_is_always_said(situation: Situation, says: str) -> None:
    assert typing_words(situation) == f"typing: Ctrl-] leaves{says}"
    assert len(typing_words(situation)) < 79
    assert typing_words(situation, "no") == "typing: Ctrl-] leaves. no"


# --- the wire -----------------------------------------------------------------------------


class Silent:
    """A session whose answers the test makes up."""

    def __init__(self) -> None:
        self.state = state()
        self.trace_path = ""
        self.events: list[FakeEvent] = []
        self.sent: list[str] = []

    def send(self, command: str, **arguments: object) -> int:
        self.sent.append(command)
        return len(self.sent)

    def fileno(self) -> int:
        return -1

    def poll(self) -> list[FakeEvent]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        self.sent.append("closed")


def test_answers_find_those_who_asked() -> None:
    session = Silent()
    got: list[object] = []
    wire = Wire(session)
    wire.ask("one", got.append)
    wire.ask("two", got.append, got.append)
    session.events = [
        FakeEvent(2, "failed", "no"),
        FakeEvent(1, "done", 1),
        FakeEvent(7, "done", 7),
    ]
    assert wire.pump()
    assert got == ["no", 1]


def test_when_the_worker_dies_everyone_who_waits_is_told_and_nothing_more_is_sent() -> None:
    session = Silent()
    got: list[object] = []
    wire = Wire(session)
    wire.run("cont", got.append, got.append)
    assert wire.running
    session.events = [FakeEvent(1, "progress", state(row=5)), FakeEvent(0, "died", "signal 9")]
    assert not wire.pump()
    assert (got, wire.running, wire.state.row) == (["signal 9"], 0, 5)
    wire.ask("step", got.append)
    wire.interrupt()
    assert session.sent == ["cont"]


def test_a_closed_link_hands_out_nothing() -> None:
    session = Silent()
    got: list[object] = []
    wire = Wire(session)
    wire.ask("one", lambda _: wire.close())
    wire.ask("two", got.append)
    session.events = [FakeEvent(1, "done", 1), FakeEvent(2, "done", 2)]
    assert not wire.pump()
    assert got == []
    assert session.sent[-1] == "closed"


@pytest.mark.parametrize("more", [0, 10_000])
def test_a_wrong_name_is_compared_with_names_like_it(more: int) -> None:
    every = [Symbol(at, 0, f"entry_{at}") for at in range(more)]
    symbols = Symbols([*every, Symbol(1 << 20, 0, "tdx_early_init")])
    names = Names(symbols, {"rip": BASE})
    with pytest.raises(TargetError, match=r"did you mean tdx_early_init\?"):
        parse_address("tdx_eraly_init", names)
    with pytest.raises(TargetError, match=r"no symbol or register 'zz'$"):
        parse_address("zz", names)
