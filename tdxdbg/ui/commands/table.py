"""The commands: one table, which the command line, the palette and the help are made from.

Every key of `ui/keys.py` is a command already, named by its id with dashes. A
row here gives a command something that is typed after its name, another name
or aliases, or makes one that has no key.

To add one that takes something, write two methods of the feature's class:

    def judge_run_to(self, text: str, cursor: int) -> Verdict: ...   # what it means
    def command_run_to(self, text: str) -> None: ...                 # do it

and one row:

    Command("run-to", "run_to", "[PLACE]", "judge_run_to", "command_run_to", "run to ..."),

`takes` is how help writes what follows the name. In brackets it may be left
out, and then the command does what its key does. A command is offered on the
screens that have its methods.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Command(NamedTuple):
    """A command. `key` is an id of the key table, empty for one without a key.

    `judge` and `action` are methods of the app: `judge(text, cursor) -> Verdict`
    says at each key what the text after the name means and which words could
    stand there (empty: anything will do); `action(text)` does it.
    """

    name: str
    key: str = ""
    takes: str = ""
    judge: str = ""
    action: str = ""
    help: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def needs_text(self) -> bool:
        """Whether it means nothing alone."""
        return bool(self.takes) and not self.takes.startswith("[")

    @property
    def usage(self) -> str:
        """`go N[.STEP]`."""
        return f"{self.name} {self.takes}".rstrip()


#: In the order of the palette, after the commands that need no row.
COMMANDS: Final[tuple[Command, ...]] = (
    # Where a key takes no text.
    Command("go", "digit", "N[.STEP]", "judge_go", "command_go",
            "to exit N, and to a step of it; a number alone does the same", ("goto",)),
    Command("pane", "focus", "PANE", "judge_pane", "command_pane",
            "focus a pane, by its name or number"),
    Command("kernel", "kernels", "[GEN]", "judge_kernel", "command_kernel",
            "the same guest under that kernel; alone: choose one", ("kernels",)),
    Command("help", "help", "[WORDS]", "", "command_help",
            "this help; with words: the lines that have them", ("h",)),
    Command("filter", "filter", "[EXPR]", "judge_filter", "command_filter",
            "show only the exits that match; alone: ask for it"),
    Command("find", "find", "[EXPR]", "judge_find", "command_find",
            "the next exit that matches; n and N go on"),
    Command("break", "breakpoint", "[COND]", "judge_break", "command_break",
            "stop at exits that match", ("b",)),
    Command("watch", "watch", "[WHAT]", "judge_watch", "command_watch",
            "stop where the mapping of a GPA range, or a register, changes"),
    Command("run-to", "run_to", "[PLACE]", "judge_run_to", "command_run_to",
            "forward to an exit, a bookmark or a condition"),
    Command("back-to", "back_to", "[PLACE]", "judge_back_to", "command_back_to",
            "back to an exit, a bookmark or a condition"),
    Command("mark", "mark", "[LETTER NOTE]", "judge_mark", "command_mark",
            "a bookmark here, with a note"),
    Command("columns", "columns", "[NAMES]", "judge_columns", "command_columns",
            "which columns the queue has; alone: choose"),
    Command("export", "export", "[WHAT]", "judge_export", "action_export",
            "write svg, text, exit, json or queue to a new file; alone: choose"),
    Command("layout", "layouts", "[NAME | save NAME | delete NAME]", "judge_layout",
            "command_layout", "use, save or delete a layout"),
    Command("gpa", "map_address", "[ADDRESS]", "judge_gpa", "command_gpa",
            "the GPA map, at an address"),
    # Other names, those of other debuggers among them.
    Command("quit", "quit", aliases=("q", "exit")),
    Command("step", "step", aliases=("s",)),
    Command("step-back", "step_back", aliases=("rs", "reverse-step")),
    Command("continue", "continue", aliases=("c",)),
    Command("continue-back", "continue_back", aliases=("rc", "reverse-continue")),
    Command("instruction", "instruction", aliases=("si", "stepi")),
    Command("instruction-back", "instruction_back", aliases=("rsi", "reverse-stepi")),
    # Without a key.
    Command("theme", "", "NAME", "judge_theme", "action_theme", "another theme"),
    Command("settings", action="command_settings",
            help="where the settings are, what they say, what is wrong with them"),
    Command("forget", action="command_forget",
            help="forget what is remembered of this recording, and start afresh"),
)  # fmt: skip
