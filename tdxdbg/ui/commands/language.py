"""What a command line means: which command, with what after its name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tdxdbg.ui.commands.table import COMMANDS, Command
from tdxdbg.ui.keys import Key
from tdxdbg.ui.prompt import Verdict

#: A number alone goes to that exit.
_NUMBER: Final = re.compile(r"[0-9][0-9,._]*")
_GO: Final = "go"
#: Commands named when a beginning could be several.
_NAMED: Final = 4
_COULD_BE: Final = " could be "

#: Says what the text after a command's name means, with the cursor in it.
Judge = Callable[[Command, str, int], Verdict]


class Typed(NamedTuple):
    """A line: its command, None with a `problem`; what follows the name, from `start` on."""

    command: Command | None
    text: str = ""
    start: int = 0
    problem: str = ""


def offered(keys: Sequence[Key], has: Callable[[str], bool]) -> tuple[Command, ...]:
    """The commands of a screen, in the order of its keys; `has`: whether it has this method."""
    rows = [row for row in COMMANDS if has(row.action) or not row.action]
    by_key = {row.key: row for row in rows if row.key}
    commands = []
    said = ""
    for key in keys:
        said = key.help or said
        row = by_key.get(key.id) or Command(key.id.replace("_", "-"), key.id)
        # A key that stands for several does nothing without saying which.
        if row.needs_text or "{key}" not in key.action:
            commands.append(row if row.help else row._replace(help=said))
    there = {key.id for key in keys}
    return (*commands, *(row for row in rows if row.key not in there and row.action))


class CommandSet:
    """The commands of a screen by all their names."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self.rows = tuple(commands)
        self.names: Mapping[str, Command] = {row.name: row for row in self.rows}
        self._any = {name: row for row in self.rows for name in (row.name, *row.aliases)}

    def named(self, name: str) -> Command | None:
        """By its name or an alias of it."""
        return self._any.get(name)

    def read(self, line: str) -> Typed:
        """What a line means."""
        begin = len(line) - len(line.lstrip())
        name, _, rest = line[begin:].partition(" ")
        if _NUMBER.fullmatch(name) and not rest.strip():
            return Typed(self.names.get(_GO), name, begin)
        start = len(line) - len(rest.lstrip())
        command, problem = self._find(name)
        return Typed(command, rest.strip(), start, problem)

    def _find(self, name: str) -> tuple[Command | None, str]:
        """By name, alias, or the beginning of one name."""
        if not name:
            return None, ""
        found = self._any.get(name)
        if found is not None:
            return found, ""
        begun = [row for row in self.rows if row.name.startswith(name)]
        if len(begun) == 1:
            return begun[0], ""
        if begun:
            more = ", ..." if len(begun) > _NAMED else ""
            return None, f"{name}{_COULD_BE}{', '.join(row.name for row in begun[:_NAMED])}{more}"
        near = difflib.get_close_matches(name, self._any, 1)
        hint = f"; did you mean {near[0]}?" if near else "; Ctrl-p lists them all"
        return None, f"there is no command {name}{hint}"

    def judge(self, line: str, cursor: int, judge: Judge) -> Verdict:
        """What a line means while it is typed, and what could stand at the cursor."""
        typed = self.read(line)
        verdict = self._means(typed, line, cursor, judge)
        before = line[:cursor].lstrip()
        if " " in before or _NUMBER.fullmatch(before):
            return verdict
        return verdict._replace(start=cursor - len(before), words=self._completions(before))

    def _means(self, typed: Typed, line: str, cursor: int, judge: Judge) -> Verdict:
        command = typed.command
        if command is None:
            return Verdict(False, typed.problem, unfinished=_COULD_BE in typed.problem)
        if not command.takes:
            if typed.text:
                return Verdict(False, f"{command.name} takes nothing after its name")
            return Verdict(True, f"{command.name}: {command.help}")
        found = judge(command, line[typed.start :], max(cursor - typed.start, 0))
        found = found._replace(start=typed.start + found.start)
        if typed.text:
            return found
        says = f"{command.usage}: {command.help}"
        return found._replace(good=not command.needs_text, says=says, unfinished=True)

    def _completions(self, typed: str) -> tuple[str, ...]:
        """Names that begin so, then those that have it elsewhere."""
        names = [f"{row.name} " if row.takes else row.name for row in self.rows]
        begin = [name for name in names if name.startswith(typed)]
        others = [name for name in names if typed and typed in name and name not in begin]
        return (*begin, *others)
