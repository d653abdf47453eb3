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
    Key("first", "g,home", "end(-1)", "g", "first, last exit; 415G: to exit 415", MOVE),
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
    Key("focus", "1,2,3,4,5", "digit({key})", "1..5", "focus that pane", PANES),
    Key("digit", "0,6,7,8,9", "digit({key})", "0..9", "a count, for G", PANES),
    Key("next_pane", "tab", "pane(1)", "Tab", "next, previous pane", PANES),
    Key("previous_pane", "shift+tab", "pane(-1)", "S-Tab", "", PANES),
    Key("zoom", "z", "zoom", "z", "the focused pane alone, and back", PANES),
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

#: The bottom line: keys by id and a word for them, most useful first; what does
#: not fit is left out.
HINTS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("next_row", "previous_row"), "exit"),
    (("step", "step_back"), "step"),
    (("next_match", "previous_match"), "match"),
    (("next_kernel",), "kernel"),
    (("next_pane",), "pane"),
    (("zoom",), "zoom"),
    (("help",), "help"),
    (("quit",), "quit"),
)

BY_ID: Final[dict[str, Key]] = {key.id: key for key in KEYS}


def hint(ids: tuple[str, ...]) -> str:
    """`j/k`: the first key of each."""
    return "/".join(BY_ID[id].shown.split()[0] for id in ids)
