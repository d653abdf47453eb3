"""Where a live run stands, always in words: badges of the status line, and the line of news."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.decode.text import Safe
from tdxdbg.decode.values import size_text
from tdxdbg.ui.answer.form import Value, value_text
from tdxdbg.ui.keys import key_of
from tdxdbg.ui.lines import Line, Span, concat, cut, line, own, part, width_of, word
from tdxdbg.ui.live.wire import State
from tdxdbg.ui.widgets.lines_widget import LinesWidget

#: What `State.where` says.
IN_TD: Final = "in the TD"
HELD: Final = "held"
ENDED: Final = "ended"
#: What `State.why` says where looking back found nothing.
START: Final = "the start of the run"

#: How typing into the guest ends.
LEAVES: Final = "typing: Ctrl-] leaves"
_PAST: Final = own(" PAST ")
_DOING: Final[dict[str, Span]] = {
    "running": (own(" RUNNING "), "ok_badge"),
    "held": (own(" HELD "), "retry_badge"),
    "in_td": (own(" IN TD "), "badge"),
    "ended": (own(" ENDED "), "unknown_badge"),
    "died": (own(" DIED "), "warning"),
}
_NO_EXIT: Final = own("")


class Situation(NamedTuple):
    """Everything that the two lines say.

    `doing` is what the present does: running, held, in_td, ended, died. `world`
    is its name: live, fork 1; `behind` how far before the present the place is
    that is shown, "" in the present; `at_start`: looking back found nothing else.
    """

    doing: str
    state: State
    world: str = "live"
    behind: str = ""
    reading: bool = False
    died: str = ""
    asks: Safe = _NO_EXIT
    where: str = ""
    at_start: bool = False

    @property
    def hints(self) -> str:
        """Which keys are useful."""
        if self.behind:
            return "past"
        return self.doing


def doing_of(state: State, running: bool, died: str) -> str:
    """What a world's present does, by name."""
    if died:
        return "died"
    if running:
        return "running"
    return {IN_TD: "in_td", HELD: "held"}.get(state.where, "ended")


def badges(at: Situation) -> tuple[Span, ...]:
    """LIVE or PAST or FORK; RUNNING, HELD, IN TD, ENDED or DIED."""
    world = word(f" {at.world.upper()} ", "badge")
    doing = _DOING[at.doing]
    if not at.behind:
        return world, doing
    past = (concat(_PAST, word(f"{at.behind} back ")[0]), "past_badge")
    # What the present does meanwhile matters when it is on the move, or no more.
    return (past, doing) if at.doing in ("running", "died") else (past,)


def typing_words(at: Situation, problem: str = "", key: Callable[[str], str] = key_of) -> str:
    """How typing into the guest ends, and a problem of it, or who hears it."""
    return f"{LEAVES}. {rest}" if (rest := problem or _who_hears(at, key)) else LEAVES


def _who_hears(at: Situation, key: Callable[[str], str]) -> str:
    if at.died:
        return f"The worker is gone: {key('restart')} starts the guest again"
    if at.behind:
        return f"The past hears nothing; {key('follow')} leads back, {key('fork')} forks"
    if at.doing == "running":
        return ""
    if at.doing == "ended":
        return "The guest has ended: nobody reads this"
    return f"It waits in the port: then {key('continue')} runs the guest on"


def news(at: Situation, key: Callable[[str], str] = key_of) -> Line:
    """One line: what the guest does or waits for, and why."""
    if at.died:
        return line(
            (own(" ‼ "), "error"),
            word(f"{key('restart')} starts the guest again: ", "error"),
            word(at.died, "text"),
        )
    if at.behind:
        return _past(at)
    state = at.state
    if at.doing == "running":
        return line((own(" running: "), "ok"), *_counts(state))
    if at.doing == "held":
        return line(*_held(at))
    if at.doing == "ended":
        why = state.detail or state.stop or state.why
        return line(
            (own(" ended: "), "text"), word(why, "value"), (own("  "), "dim"), *_counts(state)
        )
    return line(*_in_td(at))


def _past(at: Situation) -> Line:
    spans: list[Span] = [word(f" {at.behind} before the present", "retry")]
    if at.reading:
        spans.append((own("  reading the past…"), "unknown"))
    elif at.where:
        spans.append(word(f"  at {at.where}", "text"))
    if at.at_start and not at.reading:
        spans.append((own("  the start of the run: nothing before this stops it"), "dim"))
    if at.doing == "running":
        spans += [(own("  the present runs: "), "ok"), *_counts(at.state)]
    return line(*spans)


def _counts(state: State) -> list[Span]:
    spans: list[Span] = []
    for number, what in (
        (max(state.row + 1, 0), "exit"),
        (state.steps, "step"),
        (state.instructions, "instruction"),
    ):
        ending = "" if number == 1 else "s"
        spans += [word(f"{number:,}", "value"), word(f" {what}{ending}, ", "dim")]
    last, role = spans[-1]
    return [*spans[:-1], (part(last, 0, len(last) - 2), role)]


def _held(at: Situation) -> list[Span]:
    state = at.state
    spans: list[Span] = [(own(" held: "), "retry"), (at.asks or own("an exit"), "value")]
    if state.stop:
        return [*spans, (own("  the VMM stops: "), "error"), word(state.stop, "error")]
    spans.append((own("  answer: "), "dim"))
    given: list[Span] = []
    for name, value in state.answer.items():
        if value is not None:
            given.append(word(f"{name} = {_value(value)} ", "value"))
    spans += given or [(own("KVM_RUN "), "value")]
    changed = dict(state.answer) != dict(state.proposed)
    spans.append((own("(edited)"), "changed") if changed else (own("(proposed)"), "dim"))
    for gpa, size, private in state.convert[:1]:
        spans.append(word(f" converts {gpa:x} +{size_text(size)} to ", "dim"))
        spans.append((own("private"), "private") if private else (own("shared"), "shared"))
    return spans


def _value(value: Value) -> str:
    return value_text(value)


def _in_td(at: Situation) -> list[Span]:
    state = at.state
    spans: list[Span] = [(own(" stopped"), "text")]
    if at.where:
        spans.append(word(f" at {at.where}", "value"))
    why = f"{state.why}: {state.detail}" if state.detail else state.why
    if why:
        spans += [(own("  "), "dim"), word(why, "retry")]
    return [*spans, (own("  "), "dim"), *_counts(state)]


class NewsLine(LinesWidget):
    """The line above the keys."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._line = Line()

    def show(self, at: Situation) -> None:
        """Say it."""
        new = news(at, self.key)
        if new != self._line:
            self._line = new
            self.refresh()

    @property
    def text(self) -> Safe:
        """What it says."""
        return concat(*(text for text, _ in self._line.spans))

    def line_for(self, y: int) -> Line:
        """What does not fit ends with a mark: half a number would be a wrong one."""
        room = self.outer_size.width
        spans: list[Span] = []
        for text, role in self._line.spans:
            shown = cut(text, room)
            spans.append((shown, role))
            room -= width_of([(shown, role)])
            if shown != text or not room:
                break
        return line(*spans)
