"""Another answer in a recording: the form, both outcomes, and every kind of answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import R12
from tdxdbg.engine import BY_NAME, GENERATIONS, Engine, HypercallAnswer, KvmRun, Reentry, Td
from tdxdbg.engine.kvm_run import TDX_RAW
from tdxdbg.resources import samples_dir
from tdxdbg.session.edit import answer_type, edited, fields_of
from tdxdbg.timeline import Timeline
from tdxdbg.timeline.answered import what_if_answer
from tdxdbg.traces import Trace
from tdxdbg.traces.records import KNOWN_ANSWER
from tdxdbg.ui.answer.form import AnswerForm, WrongValueError, value_text
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.layout import QUEUE, REGISTERS, UAPI
from tdxdbg.ui.panes.uapi import UapiPane
from tdxdbg.vmm import Reply
from tests.ui import demo
from tests.ui.demo import Recorder, tdvmcall
from tests.ui.screens import SAMPLES, app_on, pane_text, screen_text

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
FULL = (120, 40)


def uapi_of(app: ReplayApp) -> UapiPane:
    pane = app.panes[UAPI]
    assert isinstance(pane, UapiPane)
    return pane


def words(app: ReplayApp) -> str:
    return " ".join(pane_text(app, UAPI).split())


async def type_in(pilot: Pilot[int], text: str) -> None:
    """Into the active field, and Enter."""
    for key in text:
        await pilot.press({" ": "space", "-": "minus"}.get(key, key))
    await pilot.press("enter")
    await pilot.pause()


# --- every kind of answer -----------------------------------------------------------------

TD = Td(gpaw=52, user_space_msr_mask=7)
GPA = 0x4000_0000 | demo.SHARED
EXITS: dict[str, dict[str, int]] = {
    "hypercall": {"r11": SubFunction.MAP_GPA, "r12": GPA, "r13": 4096},
    "io": {"r11": SubFunction.IO, "r12": 4, "r13": 0, "r14": 0x60},
    "mmio": {"r11": SubFunction.MMIO, "r12": 8, "r13": 0, "r14": 0xFEC0_0000 | demo.SHARED},
    "rdmsr": {"r11": SubFunction.RDMSR, "r12": 0x1234},
    "wrmsr": {"r11": SubFunction.WRMSR, "r12": 0x1234, "r13": 1},
    "quote": {"r11": SubFunction.GET_QUOTE, "r12": GPA, "r13": 4096},
    "info": {"r11": SubFunction.GET_TD_VM_CALL_INFO, "r12": 1},
}
FIELDS = {
    "hypercall": ("ret",),
    "io": ("data",),
    "mmio": ("data",),
    "rdmsr": ("error", "data"),
    "wrmsr": ("error",),
    "quote": ("ret",),
    "info": ("ret", "r11", "r12", "r13", "r14"),
}
RAW_FIELDS = ("r10", "r11", "r12", "r13", "r14", "r15", "rbx", "rdi", "rsi", "r8", "r9", "rdx")
#: What is typed, what comes of it, and what is refused with which words.
TYPED: dict[str, tuple[str, object, str, str]] = {
    "hypercall.ret": ("eagain", 11, "EAGIAN", "did you mean EAGAIN"),
    "io.data": ("1 2", None, "01 02 03 04 05", "4 bytes"),
    "mmio.data": ("-1", b"\xff" * 8, "0x10000000000000000", "64 bits"),
    "rdmsr.error": ("1", 1, "256", "8 bits"),
    "rdmsr.data": ("0x10", 16, "x", "a number"),
    "wrmsr.error": ("0xff", 255, "-129", "8 bits"),
    "quote.ret": ("retry", Status.RETRY, "RETYR", "did you mean RETRY"),
    "info.ret": ("SUBFUNC_UNSUPPORTED", Status.SUBFUNC_UNSUPPORTED, "?", "a number, or"),
    "info.r11": ("7", 7, "0x1ffffffffffffffff", "64 bits"),
    "info.r14": ("-1", (1 << 64) - 1, "1.5", "a number"),
    "raw.r10": ("invalid_operand", Status.INVALID_OPERAND, "INVALID", "did you mean"),
    "raw.rdx": ("0", 0, "", ""),
}


def run_of(name: str, generation: str) -> KvmRun | None:
    engine = Engine(TD, BY_NAME[generation])
    engine.force_into_td(0)
    operands = {key: value for key, value in EXITS[name].items() if key != "r11"}
    return engine.feed(tdvmcall(EXITS[name]["r11"], **operands)).run


@pytest.mark.parametrize("generation", [item.name for item in GENERATIONS])
def test_every_answer_can_be_edited_under_every_kernel(generation: str) -> None:
    kinds = set()
    for name in EXITS:
        run = run_of(name, generation)
        if run is None:
            continue
        raw = run.layout is TDX_RAW
        form = AnswerForm.of(run, fields_of(run, None), fields_of(run, None))
        assert form.fields == (RAW_FIELDS if raw else FIELDS[name]), name
        kinds.add("raw" if raw else name)
        for field in form.fields:
            _edit_one(run, "raw" if raw else name, field)
    expected = {"v19": {"io", "mmio", "raw"}}.get(generation, {"hypercall", "io", "mmio"})
    assert expected <= kinds


def _edit_one(run: KvmRun, name: str, field: str) -> None:
    typed, value, wrong, says = TYPED.get(f"{name}.{field}", ("5", 5, "z", "a number"))
    if name == "io":
        typed, value = "01 02", b"\x01\x02"
    form = AnswerForm.of(run, fields_of(run, None), fields_of(run, None))
    form.start()
    form.active = form.fields.index(field)
    for text, expected in ((wrong, None), (typed, value)):
        form.line(field).end()
        form.line(field).delete_start()
        for key in text:
            form.key(key, key)
        if expected is None and wrong:
            assert says in form.problem(field)
            with pytest.raises(WrongValueError, match=says.replace("?", "")):
                form.values()
    assert form.values() == {field: value}
    kind = answer_type(run)
    assert kind is not None
    reply = edited(run, Reply(kind()), Reply(kind()), form.values())
    assert getattr(reply.answer, field) == value
    undone = edited(run, reply, Reply(kind()), {})
    assert undone.answer == kind()
    form.cancel()
    assert form.values() == {}
    assert value_text(form.given[field]) == ""


# --- both outcomes ------------------------------------------------------------------------


async def test_another_answer_is_run_and_both_outcomes_are_shown() -> None:
    app = app_on(RETRY, at=9)
    async with app.run_test(size=FULL) as pilot:
        await pilot.press("s", "e")
        assert app.desk.view.focus == UAPI
        assert "another answer: Enter tries it" in words(app)
        assert "EAGAIN" in app.hints.message
        await pilot.press(*"EAGI")
        assert "did you mean EAGAIN?" in words(app)
        await pilot.press("enter")
        assert "did you mean EAGAIN?" in app.hints.message, "a wrong value is not taken"
        await pilot.press("backspace", *"AIN")
        await type_in(pilot, "")
        assert app.desk.view.focus == QUEUE
        text = words(app)
        assert "WHAT IF e edits it, u drops it" in text
        assert "recorded │what if" in text
        assert "≠VMM ret = 0x0 │ret = 0xb" in text
        assert "≠R10 RETRY │INVALID_OPERAND" in text
        assert "≠R11 0x8000075600000│0x8000074200000" in text
        assert "≠map 74200000 +20 │unchanged" in text
        assert "tdx_complete_vmcall_map_gpa: userspace answered non-zero" in text
        screen = screen_text(app)
        assert "REPLAY    WHAT IF" in screen[0]
        assert any("▶   9" in line and "WHAT IF" in line for line in screen)
        assert sum("WHAT IF" in line for line in screen) == 3
        await pilot.press("u")
        assert "WHAT IF" not in "\n".join(screen_text(app))
        assert "dropped" in app.hints.message
        await pilot.press("u")
        assert "nothing to undo" in app.hints.message


async def test_what_differs_is_lit_and_what_does_not_is_dim() -> None:
    app = app_on(RETRY, at=9)
    async with app.run_test(size=FULL):
        app.go(9, 1)
        app.try_answer(9, 1, HypercallAnswer(11))
        pane = uapi_of(app)
        roles = {
            line.text.split()[0]: [role for _, role in line.spans]
            for line in pane.lines[2:14]
            if line.text.strip()
        }
        assert "changed" in roles["≠R10"]
        app.try_answer(9, 1, HypercallAnswer(0))
        same = [line for line in pane.lines[2:12] if line.text.startswith(" R10")]
        assert [role for _, role in same[0].spans][-1] == "dim"
        assert not any(line.text.startswith("≠") for line in pane.lines)


async def test_it_stays_while_one_looks_elsewhere_and_is_edited_again() -> None:
    app = app_on(RETRY, at=9)
    async with app.run_test(size=FULL) as pilot:
        await pilot.press("s", "e")
        await type_in(pilot, "EINVAL")
        await pilot.press("j")
        assert "WHAT IF" not in words(app)
        await pilot.press("k", "s")
        assert "WHAT IF" in words(app)
        await pilot.press("e")
        assert uapi_of(app).form is not None
        form = uapi_of(app).form
        assert form is not None
        assert form.line("ret").text == "0x16", "what is being tried"
        await pilot.press("escape")
        assert uapi_of(app).form is None
        assert app.desk.view.focus == QUEUE
        assert "0x16" in words(app)


async def test_another_kernel_gets_the_same_answer() -> None:
    app = app_on(RETRY, at=9)
    async with app.run_test(size=FULL) as pilot:
        app.go(9, 1)
        app.try_answer(9, 1, HypercallAnswer(11))
        assert "│INVALID_OPERAND" in words(app)
        app.use_kernel(BY_NAME["7.2"])
        assert "7.2 as is │what if" in words(app)
        assert "R10 RETRY │RETRY" in words(app)
        assert "≠R11" in words(app)
        app.use_kernel(BY_NAME["v19"])
        assert "Not computed: at this step the TD is entered" in words(app)
        app.go(9, 0)
        app.try_answer(9, 0, HypercallAnswer(11))
        assert "Not computed: a HypercallAnswer does not answer" in words(app)
        await pilot.press("u")
        assert "Not computed" not in words(app)


async def test_another_recording_has_nothing_to_do_with_it() -> None:
    app = app_on(RETRY, at=9)
    async with app.run_test(size=FULL):
        app.go(9, 1)
        app.try_answer(9, 1, HypercallAnswer(11))
        app.use_trace(demo.mapgpa())
        app.show()
        assert app.what_if is None
        assert "WHAT IF" not in "\n".join(screen_text(app))


async def test_a_policy_answers_what_was_never_asked_and_says_so() -> None:
    made = Recorder()
    event = tdvmcall(SubFunction.MAP_GPA, r12=GPA, r13=6 << 20)
    made.exit(event, lambda step, chunk: Reentry(0, HypercallAnswer(22)))
    app = app_on(made.trace())
    async with app.run_test(size=(200, 60)):
        app.try_answer(0, 0, HypercallAnswer(0))
        text = words(app)
        assert "2 answers after it were not recorded: assumed, as QEMU" in text
        assert "≠R10 INVALID_OPERAND │SUCCESS" in text


async def test_e_at_the_td_entry_goes_to_the_exit_before_it() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=FULL) as pilot:
        app.go(1, 2)
        await pilot.press("e")
        assert app.cursor.step == 1
        assert uapi_of(app).form is not None
        await pilot.press("escape", "z", "z")
        assert uapi_of(app).form is None


async def test_tab_goes_through_the_fields_and_blank_leaves_one_alone() -> None:
    app = app_on(samples_dir() / "get_td_vm_call_info.tdxt")
    async with app.run_test(size=FULL) as pilot:
        row, step = _place(app.timeline, Exit.TDX)
        app.go(row, step)
        await pilot.press("e", "1", "tab", *"0x77", "down", "down", "down", *"5")
        await type_in(pilot, "")
        found = app.what_if
        assert found is not None
        assert found.answer is not None
        given = found.answer._asdict()
        assert (given["ret"], given["r11"], given["r14"]) == (1, 0x77, 5)
        assert found.other is not None
        assert found.other.last is not None
        assert found.other.last.after.r10 == 1


def _place(line: Timeline, reason: int) -> tuple[int, int]:
    for row in range(len(line)):
        for step in range(line.steps(row)):
            shown = line.moment(row, step).shown
            if shown is not None and shown.run is not None and shown.run.exit_reason == reason:
                form = AnswerForm.of(shown.run, fields_of(shown.run, None), {})
                if len(form.fields) > 1:
                    return row, step
    raise AssertionError("no such exit")


@pytest.mark.parametrize(
    ("row", "says"),
    [(0, "this exit has no answer"), (2, "handled in the kernel"), (7, "this exit has no answer")],
)
async def test_what_has_no_answer_says_so(row: int, says: str) -> None:
    made = Recorder()
    made.exit(tdvmcall(SubFunction.IO, r12=1, r13=1, r14=0x3F8, r15=65))
    app = app_on(demo.mapgpa() if row != 7 else made.trace(), at=row if row != 7 else 0)
    async with app.run_test(size=FULL) as pilot:
        await pilot.press("e")
        assert says in app.hints.message
        assert uapi_of(app).form is None


async def test_nothing_changed_is_said() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=FULL) as pilot:
        await pilot.press("e", "enter")
        assert "nothing was changed" in app.hints.message
        assert app.what_if is None


# --- what is not recorded -----------------------------------------------------------------


def without(trace: Trace, bits: int) -> Trace:
    """The same recording, of which these things were not seen."""
    made = [record for _, record in trace.records(0, trace.n_records)]
    return Trace.from_records(
        trace.meta, [record._replace(known=record.known & ~bits) for record in made]
    )


async def test_registers_that_are_missing_are_named() -> None:
    app = app_on(without(demo.mapgpa(), 1 << R12), at=1)
    async with app.run_test(size=FULL) as pilot:
        await pilot.press("e")
        await type_in(pilot, "EAGAIN")
        assert "R12 at the TD exit was not recorded" in app.hints.message
        assert "Not computed: R12 at the TD exit was not recorded" in words(app)


async def test_an_answer_that_nobody_saw_can_be_given() -> None:
    app = app_on(without(demo.mapgpa(), KNOWN_ANSWER), at=1)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("e")
        await type_in(pilot, "EINVAL")
        assert "VMM ? not recorded" in words(app)
        assert "│INVALID_OPERAND" in words(app)


# --- anything -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
async def test_every_exit_of_every_sample_can_be_answered_otherwise(path: Path) -> None:
    app = app_on(path)
    async with app.run_test(size=(120, 40)):
        for row in range(min(len(app.timeline), 24)):
            shown = app.timeline.moment(row, 0).shown
            kind = answer_type(shown.run) if shown is not None and shown.run is not None else None
            if kind is None:
                continue
            app.go(row)
            for value in (None, b"\x01", 1):
                fields: dict[str, Any] = dict.fromkeys(kind._fields, value)
                if ("data" in fields and kind.__name__ != "MsrAnswer") == isinstance(value, int):
                    continue
                app.try_answer(row, 0, kind(**fields))
                assert "WHAT IF" in words(app)
                assert len(uapi_of(app).lines) > 3


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (24, 8), (20, 5)])
async def test_it_fits_any_terminal(size: tuple[int, int]) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=size) as pilot:
        await pilot.press("e")
        await type_in(pilot, "EINVAL")
        app.focus_pane(UAPI)
        app.go(1)
        assert "WHAT IF" in words(app)
        app.focus_pane(REGISTERS)


def test_courses_of_the_same_answer_are_alike() -> None:
    line = Timeline(demo.mapgpa())
    found = what_if_answer(line, 1, 0, Reentry(0, HypercallAnswer(0)).answer)
    assert found.other is not None
    assert found.other.more == found.recorded.more


def test_what_if(snap_compare: Callable[..., bool]) -> None:
    """Side by side, in a wide pane."""
    app = app_on(RETRY, at=9)
    keys = ["s", "e", *"EAGAIN", "enter", "3", "escape", "z"]
    assert snap_compare(app, press=keys, terminal_size=(100, 30))
