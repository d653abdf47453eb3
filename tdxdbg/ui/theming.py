"""Another theme while the screen runs."""

from __future__ import annotations

from tdxdbg.ui.core import Core
from tdxdbg.ui.lines import word
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.prompt import Verdict
from tdxdbg.ui.status import Message
from tdxdbg.ui.themes import ThemeError, all_themes, choose, textual_theme
from tdxdbg.ui.widgets.lines_widget import LinesWidget


def theme_list() -> tuple[tuple[str, str], ...]:
    """Name and title of every theme, shipped or the user's, as the folders are now."""
    palettes = all_themes().palettes
    return tuple((name, palettes[name].title) for name in sorted(palettes))


class Theming(Core, inherit_bindings=False):
    """`action_theme`: the files are read anew, so that a theme can be tried while it is written."""

    def action_theme(self, name: str) -> None:
        """Show everything in that theme; what is wrong with it is said in one line."""
        themes = all_themes()
        try:
            palette = choose(themes, name)
        except ThemeError as error:
            own_fault = [problem for problem in themes.problems if name in problem]
            text = own_fault[0] if own_fault else str(error)
            self.hints.say(Message(word(text)[0], "error"))
            return
        self.wear(palette.without_colour() if self.palette.plain else palette)

    def judge_theme(self, text: str, cursor: int) -> Verdict:
        titles = dict(theme_list())
        words = tuple(name for name in titles if name.startswith(text[:cursor]))
        name = text.strip()
        if name in titles:
            return Verdict(True, titles[name] or name, 0, words)
        return Verdict(False, f"a theme: {', '.join(titles)}", 0, words)

    def wear(self, palette: Palette) -> None:
        """Dress every widget in this palette, also those under a dialog."""
        self.palette = palette
        self.register_theme(textual_theme(palette))
        if self.theme == palette.name:
            # Textual does not look again at a theme that it has.
            self.refresh_css(animate=False)
        self.theme = palette.name
        for screen in self.screen_stack:
            for widget in screen.query(LinesWidget):
                widget.dress(palette, self.ascii_only)
