"""The screen takes up where it was left, and leaves word of where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from rich.console import RenderableType
from textual.app import ComposeResult

from tdxdbg.engine import BY_NAME
from tdxdbg.filters import compile_filter
from tdxdbg.ui.filtering import Filtering
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.remembered import SAVED, Memory, Saved, a_number, a_text
from tdxdbg.ui.status import Message

#: Characters of a filter that is taken up.
_LONGEST_FILTER: Final = 4000


class Remembers(Filtering, inherit_bindings=False):
    """Memory of a recording: taken up when the screen opens, written when it closes."""

    SAVED: ClassVar[tuple[Saved, ...]] = SAVED
    memory: Memory | None = None
    #: Why nothing could be written, to be said when the screen is gone.
    unremembered = ""
    _given: Collection[str] = ()
    #: How everything was before anything was taken up, and after.
    _fresh: Mapping[str, object] = MappingProxyType({})
    _opened: Mapping[str, object] = MappingProxyType({})

    def remember(self, memory: Memory, given: Collection[str] = ()) -> None:
        """Before the screen opens. `given`: what the command line says, which wins."""
        self.memory = memory
        self._given = given

    def compose(self) -> ComposeResult:
        yield from super().compose()
        if self.memory is not None:
            self._fresh = self._state()
            self._take_up(self.memory)
            self._opened = self._state()

    def _state(self) -> dict[str, object]:
        """Everything that is worth remembering, as it is now."""
        state = {item.name: getattr(self, item.save)() for item in self.SAVED}
        return {name: value for name, value in state.items() if value is not None}

    def _take_up(self, memory: Memory) -> None:
        before = self.hints.message
        said = [self._load(item, memory.saved[item.name]) for item in self.SAVED
                if item.name in memory.saved and item.name not in self._given]  # fmt: skip
        self.show()
        said = [item for item in said if item]
        if said and not before:
            line = f"restored: {', '.join(said)}; :forget starts afresh"
            self.hints.say(Message(word(line)[0], "dim"))

    def _load(self, item: Saved, value: object) -> str:
        try:
            said: str = getattr(self, item.load)(value)
        except ValueError:
            # Another version wrote it, or nobody did: this one thing is left out.
            return ""
        return said

    def exit(
        self,
        result: int | None = None,
        return_code: int = 0,
        message: RenderableType | None = None,
    ) -> None:
        """Before the terminal is restored, which after SIGHUP there is none to do with."""
        self._write_down()
        super().exit(result, return_code, message)

    def _write_down(self) -> None:
        if self.memory is None:
            return
        state = self._state()
        if state != self._opened or self.memory.existed:
            self.unremembered = self.memory.save(state)

    def command_forget(self, text: str) -> None:
        """Everything as if this recording had never been opened."""
        self._quiet()
        if self.memory is None:
            self.hints.say(Message(own("nothing is remembered here"), "dim"))
            return
        problem = self.memory.forget()
        for item in self.SAVED:
            if item.name in self._fresh:
                self._load(item, self._fresh[item.name])
        self._opened = self._state()
        self.show()
        says = word(problem, "error") if problem else (own("forgotten"), "ok")
        self.hints.say(Message(*says))

    # --- what is remembered ---------------------------------------------------------------

    def save_history(self) -> object:
        return self.histories.to_json()

    def load_history(self, value: object) -> str:
        self.histories.read_json(value)
        return ""

    def save_kernel(self) -> object:
        return self.timeline.generation.name

    def load_kernel(self, value: object) -> str:
        found = BY_NAME.get(a_text(value))
        if found is None or found is self.timeline.generation:
            return ""
        self.use_kernel(found)
        return f"kernel {found.name}"

    def save_cursor(self) -> object:
        return [self.cursor.row, self.cursor.step] if self.cursor.rows else None

    def load_cursor(self, value: object) -> str:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError("not a row and a step")
        before = self.cursor.row, self.cursor.step
        self.cursor.to_row(a_number(value[0]), a_number(value[1]))
        moved = (self.cursor.row, self.cursor.step) != before
        return f"exit {self.cursor.row}" if moved else ""

    def save_filter(self) -> object:
        return self._wanted.text if self._wanted is not None else ""

    def load_filter(self, value: object) -> str:
        found = a_text(value, _LONGEST_FILTER)
        self.use_filter(compile_filter(found) if found else None)
        # What was asked for the last time: its count stands above.
        self._told = self.matches
        return f"filter {found}" if found else ""

    def save_stops(self) -> object:
        """Breakpoints, bookmarks, columns: what the features say of themselves."""
        return {name: value for name, value in self.state().items() if name != "filter"}

    def load_stops(self, value: object) -> str:
        if not isinstance(value, dict):
            raise ValueError("not what features say of themselves")
        self.restore({name: item for name, item in value.items() if name != "filter"})
        counts = ((name, value.get(name)) for name in ("breakpoints", "bookmarks"))
        return ", ".join(f"{len(item)} {name}" for name, item in counts
                         if isinstance(item, list | dict) and item)  # fmt: skip
