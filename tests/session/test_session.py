"""The client of a live run: holding, editing, looking, other times; on real guests."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import pytest

from tdxdbg.backends.elf import read_guest
from tdxdbg.backends.symbols import symbols_of
from tdxdbg.errors import BackendError, SessionError, TraceError
from tdxdbg.filters import FilterError
from tdxdbg.guests import find
from tdxdbg.session import Event, Session
from tests.session.support import ENDLESS, until, wait_for

EAGAIN = 11
SHARED = 1 << 47


@pytest.fixture
def retry() -> Iterator[Session]:
    """mapgpa_retry under 7.2, at its start."""
    with Session.open("mapgpa_retry", kernel="7.2") as session:
        yield session


# --- holding an exit ------------------------------------------------------------------


def test_a_run_starts_before_its_first_instruction(retry: Session) -> None:
    state = retry.state
    assert (state.world, state.where, state.row, state.position) == (
        "live",
        "in the TD",
        -1,
        (0, 0),
    )
    assert state.rip == retry.regs.rip == 0x100000
    assert repr(retry) == ("<Session 'mapgpa_retry', live, in the TD at 0x100000, after the start>")
    assert retry.alive


def test_the_second_chunk_is_answered_with_eagain(retry: Session) -> None:
    """7.2 makes RETRY of it; the guest asks for the rest from R11 on."""
    retry.run_until("exit == KVM_EXIT_HYPERCALL")
    retry.step()
    assert retry.state.is_held
    assert retry.held is not None
    second = retry.held.get("args", 0)
    assert second == 0x400000
    assert retry.state.convert == ((second, 2 << 20, False),)
    retry.answer(ret=EAGAIN)
    assert retry.state.is_in_td
    assert retry.regs.r10 == 1
    assert retry.regs.r11 == SHARED | second
    assert retry.gpa_map().is_shared(0x200000)
    assert not retry.gpa_map().is_shared(second)
    retry.run_until("leaf == MapGPA")
    assert retry.moment().before.r12 == SHARED | second
    assert retry.cont().is_ended
    assert retry.state.detail == "guest exited with status 0 through the debug port"
    assert b"RETRY, R11=0x800000400000" in retry.console()


def test_the_same_under_6_16_is_an_error_for_the_guest() -> None:
    with Session.open("mapgpa_retry", kernel="6.16") as session:
        session.run_until("exit == KVM_EXIT_HYPERCALL")
        session.answer(ret=EAGAIN)
        assert session.regs.r10 == 1 << 63
        assert session.cont().detail == "guest exited with status 1 through the debug port"


def test_an_edit_can_be_taken_back(retry: Session) -> None:
    retry.run_until("exit == KVM_EXIT_HYPERCALL")
    proposed = dict(retry.state.proposed)
    state = retry.edit({"ret": 5})
    assert state.answer == {"ret": 5}
    assert state.convert == ()
    assert state.proposed == proposed
    state = retry.edit()
    assert state.answer == proposed
    assert state.convert


def test_an_interrupt_between_two_chunks(retry: Session) -> None:
    """KVM looks for events after each chunk: RETRY from the next one."""
    retry.run_until("exit == KVM_EXIT_HYPERCALL")
    retry.inject(0x40)
    retry.step()
    assert retry.state.is_in_td
    assert retry.regs.r11 == SHARED | 0x400000
    assert b"interrupts seen: 1" in (retry.cont(), retry.console())[1]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("edit", {"fields": {"ret": 1}}, "no exit waits"),
    ("answer", {}, "no exit waits"),
    ("inject", {"vector": 3}, "vector 3"),
    ("inject", {"vector": 64, "vcpu": 9}, "no vCPU 9"),
    ("registers", {"vcpu": 7}, "no vCPU 7"),
    ("set_registers", {"r99": 1}, "no register 'r99'"),
    ("set_registers", {"rax": -1}, "unsigned"),
    ("read_memory", {"address": 1 << 40, "size": 8}, "no 8 bytes of memory at GPA"),
    ("read_memory", {"address": 0, "size": 1 << 30}, "ask for at most"),
    ("read_memory", {"address": 1 << 46, "size": 8, "vcpu": 0}, "linear address"),
    ("write_memory", {"address": 1 << 40, "data": b"x"}, "no RAM"),
    ("write_memory", {"address": 1 << 46, "data": b"x", "vcpu": 0}, "not all mapped"),
    ("add_watchpoint", {"address": 0, "size": 0}, "0 bytes"),
    ("watch_conversions", {"gpa": 1 << 52, "size": 1}, "no GPA range"),
    ("add_watchpoint", {"address": 1 << 46, "vcpu": 0}, "not all mapped"),
    ("remove_breakpoint", {"id": 3}, "no breakpoint 3"),
    ("step", {"count": 0}, "give 1 or more"),
    ("go_to", {"row": 5}, "no row 5"),
    ("go_to", {"steps": 1000}, "there is no 1000"),
    ("go_to", {}, "go to a row"),
    ("make_live", {}, "this is no past"),
    ("moment", {}, "no row -1"),
]


def test_what_cannot_be_done_is_one_line_and_changes_nothing(retry: Session) -> None:
    for command, arguments, words in REFUSED:
        with pytest.raises(SessionError, match=words):
            getattr(retry, command)(**arguments)
    for call in (retry.run_until, retry.add_breakpoint, retry.last_match):
        with pytest.raises(FilterError):
            call("leef == MapGPA")
    assert retry.refresh().position == (0, 0)
    assert retry.alive


def test_what_nobody_knows_is_refused_to_a_screen_too(retry: Session) -> None:
    for command, arguments, words in (
        ("nonsense", {}, "no command 'nonsense'"),
        ("step", {"cuont": 1}, "step has no 'cuont'"),
        ("inject", {}, "vector"),
        ("step", {"count": "x"}, "is no int"),
        ("cont", {"until": "leef == 1"}, "leef"),
        ("read_memory", {"address": 0}, "size"),
    ):
        event = wait_for(retry, retry.send(command, **arguments))
        assert event.kind == "failed"
        assert words in event.value
    assert retry.refresh().position == (0, 0)


WRONG_STARTS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ("nothing_like_it", {}, SessionError, "no guest"),
    ("fatal", {"kernel": "9.9"}, SessionError, "9.9"),
    ("fatal", {"policies": ["nonsense"]}, SessionError, "nonsense"),
    ("fatal", {"memory": 1}, BackendError, "RAM"),
    (b"\x7fELF" + bytes(100), {}, BackendError, "ELF"),
    ("fatal", {"record": "/nowhere/at/all.tdxt"}, TraceError, "all.tdxt"),
    ("fatal", {"record": "/dev/null"}, TraceError, "exists"),
]


@pytest.mark.parametrize(("guest", "options", "error", "words"), WRONG_STARTS, ids=str)
def test_what_cannot_be_started_is_one_line(
    guest: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        Session.open(guest, **options)
    assert len(str(raised.value).splitlines()) == 1


# --- registers and memory -------------------------------------------------------------


def test_registers_and_memory_are_looked_at_and_changed(retry: Session) -> None:
    retry.step_instruction(10)
    retry.set_registers(rbx=0x1234, rip=0x100010)
    assert (retry.regs.rbx, retry.regs["rip"]) == (0x1234, 0x100010)
    retry.write_memory(0x8000, b"by GPA")
    assert retry.read_memory(0x8000, 6, vcpu=0) == b"by GPA"
    # The window of the shared bit, and two pages.
    retry.write_memory((512 << 30) + 0x8FFE, b"both", vcpu=0)
    assert retry.read_memory(0x8FFE, 4) == b"both"
    with pytest.raises(AttributeError):
        _ = retry.regs.nonsense


def test_memory_is_read_up_to_a_hole(retry: Session) -> None:
    end = 64 << 20
    event = wait_for(retry, retry.send("read_memory", address=end - 16, size=4096))
    assert event.value == bytes(16)
    assert wait_for(retry, retry.send("read_memory", address=end, size=1)).value is None
    with pytest.raises(SessionError):
        retry.read_memory(end - 1, 2)


def test_serial_input_reaches_the_guest_s_port(retry: Session) -> None:
    assert retry.serial(b"hello").position == (0, 0)


def test_a_flat_image_of_bytes() -> None:
    with Session.open(ENDLESS, memory=4) as session:
        assert session.step_instruction(3).instructions == 3
        assert session.read_memory(0x100000, 2) == ENDLESS


# --- running --------------------------------------------------------------------------


def test_an_endless_loop_is_interrupted_and_can_be_looked_into() -> None:
    with Session.open(ENDLESS, memory=4) as session:
        request = session.send("cont")
        assert session.registers().rip == 0x100000
        assert session.read_memory(0x100000, 2) == ENDLESS
        number = session.add_breakpoint("leaf == MapGPA")
        assert [item["id"] for item in session.breakpoints()] == [number]
        past = session.go_to(steps=0)
        assert past.state.position == (0, 0)
        session.interrupt()
        event = wait_for(session, request)
        assert (event.kind, event.value.why) == ("done", "interrupted")
        assert session.state.instructions > 0
        assert past.refresh().position == (0, 0)


def test_a_breakpoint_that_is_added_while_it_runs_stops_it() -> None:
    with Session.open(ENDLESS, memory=4) as session:
        request = session.send("cont")
        session.refresh()
        number = session.add_breakpoint(address=0x100000)
        event = wait_for(session, request)
        assert (event.value.why, event.value.breakpoints) == ("breakpoint", (number,))


def test_somebody_types_while_it_runs() -> None:
    """The posted v1 has no HLT call: the guest asks its port for ever."""
    with Session.open("echo_serial", kernel="exits-v1") as session:
        request = session.send("cont")
        assert session.serial(b"ab").is_ended is False
        until(lambda: session.console().endswith(b"> ab"), "the echo")
        typed = session.serial(b"\x7f\x04").position
        assert wait_for(session, request).value.is_ended
        assert session.console() == b"Type; Ctrl-D ends.\r\n> ab\b \b\r\n"
        end = session.state.position
        past = session.go_to(steps=typed[0], instructions=typed[1])
        assert past.console() == b"Type; Ctrl-D ends.\r\n> ab"
        assert past.cont().position == end
        assert past.console() == session.console()


def test_an_interrupt_is_raised_while_it_runs() -> None:
    with Session.open(ENDLESS, memory=4) as session:
        request = session.send("cont")
        assert session.inject(0x40).is_in_td
        session.interrupt()
        assert wait_for(session, request).value.why == "interrupted"


def test_what_is_typed_waits_behind_what_was_asked_before() -> None:
    with Session.open("echo_serial", kernel="exits-v1") as session:
        asked = [session.send("cont"), session.send("edit"), session.send("serial", data=b"a")]
        session.registers()
        session.send("interrupt")
        order: list[int] = []

        def all_came() -> bool:
            select.select([session], [], [], 0.1)
            came = [event.request for event in session.poll() if event.kind != "progress"]
            order.extend(request for request in came if request in asked)
            return len(order) == len(asked)

        until(all_came, "three answers")
        assert order == asked


def test_progress_comes_while_it_runs() -> None:
    with Session.open(ENDLESS, memory=4) as session:
        request = session.send("cont")
        seen: list[Event] = []

        def enough() -> bool:
            select.select([session], [], [], 0.1)
            seen.extend(session.poll())
            return len(seen) >= 3

        until(enough, "progress")
        assert {(event.request, event.kind) for event in seen} == {(request, "progress")}
        counts = [event.value.instructions for event in seen]
        assert counts == sorted(set(counts))


def test_budgets_end_a_run() -> None:
    with Session.open(ENDLESS, memory=4, instructions=1_000_000) as session:
        state = session.cont()
        assert (state.why, state.instructions) == ("instruction count reached", 1_000_000)
    with Session.open("mapgpa_retry", exits=10) as session:
        state = session.cont()
        assert (state.why, state.row) == ("exit budget used up", 9)
        with pytest.raises(SessionError, match="did not come"):
            session.run_until("leaf == GetQuote")


def test_a_budget_ends_a_run_that_is_refused_at_each_entry() -> None:
    """A page that nobody accepts: the module soon makes up the fault without running the TD."""
    # movb $0, 0x300000; jmp to it
    with Session.open(
        bytes.fromhex("c604250000300000ebf6"), kernel="v19", memory=4, exits=50
    ) as session:
        state = session.cont()
        assert (state.why, state.steps) == ("exit budget used up", 50)
        assert session.cont().steps == 50
        assert session.reverse_step(40).cont().steps == 50


def test_a_budget_ends_one_mapgpa_of_everything() -> None:
    """Its exits to userspace are 2^30, and from the TD one."""
    with Session.open("mapgpa_everything", gpaw=52, exits=2) as session:
        state = session.cont()
        assert (state.why, state.steps, state.row) == ("exit budget used up", 2 << 14, 0)
        assert session.cont().steps == 2 << 14
        assert session.reverse_step(3).cont().steps == 2 << 14


def test_breakpoints_and_watchpoints(retry: Session) -> None:
    first = retry.add_breakpoint("leaf == MapGPA")
    state = retry.cont()
    assert (state.why, state.breakpoints) == ("breakpoint", (first,))
    retry.change_breakpoint(first, enabled=False)
    stack = retry.regs.rsp & ~7
    second = retry.add_watchpoint(stack - 8, 8, vcpu=0)
    state = retry.cont()
    assert (state.why, state.breakpoints) == ("watchpoint", (second,))
    assert state.address & ~7 == stack - 8
    assert [item["hits"] for item in retry.breakpoints()] == [1, 1]
    retry.remove_breakpoint(second)
    third = retry.add_breakpoint(address=retry.state.rip)
    assert [item["kind"] for item in retry.breakpoints()] == ["condition", "address"]
    retry.remove_breakpoint(third)
    assert retry.cont().is_ended


def test_it_stops_after_pages_were_converted_and_goes_back_to_it(retry: Session) -> None:
    page, second = 0x400000, 0x401000
    number = retry.watch_conversions(second, 4)
    state = retry.cont()
    assert (state.why, state.breakpoints) == ("breakpoint", (number,))
    assert retry.gpa_map().is_shared(page)
    shared = state.position
    state = retry.cont()
    assert (state.why, state.breakpoints) == ("breakpoint", (number,))
    assert not retry.gpa_map().is_shared(page)
    with retry.reverse_cont() as past:
        assert past.state.position == shared
        assert past.gpa_map().is_shared(page)
    assert [(item["kind"], item["hits"]) for item in retry.breakpoints()] == [("mapping", 2)]
    retry.change_breakpoint(number, enabled=False)
    assert retry.cont().is_ended


def test_the_handler_of_the_page_fault_is_among_the_registers() -> None:
    with Session.open("ve_tour") as session:
        assert session.registers().page_fault == 0
        session.cont()
        found = session.registers()
        symbols = symbols_of(read_guest(find("ve_tour").image))
        assert symbols.describe(found.idt_base) == "idt"
        assert symbols.describe(found.page_fault) == f"stubs+{14 * 16:#x}"


def test_two_vcpus_have_their_own_registers() -> None:
    with Session.open("two_vcpus") as session:
        assert session.state.vcpus == 2
        assert session.registers(0).rsi == 0
        assert session.registers(1).rsi == 1
        assert session.cont().is_ended


# --- other times ----------------------------------------------------------------------


def test_the_past_does_not_disturb_the_present(retry: Session) -> None:
    retry.run_until("leaf == MapGPA")
    here, registers = retry.state, retry.registers()
    with retry.reverse_step(10) as past:
        assert past.world == "past"
        assert past.state.steps == here.steps - 10
        assert past.state.end == here.position
        assert retry.refresh().position == here.position
        retry.cont(steps=5)
        assert past.refresh().steps == here.steps - 10
        assert past.step(10).position == here.position
        assert past.registers() == registers
        assert past.state.why == "the present"
        with pytest.raises(SessionError, match="meets the present"):
            past.step()
    assert retry.cont().is_ended


def test_a_past_moves_itself(retry: Session) -> None:
    retry.run_until("leaf == MapGPA")
    row = retry.state.row
    past = retry.go_to(row - 3)
    assert (past.state.row, past.state.step) == (row - 3, 0)
    assert past.go_to(row - 10, 1) is past
    assert (past.state.row, past.state.step) == (row - 10, 1)
    before = past.state
    assert past.reverse_step_instruction().state.position < before.position
    assert past.step_instruction().position == before.position
    assert past.go_to(steps=0).state.why == "a step"
    assert past.state.rip == 0x100000
    assert past.reverse_step().state.why == "the start of the run"
    assert past.cont().position == retry.state.position


def test_a_past_runs_to_the_present_and_not_beyond(retry: Session) -> None:
    retry.run_until("leaf == MapGPA")
    retry.step(5)
    retry.step_instruction(3)
    here = retry.state.position
    past = retry.go_to(steps=3)
    assert past.cont(steps=2).steps == 5
    assert past.cont(until="leaf == MapGPA").detail == "leaf == MapGPA"
    assert past.cont().position == here
    assert past.state.why == "the present"
    past.go_to(steps=here[0])
    assert past.step_instruction(1000).position == here


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("edit", {}),
        ("inject", {"vector": 64}),
        ("set_registers", {"rax": 1}),
        ("write_memory", {"address": 0x8000, "data": b"x"}),
        ("serial", {"data": b"x"}),
    ],
)
def test_the_past_cannot_be_changed(
    retry: Session, command: str, arguments: dict[str, Any]
) -> None:
    retry.step(4)
    past = retry.reverse_step()
    with pytest.raises(SessionError, match="make_live"):
        getattr(past, command)(**arguments)


def test_another_future(retry: Session) -> None:
    """From the past, answered differently; both futures go on, each with a recording."""
    retry.run_until("exit == KVM_EXIT_HYPERCALL")
    held = retry.state.steps
    retry.cont()
    fork = retry.go_to(steps=held)
    assert fork.state.is_held
    state = fork.make_live()
    assert (state.world, state.steps) == ("fork", held)
    assert fork.trace_path != retry.trace_path
    fork.answer(ret=EAGAIN)
    assert fork.cont().is_ended
    assert fork.console() != retry.console()
    assert len(fork.timeline) > len(retry.timeline) > held
    again = fork.reverse_step(3)
    assert again.world == "past"
    again.make_live()
    assert again.cont().position == fork.state.position


def test_searching_backwards(retry: Session) -> None:
    retry.run_until("leaf == MapGPA")
    mapped = retry.state.position
    retry.add_breakpoint("leaf == MapGPA")
    retry.cont()
    retry.cont()
    past = retry.reverse_cont()
    assert past.state.why == "breakpoint"
    assert past.last_match("leaf == MapGPA").state.steps >= mapped[0]
    stack = retry.regs.rsp
    past = retry.last_write(stack - 8, 8, vcpu=0)
    assert past.state.why == "watchpoint"
    assert past.state.position < retry.state.position
    with pytest.raises(SessionError):
        retry.last_write(1 << 46, vcpu=0)


def test_looking_back_for_what_never_was_ends_at_the_start(retry: Session) -> None:
    retry.step(20)
    assert retry.last_match("leaf == GetQuote").state.why == "the start of the run"


def test_a_screen_gets_a_past_as_the_value_of_an_event(retry: Session) -> None:
    retry.step(6)
    event = wait_for(retry, retry.send("go_to", steps=2))
    assert event.kind == "done"
    past = event.value
    assert isinstance(past, Session)
    assert past.state.steps == 2
    event = wait_for(past, past.send("make_live"))
    assert event.value.world == past.world == "fork"
    assert past.trace_path != retry.trace_path
    assert wait_for(past, past.send("go_to", steps=99)).kind == "failed"


def test_worlds_that_are_not_wanted_any_more_are_closed(retry: Session) -> None:
    retry.step(4)
    for _ in range(70):
        retry.reverse_step().close()
    assert retry.step().steps == 5


def test_a_closed_session_says_so(retry: Session) -> None:
    past = (retry.step(4), retry.reverse_step())[1]
    retry.close()
    retry.close()
    assert not retry.alive
    assert not past.alive
    assert retry.poll() == []
    with pytest.raises(SessionError, match="closed"):
        retry.step()
    with pytest.raises(SessionError, match="closed"):
        past.step()
    assert "closed" in repr(retry)


@pytest.mark.parametrize(
    ("command", "arguments", "problem"),
    [
        ("go_to", {"row": [1, 2]}, r"go_to: row \[1, 2\] is no int | None"),
        ("cont", {"steps": "3"}, "cont: steps '3' is no int"),
        ("cont", {"paced": 1}, "cont: paced 1 is no bool"),
        ("step", {"count": True}, "step: count True is no int"),
        ("serial", {"data": "text"}, "serial: data 'text' is no bytes"),
        ("write_memory", {"address": 0, "data": None}, "write_memory: data None is no bytes"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(
    command: str, arguments: dict[str, Any], problem: str
) -> None:
    with Session.open("hello_serial") as td:
        with pytest.raises(SessionError, match=problem.replace("|", r"\|")):
            td._ask(command, **arguments)
        assert td.step().row == 0


def test_a_text_is_waited_for_from_where_the_run_stands() -> None:
    """What the guest wrote before does not count."""
    with Session.open("hello_serial") as td:
        first = td.cont(serial=b"trust")
        assert td.console().endswith(b"trust")
        again = td.cont(serial=b"trust")
        assert again.is_ended
        assert first.position < again.position
