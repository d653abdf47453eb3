"""The keys: one table from which the bindings, the hints and the help are made."""

from __future__ import annotations

from typing import Final, NamedTuple


class Key(NamedTuple):
    """What a key does.

    `id` names it (for a key map), `keys` are textual's names, `action` is a
    method of the app ({key} in it is the key that was pressed), `shown` is how
    help writes the keys, `help` says what they do; it is empty for the second of a
    pair, for which the first speaks.
    """

    id: str
    keys: str
    action: str
    shown: str
    help: str
    group: str


MOVE: Final = "move"
RUN: Final = "the running guest"
PANES: Final = "panes"
KERNEL: Final = "another kernel"
OTHER: Final = "other"

#: The order is that of the help; the hints of the bottom line stand in `HINTS`.
KEYS: Final[tuple[Key, ...]] = (
    Key("next_row", "j", "row(1)", "j", "next, previous exit", MOVE),
    Key("previous_row", "k", "row(-1)", "k", "", MOVE),
    Key(
        "step",
        "s,space",
        "step(1)",
        "s",
        "step forward, back, also through the chunks of one exit",
        MOVE,
    ),
    Key("step_back", "S,backspace", "step(-1)", "S", "", MOVE),
    Key("first", "g", "end(-1)", "g", "first, last exit; 415G: to exit 415", MOVE),
    Key("last", "G,end", "end(1)", "G", "", MOVE),
    Key("down", "down", "arrow(0,1)", "Down", "next, previous exit; scroll the focused pane", MOVE),
    Key("up", "up", "arrow(0,-1)", "Up", "", MOVE),
    Key("right", "right", "arrow(4,0)", "Right", "scroll the focused pane sideways", MOVE),
    Key("left", "left", "arrow(-4,0)", "Left", "", MOVE),
    Key("page_down", "pagedown", "page(1.0)", "PgDn", "a page", MOVE),
    Key("page_up", "pageup", "page(-1.0)", "PgUp", "", MOVE),
    Key("half_down", "ctrl+d", "page(0.5)", "Ctrl-d", "half a page", MOVE),
    Key("half_up", "ctrl+u", "page(-0.5)", "Ctrl-u", "", MOVE),
    Key("next_match", "n", "match(1)", "n", "next, previous exit that --filter selects", MOVE),
    Key("previous_match", "N", "match(-1)", "N", "", MOVE),
    Key("stop", "escape", "stop", "Esc", "stop searching, drop a count", MOVE),
    Key("home", "home", "home", "Home", "first exit; the whole map, when it is focused", MOVE),
    Key("focus", "1,2,3,4,5", "digit({key})", "1..5", "focus that pane", PANES),
    Key("digit", "0,6,7,8,9", "digit({key})", "0..9", "a count, for G", PANES),
    Key("next_pane", "tab", "pane(1)", "Tab", "next, previous pane", PANES),
    Key("previous_pane", "shift+tab", "pane(-1)", "S-Tab", "", PANES),
    Key("zoom", "z", "zoom", "z", "the focused pane alone, and back", PANES),
    Key("map_in", "plus", "map_zoom(1)", "+", "GPA map: closer, further away; 0 all", PANES),
    Key("map_out", "minus", "map_zoom(-1)", "-", "", PANES),
    Key("map_follow", "full_stop", "map_follow", ". Esc", "GPA map: follow the exit again", PANES),
    Key("map_address", "at", "map_address", "@", "GPA map: go to an address", PANES),
    Key("enter", "enter", "enter", "Enter", "GPA map: its list of ranges, and back", PANES),
    Key(
        "next_kernel",
        "v",
        "kernel(1)",
        "v",
        "what the next, previous kernel would have done",
        KERNEL,
    ),
    Key("previous_kernel", "V", "kernel(-1)", "V", "", KERNEL),
    Key("kernels", "K", "kernels", "K", "choose among the kernels", KERNEL),
    Key("about", "a", "about", "a", "about this recording, and what is damaged in it", OTHER),
    Key("export", "x", "export", "x", "write the screen to tdxdbg-<n>.svg", OTHER),
    Key("help", "question_mark,f1", "help", "? F1", "this help", OTHER),
    Key("suspend", "ctrl+z", "suspend_process", "Ctrl-z", "suspend; fg comes back", OTHER),
    Key("quit", "q,ctrl+q", "quit", "q", "quit", OTHER),
    Key("interrupt", "ctrl+c", "interrupt", "Ctrl-c", "quit with exit status 130", OTHER),
)

#: What is otherwise in a live run, by id.
_LIVE_INSTEAD: Final[tuple[Key, ...]] = (
    Key(
        "step",
        "s,space",
        "step(1)",
        "s",
        "run to the next exit, answer or TD entry; back, forward in the past",
        RUN,
    ),
    Key("step_back", "S,backspace", "step(-1)", "S", "", RUN),
    Key("last", "G,end", "end(1)", "G", "", MOVE),
    Key("focus", "1,2,3,4,5,6,7,8", "digit({key})", "1..8", "focus that pane", PANES),
    Key("digit", "0,9", "digit({key})", "0..9", "a count, for G", PANES),
    Key(
        "interrupt",
        "ctrl+c",
        "interrupt",
        "Ctrl-c",
        "stop a guest that runs; when none does, quit with status 130",
        RUN,
    ),
)

_LIVE_RUN: Final[tuple[Key, ...]] = (
    Key("instruction", "i", "instruction(1)", "i", "one guest instruction forward, back", RUN),
    Key("instruction_back", "I", "instruction(-1)", "I", "", RUN),
    Key("continue", "c", "cont(1)", "c", "run on, back, to a breakpoint or the end", RUN),
    Key("continue_back", "C", "cont(-1)", "C", "", RUN),
    Key("edit", "e", "edit", "e", "edit userspace's answer to the exit that is held", RUN),
    Key("undo", "u", "undo", "u", "back to the answer that the VMM proposed", RUN),
    Key("inject", "r", "inject", "r", "raise an interrupt", RUN),
    Key("breakpoint", "b", "breakpoint", "b", "set a breakpoint; list them", RUN),
    Key("breakpoints", "B", "breakpoints", "B", "", RUN),
    Key("watch", "w", "watch", "w", "watch memory; go back to its last write", RUN),
    Key("last_write", "W", "last_write", "W", "", RUN),
    Key("follow", "f", "follow", "f", "back to the present", RUN),
    Key("fork", "F", "fork", "F", "go on from here in another world", RUN),
    Key("worlds", "o", "worlds", "o", "the other worlds", RUN),
    Key("restart", "R", "restart", "R", "start the guest again", RUN),
    Key("memory", "at", "memory", "@", "show memory at an address or symbol", PANES),
    Key("processor", "p", "processor", "p", "the next vCPU's instructions and registers", PANES),
)


def _live_keys() -> tuple[Key, ...]:
    """The table of a live run: running comes first."""
    instead = {key.id: key for key in _LIVE_INSTEAD}
    taken = {name for key in _LIVE_RUN for name in key.keys.split(",")}
    keys = [instead.get(key.id, key) for key in KEYS if taken.isdisjoint(key.keys.split(","))]
    keys += _LIVE_RUN
    groups = (RUN, MOVE, PANES, KERNEL, OTHER)
    return tuple(key for group in groups for key in keys if key.group == group)


LIVE_KEYS: Final[tuple[Key, ...]] = _live_keys()

#: Keys by id and a word for them.
Hints = tuple[tuple[tuple[str, ...], str], ...]

#: The bottom line, most useful first; what does not fit is left out.
HINTS: Final[Hints] = (
    (("next_row", "previous_row"), "exit"),
    (("step", "step_back"), "step"),
    (("next_match", "previous_match"), "match"),
    (("next_kernel",), "kernel"),
    (("next_pane",), "pane"),
    (("zoom",), "zoom"),
    (("help",), "help"),
    (("quit",), "quit"),
)

_LOOK: Final[Hints] = (
    (("next_row", "previous_row"), "exit"),
    (("next_pane",), "pane"),
    (("memory",), "memory"),
    (("zoom",), "zoom"),
    (("quit",), "quit"),
)
_STEP: Final = (("step", "step_back"), "step")
_BREAK: Final = (("breakpoint",), "break")
_HELP: Final = (("help",), "help")
#: The same of a live run, by what the guest is doing.
LIVE_HINTS: Final[dict[str, Hints]] = {
    "held": (
        (("step",), "answer"), (("edit",), "edit"), (("step_back",), "back"),
        (("continue", "continue_back"), "run"), (("inject",), "interrupt"), _BREAK, _HELP, *_LOOK,
    ),
    "in_td": (
        _STEP, (("continue", "continue_back"), "run"),
        (("instruction", "instruction_back"), "instruction"), _BREAK, _HELP, *_LOOK,
    ),
    "running": ((("interrupt",), "stop"), _HELP, *_LOOK),
    "past": (
        _STEP, (("follow",), "present"), (("fork",), "fork"),
        (("instruction", "instruction_back"), "instruction"), (("continue_back",), "run back"),
        _HELP, *_LOOK,
    ),
    "ended": (
        (("step_back",), "back"), (("continue_back",), "run back"), (("restart",), "again"),
        (("worlds",), "worlds"), _HELP, *_LOOK,
    ),
    "died": (
        _STEP, (("restart",), "again"), (("worlds",), "worlds"), _HELP, *_LOOK,
    ),
}  # fmt: skip

BY_ID: Final[dict[str, Key]] = {key.id: key for key in (*KEYS, *LIVE_KEYS)}


def hint(ids: tuple[str, ...]) -> str:
    """`j/k`: the first key of each."""
    return "/".join(BY_ID[id].shown.split()[0] for id in ids)
