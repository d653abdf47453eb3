"""Sizes of the panes, and layouts by name."""

from __future__ import annotations

from dataclasses import replace

from textual.app import ComposeResult

from tdxdbg.ui.commands.feature import Commands
from tdxdbg.ui.layout import View
from tdxdbg.ui.layouts import (
    DEFAULT,
    LayoutError,
    delete_layout,
    from_data,
    layout_names,
    read_layout,
    save_layout,
    to_data,
    wrong_name,
)
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.prompt import Choice, Offer, Prompt, Verdict
from tdxdbg.ui.resizing import dragged, reset, resized
from tdxdbg.ui.status import Message
from tdxdbg.ui.widgets.pane import Edges

_ABOUT = (
    own("Sizes, tabs in front, focus and zoom, for every size of the terminal,"),
    own("under a name of lower-case letters, digits and dashes."),
)
_QUESTION = (own("How the panes stand: another way, or this one kept."),)
_SAVE = "save as"
_VERBS = ("save", "delete")


class Arranging(Commands, inherit_bindings=False):
    """Keys that move borders; layouts that are saved and used."""

    def compose(self) -> ComposeResult:
        for pane in self.panes.values():
            pane.drag = self._drag
        yield from super().compose()
        if self.settings.layout and self.desk.view == View():
            self.action_layout_use(self.settings.layout)

    # --- sizes --------------------------------------------------------------------------

    def _drag(self, pane: str, edges: Edges, x: int, y: int) -> None:
        """The mouse moves a border."""
        changed = dragged(self.desk.view, self.desk.arrangement, pane, edges, x, y)
        if changed is not None:
            self.desk.change(changed)

    def action_wider(self, cells: int) -> None:
        """The focused pane wider; negative: narrower."""
        self._resize(cells, 0)

    def action_higher(self, lines: int) -> None:
        """The focused pane higher; negative: lower."""
        self._resize(0, lines)

    def _resize(self, cells: int, lines: int) -> None:
        self._quiet()
        desk = self.desk
        changed = resized(desk.view, desk.arrangement, desk.view.focus, wider=cells, higher=lines)
        if changed is not None:
            self._look(changed)
        elif not desk.arrangement.grid:
            self.hints.say(Message(own("one pane is shown: there is no border to move"), "dim"))
        else:
            self.hints.say(Message(own("this border cannot be moved further"), "dim"))

    def action_reset_sizes(self) -> None:
        """Every pane as large as it was at first."""
        self._quiet()
        self._look(reset(self.desk.view))

    # --- layouts ------------------------------------------------------------------------

    def layout_names(self) -> list[str]:
        """What `action_layout_use` takes."""
        return [DEFAULT, *layout_names()]

    def action_layout_save(self, name: str) -> None:
        """Keep the layout of this screen under a name."""
        self._quiet()
        try:
            save_layout(name, self.desk.view)
        except LayoutError as error:
            self.hints.say(Message(word(str(error))[0], "error"))
        else:
            self.tell(f"layout {name} saved: {self.key('layouts')} brings it back", "ok")

    def action_layout_use(self, name: str) -> None:
        """Arrange the panes as they were saved under a name, or as at first."""
        self._quiet()
        try:
            view = read_layout(name, self.panes)
        except LayoutError as error:
            self.hints.say(Message(word(str(error))[0], "error"))
        else:
            self._look(view)
            self.hints.say(Message(word(f"layout {name}")[0], "dim"))

    def action_layout_delete(self, name: str) -> None:
        """Forget a layout."""
        self._quiet()
        try:
            delete_layout(name)
        except LayoutError as error:
            self.hints.say(Message(word(str(error))[0], "error"))
        else:
            self.hints.say(Message(word(f"layout {name} deleted")[0], "ok"))

    def command_layout(self, text: str) -> None:
        """`NAME`, `save NAME`, `delete NAME`; nothing: choose."""
        verb, _, name = text.partition(" ")
        if not text:
            self.action_layouts()
        elif verb == "save":
            self.action_layout_save(name.strip())
        elif verb == "delete":
            self.action_layout_delete(name.strip())
        else:
            self.action_layout_use(text)

    def judge_layout(self, text: str, cursor: int) -> Verdict:
        """What such a command means while it is typed."""
        verb, blank, name = text.partition(" ")
        if verb in _VERBS and blank:
            start = len(verb) + 1
            if verb == "save":
                found = _judge_name(name, max(cursor - start, 0))
                return found._replace(start=start)
            names = layout_names()
            words = tuple(known for known in names if known.startswith(name))
            return Verdict(name in names, f"forget the layout {name}", start, words)
        names = self.layout_names()
        words = tuple(item for item in (*names, *_VERBS) if item.startswith(text[:cursor]))
        if text in names:
            return Verdict(True, f"layout {text}", 0, words)
        return Verdict(not text, f"layouts: {', '.join(names)}; save NAME, delete NAME", 0, words)

    def save_view(self) -> object:
        """What to remember of the panes of this screen; None when nothing was changed."""
        view = replace(self.desk.view, zoomed=False)
        return to_data(view) if view != View() else None

    def load_view(self, value: object) -> str:
        """Arrange the panes as they were remembered; raises ValueError for what is no layout."""
        try:
            view = from_data(value, self.panes)
        except LayoutError as error:
            raise ValueError(str(error)) from None
        self._look(replace(view, zoomed=False))
        return "layout" if view.sizes else ""

    def action_layouts(self) -> None:
        """Choose among the layouts, or save this one."""
        self._quiet()
        names = self.layout_names()
        offers = [
            Offer(name, keys, word(keys[0] if keys else "")[0], (word(name, "value"),))
            for name, keys in zip(names, [(str(at),) for at in range(1, 10)] + [()] * len(names),
                                  strict=False)
        ]  # fmt: skip
        offers.append(Offer(_SAVE, ("s",), own("s"), ((own("save this one by a name"), "text"),)))
        dialog = Choice(own("layouts"), _QUESTION, offers, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, self._layout_chosen)

    def _layout_chosen(self, name: str | None) -> None:
        if name == _SAVE:
            dialog = Prompt(
                own("save this layout as"), _ABOUT, _judge_name, self.palette, self.ascii_only
            )
            _ = self.push_screen(dialog, self._layout_named)
        elif name is not None:
            self.action_layout_use(name)

    def _layout_named(self, name: str | None) -> None:
        if name is not None:
            self.action_layout_save(name)


def _judge_name(text: str, cursor: int) -> Verdict:
    name = text.strip()
    if not name:
        return Verdict(False, "")
    problem = wrong_name(name)
    if problem:
        return Verdict(False, problem)
    again = name in layout_names()
    words = tuple(known for known in layout_names() if known.startswith(text[:cursor].lstrip()))
    says = f"in place of the layout {name} that there is" if again else f"layout {name}"
    return Verdict(True, says, 0, words)
