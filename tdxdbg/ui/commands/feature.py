"""The command line, the palette, the help, and the keys as the settings want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

from textual.binding import BindingsMap

from tdxdbg.decode.text import Safe
from tdxdbg.engine import BY_NAME, GENERATIONS
from tdxdbg.ui.commands.help import Help
from tdxdbg.ui.commands.language import CommandSet, offered
from tdxdbg.ui.commands.palette import CommandPalette
from tdxdbg.ui.commands.table import Command
from tdxdbg.ui.core import Core
from tdxdbg.ui.dialogs import Dialog
from tdxdbg.ui.history import Histories
from tdxdbg.ui.keymap import remap
from tdxdbg.ui.keys import Key
from tdxdbg.ui.lines import BLANK, Line, line, own, word, wrap
from tdxdbg.ui.prompt import Prompt, Verdict
from tdxdbg.ui.screen import bindings
from tdxdbg.ui.settings import Settings, settings_path
from tdxdbg.ui.status import Message

_ABOUT: Final = "A command, and what it takes. Up: what was typed before. {palette} finds one."
_HISTORY: Final = "command"


class Commands(Core, inherit_bindings=False):
    """Everything that has a key, by name."""

    settings = Settings()
    #: What is wrong with the settings, a line each.
    settings_problems: tuple[str, ...] = ()

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The key table of this screen, with the keys that the user wants."""
        return self.KEYS

    @cached_property
    def histories(self) -> Histories:
        """What was typed into prompts, by the name of each kind."""
        return Histories()

    @cached_property
    def commands(self) -> CommandSet:
        return CommandSet(offered(self.keys, lambda name: hasattr(self, name)))

    def use_settings(self, settings: Settings, problems: Sequence[str] = ()) -> None:
        """Before the screen opens; what is wrong is said on it."""
        self.settings = settings
        self.keys, clashes = remap(self.KEYS, settings.keys)
        keys = {key.id: key for key in self.keys}
        for widget in (*self.bars, *self.panes.values()):
            widget.keys = keys
        self._bindings = BindingsMap(bindings(self.keys))
        self.settings_problems = (*problems, *clashes)
        count = len(self.settings_problems)
        if count and not self._notice:
            more = f" (and {count - 1} more: :settings)" if count > 1 else ""
            self._notice = self.settings_problems[0] + more

    # --- the command line -----------------------------------------------------------------

    def ask(
        self,
        title: Safe,
        about: Sequence[Safe],
        judge: Callable[[str, int], Verdict],
        then: Callable[[str], object],
        text: str = "",
        history: str = "",
    ) -> None:
        """Ask for a line and do `then` with it; `history` names the lines typed before."""

        def done(answer: str | None) -> None:
            if answer is not None:
                then(answer)

        past = self.histories.of(history) if history else None
        dialog = Prompt(title, about, judge, self.palette, self.ascii_only, text, past)
        _ = self.push_screen(dialog, done)

    def action_command(self) -> None:
        self._quiet()
        self._command_line("")

    def _command_line(self, text: str) -> None:
        about = (self.hints.spoken(_ABOUT),)
        self.ask(own("command"), about, self._judge, self.run_command, text, _HISTORY)

    def _judge(self, text: str, cursor: int) -> Verdict:
        return self.commands.judge(text, cursor, self._judge_text)

    def _judge_text(self, command: Command, text: str, cursor: int) -> Verdict:
        if not command.judge:
            return Verdict(True, f"{command.name}: {command.help}")
        found: Verdict = getattr(self, command.judge)(text, cursor)
        return found

    def run_command(self, text: str) -> None:
        """Do what a command line says; what is wrong with it is said."""
        verdict = self._judge(text, len(text))
        typed = self.commands.read(text)
        if typed.command is None or not verdict.good:
            self.hints.say(Message(word(verdict.says)[0], "error"))
        elif typed.text or not typed.command.key:
            getattr(self, typed.command.action)(typed.text)
        else:
            action = next(key.action for key in self.keys if key.id == typed.command.key)
            self.call_next(self.run_action, action)

    def action_palette(self) -> None:
        self._quiet()

        def done(name: str | None) -> None:
            command = self.commands.named(name or "")
            if command is not None and command.needs_text:
                self._command_line(f"{command.name} ")
            elif command is not None:
                self.run_command(command.name)

        dialog = CommandPalette(self.commands.rows, self.keys, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, done)

    # --- help -----------------------------------------------------------------------------

    def action_help(self) -> None:
        self.command_help("")

    def command_help(self, text: str) -> None:
        dialog = Help(self.keys, self.commands.rows, self.palette, self.ascii_only, text)
        _ = self.push_screen(dialog)

    def command_settings(self, text: str) -> None:
        dialog = Dialog(own("settings"), self._settings_lines, self.palette, self.ascii_only)
        _ = self.push_screen(dialog)

    def _settings_lines(self, width: int) -> list[Line]:
        settings = self.settings
        rows = [("theme", settings.theme or "not set"),
                ("ascii", "true" if settings.ascii else "false"),
                ("layout.default", settings.layout or "not set")]  # fmt: skip
        before = {key.id: key for key in self.KEYS}
        rows += [(f"keys.{key.id}", f"{key.shown or 'no key'}  instead of {before[key.id].shown}")
                 for key in self.keys if key.keys != before[key.id].keys]  # fmt: skip
        lines = [line(word(str(settings_path()), "value")), BLANK]
        lines += [line(word(f"{name:<24}", "name"), word(value, "text")) for name, value in rows]
        if self.settings_problems:
            wrapped = (wrap(word(item)[0], width - 2) for item in self.settings_problems)
            lines += [BLANK, *(line((piece, "error")) for pieces in wrapped for piece in pieces)]
        return lines

    # --- commands that take something -----------------------------------------------------

    def judge_go(self, text: str, cursor: int) -> Verdict:
        last = len(self.timeline) - 1
        place = _place(text)
        if place is None:
            return Verdict(False, "an exit's number, as 415, or with a step of it, as 415.2")
        if last < 0:
            return Verdict(False, "this recording has no exits")
        if place[0] > last:
            return Verdict(False, f"there is no exit {place[0]}; the last is {last}")
        step = f", step {place[1]}" if place[1] else ""
        return Verdict(True, f"to exit {place[0]}{step}")

    def command_go(self, text: str) -> None:
        row, step = _place(text) or (0, 0)
        self.go(row, step)

    def _pane_names(self) -> dict[str, str]:
        """Panes by what they are called, as in their titles, and their place in the order."""
        names = {pane.SHORT.partition(" ")[2].lower(): id for id, pane in self.panes.items()}
        names |= {id.replace("_", "-"): id for id in self.panes}
        return {**names, **{str(at): id for at, id in enumerate(self.panes, 1)}}

    def judge_pane(self, text: str, cursor: int) -> Verdict:
        names = self._pane_names()
        words = tuple(name for name in names if name.startswith(text[:cursor]) and len(name) > 1)
        if text.strip() in names:
            return Verdict(True, f"focuses the pane {text.strip()}", 0, words)
        return Verdict(False, f"a pane: {', '.join(names)}", 0, words)

    def command_pane(self, text: str) -> None:
        self.focus_pane(self._pane_names()[text])

    def judge_kernel(self, text: str, cursor: int) -> Verdict:
        words = tuple(item.name for item in GENERATIONS if item.name.startswith(text[:cursor]))
        found = BY_NAME.get(text.strip())
        if found is None:
            return Verdict(False, f"a generation: {', '.join(BY_NAME)}", 0, words)
        return Verdict(True, f"the same guest under {found.kernels}", 0, words)

    def command_kernel(self, text: str) -> None:
        self.use_kernel(BY_NAME[text])


def _place(text: str) -> tuple[int, int] | None:
    """`415`, `1,234.2`: an exit and a step of it; None when it is neither."""
    row, _, step = text.strip().replace(",", "").replace("_", "").partition(".")
    digits = row.isdecimal() and (step.isdecimal() or not step) and len(row) + len(step) < 20
    return (int(row), int(step or 0)) if digits else None
