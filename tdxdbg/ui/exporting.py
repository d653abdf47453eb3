"""`x`: the screen, the exit, or the whole queue as a file in the current folder."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from textual.worker import Worker

from tdxdbg import child, report
from tdxdbg.decode.text import Safe
from tdxdbg.errors import TraceError
from tdxdbg.traces import Trace
from tdxdbg.traces.output import new_part
from tdxdbg.ui.export import keep, write_new
from tdxdbg.ui.export_rows import DECODED, Job
from tdxdbg.ui.lines import own
from tdxdbg.ui.pointing import Pointing
from tdxdbg.ui.prompt import Choice, Offer, Verdict

_MODULE: Final = "tdxdbg.ui.export_rows"
_WRITING: Final = "writing"
#: What can be written, by the name that the command line takes: its key, and what it is.
_WHAT: Final[dict[str, tuple[str, Safe, Safe]]] = {
    "svg": ("s", own("s"), own("the screen as a picture (SVG)")),
    "text": ("t", own("t"), own("the screen as text")),
    "exit": ("e", own("e"), own("this exit as text")),
    "json": ("o", own("o"), own("this exit as JSON")),
    "queue": ("l", own("l"), own("every exit as JSON Lines")),
    "csv": ("c", own("c"), own("every exit as a table (CSV)")),
    "tdxt": ("r", own("r"), own("every exit as a recording (.tdxt)")),
    "perfetto": ("p", own("p"), own("every exit as a time line (Perfetto)")),
}
#: What another process writes: the name's ending, the form, and what it is of a filter's exits.
_BY_PROCESS: Final[dict[str, tuple[str, str, Safe]]] = {
    "queue": ("jsonl", DECODED, own("the exits that the filter selects as JSON Lines")),
    "csv": ("csv", "csv", own("the exits that the filter selects as a table (CSV)")),
    "tdxt": ("tdxt", "tdxt", own("the exits that the filter selects as a recording (.tdxt)")),
    "perfetto": ("json", "perfetto", own("the exits that the filter selects as a time line")),
}


class Exporting(Pointing, inherit_bindings=False):
    """Writes files; each is new and whole, and errors are one line."""

    _writer: Worker[None] | None = None

    def judge_export(self, text: str, cursor: int) -> Verdict:
        words = tuple(name for name in _WHAT if name.startswith(text[:cursor]))
        found = _WHAT.get(text.strip())
        if found is None:
            return Verdict(False, f"what to write: {', '.join(_WHAT)}", 0, words)
        return Verdict(True, f"writes {found[2]}", 0, words)

    def action_export(self, what: str = "") -> None:
        """Write that; without a name, ask."""
        self._quiet()
        if not what:
            self._ask_what()
            return
        if what not in _WHAT:
            self.tell(f"no export named {what}: there are {', '.join(_WHAT)}", "error")
            return
        if what in _BY_PROCESS:
            self._write_queue(what)
            return
        suffix, made = self._made(what)
        if made is None:
            self.tell("there is no exit to write", "dim")
            return
        try:
            path = write_new(made, Path.cwd(), suffix)
        except OSError as error:
            self.tell(_not_written(error))
            return
        self.tell(f"wrote {path.name}", "ok")

    def _ask_what(self) -> None:
        offers = [
            Offer(name, (key,), shown, ((self._words(name, text), "text"),))
            for name, (key, shown, text) in _WHAT.items()
        ]
        question = (own("A new file in the current folder, tdxdbg-<n>:"),)
        dialog = Choice(own("export"), question, offers, self.palette, self.ascii_only)

        def chosen(name: str | None) -> None:
            if name is not None:
                # The dialog is to be gone from the picture.
                self.call_after_refresh(self.action_export, name)

        _ = self.push_screen(dialog, chosen)

    def _words(self, name: str, text: Safe) -> Safe:
        return _BY_PROCESS[name][2] if name in _BY_PROCESS and self.matches is not None else text

    def _made(self, what: str) -> tuple[str, str | None]:
        """The suffix and the content of a file; None where there is no exit."""
        if what == "svg":
            return "svg", self.export_screenshot()
        if what == "text":
            return "txt", self.screen_text()
        if what == "exit":
            lines = self.exit_text()
            return "txt", "".join(f"{line}\n" for line in lines) or None
        return "json", self.exit_json()

    def screen_text(self) -> str:
        """What stands on the screen, a line a row, without the blanks at its right."""
        rows = self.screen._compositor.render_strips()
        lines = ("".join(segment.text for segment in strip).rstrip() for strip in rows)
        return "".join(f"{line}\n" for line in lines)

    def exit_json(self) -> str | None:
        """The exit of the cursor as JSON."""
        if not self.cursor.rows:
            return None
        row = self.cursor.row
        try:
            summary, moments = self.timeline.summary(row), report.row_moments(self.timeline, row)
        except TraceError:
            return None
        return json.dumps(report.json_object(summary, moments), indent=2) + "\n"

    # --- the queue, by another process ----------------------------------------------------

    def action_stop(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            return
        super().action_stop()

    def _write_queue(self, what: str) -> None:
        if self._writer is not None:
            self.tell(f"a file is being written: {self.key('stop')} stops it", "dim")
            return
        if self.timeline.what_if and what == "tdxt":
            own_name = self.timeline.own_generation.name
            self.tell(f"a recording keeps what kernel {own_name} did: go back to it first", "dim")
            return
        self.tell(f"{_WRITING} exits; {self.key('stop')} stops it", "dim")
        self._writer = self.run_worker(self._written(what), group="export", exit_on_error=False)

    async def _written(self, what: str) -> None:
        """Write the queue, say how far it is, and what came of it."""
        said, role = "stopped: nothing was written", "dim"
        try:
            name, count = await self._rows_to_file(what, self._export_progress)
            said, role = f"wrote {name}: {count:,} exit{'s' * (count != 1)}", "ok"
        except OSError as error:
            said, role = _not_written(error), "error"
        finally:
            self._writer = None
            self.tell(said, role)

    async def _rows_to_file(
        self, what: str, progress: Callable[[int, int], None]
    ) -> tuple[str, int]:
        """The name of the file and how many exits it has; raises OSError."""
        suffix, form, _ = _BY_PROCESS[what]
        part = new_part(Path.cwd())
        copy: Path | None = None
        try:
            path = Path(self.trace.name)
            if not _is_file_of(self.trace, path):
                # It was imported, or came through a pipe: the other process needs a file.
                path = copy = new_part(Path.cwd())
                await self._copy_trace(copy)
            kernel = self.timeline.generation.name
            wanted = self.matches.wanted.text if self.matches is not None else None
            trace = str(path.absolute())
            job: Job = {"trace": trace, "kernel": kernel, "filter": wanted, "to": form}
            count = await _run(job, part, progress)
            return keep(part, suffix).name, count
        finally:
            for left in (part, copy):
                if left is not None:
                    with suppress(OSError):
                        left.unlink()

    async def _copy_trace(self, path: Path) -> None:
        """By pieces, so that the screen goes on; an archive is never there as a whole."""
        with path.open("wb") as file:
            file.write(self.trace.head)
            for piece in self.trace.pieces():
                file.write(piece)
                await asyncio.sleep(0)

    def _export_progress(self, row: int, written: int) -> None:
        """Say how far it is, where nothing else is said."""
        if self.hints.message and not self.hints.message.startswith(_WRITING):
            return
        share = row * 100 // max(len(self.timeline), 1)
        self.tell(f"{_WRITING} {written:,} exits, {share} %; {self.key('stop')} stops it", "dim")


def _is_file_of(trace: Trace, path: Path) -> bool:
    """Whether this file, opened again, is the same trace."""
    try:
        return trace.grows and os.path.samestat(os.fstat(trace.fileno()), path.stat())
    except OSError:
        return False


def _not_written(error: OSError) -> str:
    # By its reason where the system gives one; a process that failed said a whole line.
    where = f" in {_cwd()}: files go where tdxdbg was started" if error.strerror else ""
    return f"not written: {error.strerror or error}{where}"


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "a folder that is gone"


async def _run(job: Job, part: Path, progress: Callable[[int, int], None]) -> int:
    """Let the process write into `part`; how many lines. Raises OSError."""
    with part.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *child.command(_MODULE),
            stdin=PIPE,
            stdout=file,
            stderr=PIPE,
            env=child.environment(PYTHONIOENCODING="utf-8"),
            start_new_session=True,
        )
    try:
        return await _follow(process, job, progress)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _follow(process: Process, job: Job, progress: Callable[[int, int], None]) -> int:
    if process.stdin is None or process.stderr is None:
        raise OSError("the process has no pipes")
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(json.dumps(job).encode())
        await process.stdin.drain()
    process.stdin.close()
    row = written = 0
    last = ""
    async for line in process.stderr:
        last = line.decode("ascii", "replace").strip()
        first, _, second = last.partition(" ")
        if first.isdecimal() and second.isdecimal():
            row, written = int(first), int(second)
            progress(row, written)
    if await process.wait():
        raise OSError(last or "the process that writes it died")
    return written
