"""What of a recording could not be read: counted, and the first lines or events kept."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

_KEEP_LINES: Final = 1000
_KEEP_REASONS: Final = 20
_KEEP_LENGTH: Final = 200
#: Of those, what goes into the metadata of a `.tdxt` file that was imported.
_KEEP_IN_META: Final = 100


LINES: Final = "lines"
#: What a recording without lines has; what is said of one names its offset.
EVENTS: Final = "events"


class Imported(NamedTuple):
    """What was in a recording of another tool: `used` of its events tell of an exit.

    `lines` are what `unit` says, LINES or EVENTS.
    """

    source: str
    lines: int
    used: int
    unread: int
    unit: str = LINES


class Noted(Protocol):
    """A trace, as far as it says what was in the file that it came from."""

    remarks: list[str]
    unread: list[tuple[int, str]]
    imported: Imported | None

    def note_problem(self, line: str) -> None: ...

    @property
    def problems(self) -> list[str]: ...


def import_to_json(imported: Imported, trace: Noted) -> dict[str, object]:
    """What is known of an import, for the metadata of the file that keeps it."""
    return {
        **imported._asdict(),
        "problems": trace.problems[:_KEEP_REASONS],
        "remarks": trace.remarks[:_KEEP_REASONS],
        "unread_lines": [list(item) for item in trace.unread[:_KEEP_IN_META]],
    }


def recall_import(data: object, trace: Noted) -> None:
    """Gives a trace back what `import_to_json` kept; anything else is ignored."""
    if not isinstance(data, dict):
        return
    source = data.get("source")
    counts = [data.get(name) for name in ("lines", "used", "unread")]
    lines, used, unread = (count if isinstance(count, int) else None for count in counts)
    if not isinstance(source, str) or lines is None or used is None or unread is None:
        return
    unit = EVENTS if data.get("unit") == EVENTS else LINES
    trace.imported = Imported(source, lines, used, unread, unit)
    for problem in _texts(data.get("problems")):
        trace.note_problem(problem)
    trace.remarks.extend(_texts(data.get("remarks")))
    kept = data.get("unread_lines")
    for item in kept[:_KEEP_IN_META] if isinstance(kept, list) else []:
        if isinstance(item, list) and len(item) == 2:
            number, text = item
            if isinstance(number, int) and isinstance(text, str):
                trace.unread.append((number, text[:_KEEP_LENGTH]))


def unread_texts(trace: Noted) -> list[str]:
    """What could not be read, each with its line or, where there are none, its offset."""
    if trace.imported is not None and trace.imported.unit == EVENTS:
        return [f"offset {number:#x}: {text}" for number, text in trace.unread]
    return [f"line {number}: {text}" for number, text in trace.unread]


def _texts(data: object) -> list[str]:
    items = data[:_KEEP_REASONS] if isinstance(data, list) else []
    return [item for item in items if isinstance(item, str)]


class Unread:
    """`lines` are the first unread ones with their numbers, each cut to 200 characters."""

    def __init__(self) -> None:
        self.count = 0
        self.lines: list[tuple[int, str]] = []
        self._reasons: list[str] = []

    def add(self, line: int, text: str | bytes, reason: str = "") -> None:
        """Counts one line; `reason` is for the user and names the line itself."""
        self.count += 1
        if len(self.lines) < _KEEP_LINES:
            if isinstance(text, bytes):
                text = text[:_KEEP_LENGTH].decode("utf-8", "replace")
            self.lines.append((line, text[:_KEEP_LENGTH].rstrip("\r\n")))
        if reason and len(self._reasons) < _KEEP_REASONS:
            self._reasons.append(reason)

    def problems(self, unit: str = LINES) -> list[str]:
        """One line for each of the first reasons, and one for the rest, of which `unit` says
        what they are.
        """
        rest = self.count - len(self._reasons)
        if not rest:
            return list(self._reasons)
        number = self.lines[0][0]
        where = f", the first is line {number}"
        if unit == EVENTS:
            where = f", the first at offset {number:#x}"
        first = where if not self._reasons else ""
        more = "more " if self._reasons else ""
        return [*self._reasons, f"{rest} {more}{unit} could not be read{first}"]
