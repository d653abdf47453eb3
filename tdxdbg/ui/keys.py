"""The keys: one table from which the bindings, the hints and the help are made."""

from __future__ import annotations

from collections.abc import Mapping
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
STOPS: Final = "breakpoints"
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
    Key("down", "down", "arrow(0,1)", "Down", "next, previous exit, or line of a pane", MOVE),
    Key("up", "up", "arrow(0,-1)", "Up", "", MOVE),
    Key("right", "right", "arrow(4,0)", "Right", "scroll the focused pane sideways", MOVE),
    Key("left", "left", "arrow(-4,0)", "Left", "", MOVE),
    Key("page_down", "pagedown", "page(1.0)", "PgDn", "a page", MOVE),
    Key("page_up", "pageup", "page(-1.0)", "PgUp", "", MOVE),
    Key("half_down", "ctrl+d", "page(0.5)", "Ctrl-d", "half a page", MOVE),
    Key("half_up", "ctrl+u", "page(-0.5)", "Ctrl-u", "", MOVE),
    Key(
        "next_match", "n", "match(1)", "n", "next, previous match of find, else of the filter", MOVE
    ),
    Key("previous_match", "N", "match(-1)", "N", "", MOVE),
    Key(
        "stop",
        "escape",
        "stop",
        "Esc",
        "stop searching, drop a count; then: show all exits again",
        MOVE,
    ),
    Key("filter", "slash", "filter", "/", "show only exits that match a condition", MOVE),
    Key("hide", "h", "hide", "h", "what the filter does not select: hidden, or dim", MOVE),
    Key("find", "ctrl+f", "find", "Ctrl-f", "go to the next exit that matches a condition", MOVE),
    Key("next_error", "d", "next('error',1)", "d", "next, previous error", MOVE),
    Key("previous_error", "D", "next('error',-1)", "D", "", MOVE),
    Key("next_retry", "l", "next('retry',1)", "l", "next, previous RETRY", MOVE),
    Key("previous_retry", "L", "next('retry',-1)", "L", "", MOVE),
    Key("run_to", "t", "run_to(1)", "t", "run to, back to an exit, a bookmark, a condition", MOVE),
    Key("back_to", "T", "run_to(-1)", "T", "", MOVE),
    Key("mark", "m", "mark", "m a", "set bookmark a here; m and any letter", MOVE),
    Key("to_mark", "apostrophe", "to_mark", "' a", "go to bookmark a; '' back from a jump", MOVE),
    Key("bookmarks", "M", "bookmarks", "M", "list the bookmarks, with their notes", MOVE),
    Key(
        "next_link",
        "right_square_bracket",
        "link(1)",
        "]",
        "next, previous request of the MapGPA chain; beyond it, another chain",
        MOVE,
    ),
    Key("previous_link", "left_square_bracket", "link(-1)", "[", "", MOVE),
    Key(
        "next_of_vcpu",
        "right_curly_bracket",
        "same_vcpu(1)",
        "}",
        "next, previous exit of the same vCPU",
        MOVE,
    ),
    Key("previous_of_vcpu", "left_curly_bracket", "same_vcpu(-1)", "{", "", MOVE),
    Key("home", "home", "home", "Home", "first exit; the whole map, when it is focused", MOVE),
    Key(
        "continue",
        "c",
        "cont(1)",
        "c",
        "on, back to the next exit that a breakpoint stops at",
        STOPS,
    ),
    Key("continue_back", "C", "cont(-1)", "C", "", STOPS),
    Key("breakpoint", "b", "breakpoint", "b", "set a breakpoint; list them", STOPS),
    Key("breakpoints", "B", "breakpoints", "B", "", STOPS),
    Key("watch", "w", "watch", "w", "watch a GPA range or a register", STOPS),
    Key("focus", "1,2,3,4,5,6,7,8,9", "digit({key})", "1..9", "focus that pane", PANES),
    Key("digit", "0", "digit({key})", "0..9", "a count, for G", PANES),
    Key("next_pane", "tab", "pane(1)", "Tab", "next, previous pane", PANES),
    Key("previous_pane", "shift+tab", "pane(-1)", "S-Tab", "", PANES),
    Key("zoom", "z", "zoom", "z", "the focused pane alone, and back", PANES),
    Key("columns", "vertical_line", "columns", "|", "choose the columns of the exits", PANES),
    Key(
        "act",
        "enter",
        "act",
        "Enter",
        "decode this line's value; the map's list of ranges",
        PANES,
    ),
    Key("copy", "y", "copy", "y", "copy this line's value; the whole exit as text", PANES),
    Key("copy_exit", "Y", "copy_exit", "Y", "", PANES),
    Key("wider", "greater_than_sign", "wider(4)", ">", "the focused pane wider, narrower", PANES),
    Key("narrower", "less_than_sign", "wider(-4)", "<", "", PANES),
    Key("higher", "ctrl+down", "higher(2)", "Ctrl-Down", "the focused pane higher, lower", PANES),
    Key("lower", "ctrl+up", "higher(-2)", "Ctrl-Up", "", PANES),
    Key(
        "sizes",
        "equals_sign",
        "reset_sizes",
        "=",
        "all panes as large as at first",
        PANES,
    ),
    Key(
        "layouts",
        "ctrl+w",
        "layouts",
        "Ctrl-w",
        "save this layout by name, use another",
        PANES,
    ),
    Key("map_in", "plus", "map_zoom(1)", "+", "GPA map: closer, further away; 0 all", PANES),
    Key("map_out", "minus", "map_zoom(-1)", "-", "", PANES),
    Key("map_follow", "full_stop", "map_follow", ". Esc", "GPA map: follow the exit again", PANES),
    Key("map_address", "at", "map_address", "@", "GPA map: go to an address", PANES),
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
    Key("edit", "e", "edit", "e", "what another answer of userspace would have done", KERNEL),
    Key("undo", "u", "undo", "u", "drop it: the recording again", KERNEL),
    Key("about", "a", "about", "a", "about this recording, and what is damaged in it", OTHER),
    Key("export", "x", "export", "x", "write the screen, the exit or the queue to a file", OTHER),
    Key("help", "question_mark,f1", "help", "? F1", "this help", OTHER),
    Key("follow", "f", "follow", "f", "go with the end of a recording that grows", OTHER),
    Key("suspend", "ctrl+z", "suspend_process", "Ctrl-z", "suspend; fg comes back", OTHER),
    Key("quit", "q,ctrl+q", "quit", "q", "quit", OTHER),
    Key("interrupt", "ctrl+c", "interrupt", "Ctrl-c", "quit with exit status 130", OTHER),
    Key("command", "colon", "command", ":", "type a command; Tab completes, Up recalls", OTHER),
    Key("palette", "ctrl+p", "palette", "Ctrl-p", "find a command by part of what it does", OTHER),
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
    Key("edit", "e", "edit", "e", "edit userspace's answer to the exit that is held", RUN),
    Key("undo", "u", "undo", "u", "back to the answer that the VMM proposed", RUN),
    Key("last", "G,end", "end(1)", "G", "", MOVE),
    Key(
        "run_to",
        "t",
        "run_to(1)",
        "t",
        "run to, back to an exit, a bookmark, a condition, console text",
        MOVE,
    ),
    Key("focus", "1,2,3,4,5,6,7,8,9", "digit({key})", "1..9 0", "focus that pane", PANES),
    Key("digit", "0", "digit({key})", "0..9", "a count, for G", PANES),
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
    Key(
        "type",
        "A",
        "type",
        "A",
        "type into the guest's serial console, until Ctrl-]; also Enter in pane 0",
        RUN,
    ),
    Key("inject", "r", "inject", "r", "raise an interrupt", RUN),
    Key("breakpoint", "b", "breakpoint", "b", "set a breakpoint; list them", RUN),
    Key("breakpoints", "B", "breakpoints", "B", "", RUN),
    Key(
        "watch",
        "w",
        "watch",
        "w",
        "watch memory, or conversions of a GPA range; back to a last write",
        RUN,
    ),
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
    own = {key.id for key in _LIVE_RUN}
    taken = {name for key in _LIVE_RUN for name in key.keys.split(",")}
    keys = [
        instead.get(key.id, key)
        for key in KEYS
        if key.id not in own and taken.isdisjoint(key.keys.split(","))
    ]
    keys += _LIVE_RUN
    groups = (RUN, MOVE, STOPS, PANES, KERNEL, OTHER)
    return tuple(key for group in groups for key in keys if key.group == group)


LIVE_KEYS: Final[tuple[Key, ...]] = _live_keys()

#: Keys by id and a word for them.
Hints = tuple[tuple[tuple[str, ...], str], ...]

#: The bottom line, most useful first; what does not fit is left out.
HINTS: Final[Hints] = (
    (("next_row", "previous_row"), "exit"),
    (("step", "step_back"), "step"),
    (("next_match", "previous_match"), "match"),
    (("filter",), "filter"),
    (("continue", "continue_back"), "run"),
    (("help",), "help"),
    (("quit",), "quit"),
    (("next_pane",), "pane"),
    (("next_kernel",), "kernel"),
    (("zoom",), "zoom"),
    (("breakpoint",), "break"),
    (("command",), "command"),
    (("next_retry", "previous_retry"), "RETRY"),
    (("next_error", "previous_error"), "error"),
)

_LOOK: Final[Hints] = (
    (("next_row", "previous_row"), "exit"),
    (("next_pane",), "pane"),
    (("memory",), "memory"),
    (("zoom",), "zoom"),
    (("quit",), "quit"),
    (("command",), "command"),
)
_STEP: Final = (("step", "step_back"), "step")
_BREAK: Final = (("breakpoint",), "break")
_HELP: Final = (("help",), "help")
_TYPE: Final = (("type",), "type")
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
    "running": ((("interrupt",), "stop"), _TYPE, _HELP, *_LOOK),
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


def _with_typing(hints: Hints) -> Hints:
    return *hints[:3], _TYPE, *hints[3:]


#: Of a guest with a shell, one types into it wherever it can read that.
LINUX_HINTS: Final[dict[str, Hints]] = {
    **LIVE_HINTS,
    "held": _with_typing(LIVE_HINTS["held"]),
    "in_td": _with_typing(LIVE_HINTS["in_td"]),
}

BY_ID: Final[dict[str, Key]] = {key.id: key for key in (*KEYS, *LIVE_KEYS)}


def key_of(id: str, keys: Mapping[str, Key] = BY_ID) -> str:
    """How to do this: its first key, or its command where a user took the keys away."""
    key = keys.get(id) or BY_ID[id]
    return key.shown.split()[0] if key.shown else f":{id.replace('_', '-')}"


def hint(ids: tuple[str, ...], keys: Mapping[str, Key] = BY_ID) -> str:
    """`j/k`: the first key of each that has one."""
    return "/".join(keys[id].shown.split()[0] for id in ids if keys[id].shown)
