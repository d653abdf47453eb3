"""Keys in the order in which they are typed, also when many come at once.

Textual hands a key to the focused widget and looks at the next one before that
has done anything. What is pasted, or typed ahead on a slow line, would go to
where the focus was: `/retry` would be a filter prompt and five other keys. So a
key that only a binding can take is done with before the next one is looked at,
and a prompt gets its text without a detour.
"""

from __future__ import annotations

from textual import events

from tdxdbg.ui.commands.palette import CommandPalette
from tdxdbg.ui.prompt import Prompt
from tdxdbg.ui.screen import QuietApp, Result


class Typed(QuietApp[Result], inherit_bindings=False):
    """An app whose keys do not overtake each other."""

    def take_key(self, event: events.Key) -> bool:
        """Whether the app itself has used a key, before it means anything else."""
        return False

    def take_paste(self, event: events.Paste) -> bool:
        """The same for text that is pasted."""
        return False

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            if self.take_key(event) or await self._done(event):
                return
        elif isinstance(event, events.Paste) and not event.is_forwarded and self.take_paste(event):
            return
        await super().on_event(event)

    async def _done(self, event: events.Key) -> bool:
        """Do what a key does; False for what widgets take themselves."""
        if not self.screen_stack or not self.app_focus:
            return False
        screen, focused = self.screen, self.focused
        if isinstance(screen, Prompt | CommandPalette):
            return screen.take(event) or await self._check_bindings(event.key)
        if hasattr(screen, "on_key") or hasattr(focused, "on_key"):
            return False
        return await self._check_bindings(event.key)
