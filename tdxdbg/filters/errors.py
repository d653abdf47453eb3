"""What can be wrong with a filter, and with the columns it is asked to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdxdbg.decode.text import safe

_WIDTH: Final = 76
_MARK: Final = "..."


class FilterError(ValueError):
    """A filter that cannot be understood.

    `message` is one printable line; `column` counts characters of `text` from
    0 (`len(text)`: behind its end); `suggestions` are texts that could stand
    at that column instead, the nearest first. `str()` is one line and counts
    columns from 1, as people do.
    """

    def __init__(
        self, message: str, column: int, text: str, suggestions: Sequence[str] = ()
    ) -> None:
        # All of them are passed on, so that the error survives pickling.
        super().__init__(message, column, text, tuple(suggestions))
        self.message = message
        self.column = column
        self.text = text
        self.suggestions = tuple(suggestions)

    def __str__(self) -> str:
        line = f"column {self.column + 1}: {self.message}"
        if self.suggestions:
            line += f"; did you mean {' or '.join(self.suggestions)}?"
        return line

    def pretty(self, width: int = _WIDTH) -> str:
        """Three lines: the text, a caret below the column, the message.

        What is not printable ASCII is escaped. Of a text longer than `width`
        characters the part around the column is shown.
        """
        shown = safe(self.text, 16 * len(self.text) + 1)
        caret = len(safe(self.text[: self.column], 16 * len(self.text) + 1))
        if len(shown) > width:
            start = max(0, min(caret - width // 2, len(shown) - width))
            head = _MARK if start else ""
            tail = _MARK if start + width < len(shown) else ""
            window = shown[start : start + width]
            inner = window[len(head) : len(window) - len(tail)]
            line, caret = head + inner + tail, caret - start
        else:
            line = shown
        return f"{line}\n{' ' * caret}^\n{self}"


class ColumnUnavailableError(LookupError):
    """A filter needs a field that the columns do not hold in a form it can use.

    `name` is the field. The caller looks at the rows instead (`Filter.matches`).
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no column for the field {self.name}"


class MistakeError(Exception):
    """A FilterError in the making: the place that found it does not know the text."""

    def __init__(self, message: str, column: int, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.suggestions = tuple(suggestions)
