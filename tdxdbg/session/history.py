"""The past of a run: checkpoints, and going back by re-execution.

Theory of operation. A checkpoint costs what was written since the one before
it. They are taken at quiet places, closer together the nearer to the present:
when there are too many, or they hold too many pages, every other one of the
oldest half goes, and never the first. So any place is reached by re-executing
a part of the run that is short beside its distance from the present.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from tdxdbg.session.run import Position, Run, RunCheckpoint

#: Steps and guest instructions between two checkpoints.
_STEPS: Final = 1024
_INSTRUCTIONS: Final = 16_000_000
#: How many are kept, and the guest pages that they may hold together (bytes).
_MOST: Final = 64
BUDGET: Final = 256 << 20


class History:
    """Checkpoints of one run."""

    def __init__(self, run: Run, budget: int = BUDGET) -> None:
        """`run` stands at its start. `budget`: bytes of guest pages."""
        self._run = run
        self._budget = budget
        self._checkpoints: list[RunCheckpoint] = [run.checkpoint()]
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._checkpoints)

    def note(self) -> None:
        """Called after each step: take a checkpoint if this is the place for one."""
        run, last = self._run, self._checkpoints[-1].position
        if (
            run.steps - last.steps >= _STEPS
            or run.machine.instructions - last.instructions >= _INSTRUCTIONS
        ) and run.is_quiet:
            self.take()

    def take(self) -> None:
        """A checkpoint here; older ones make room."""
        checkpoint = self._run.checkpoint()
        self._checkpoints.append(checkpoint)
        self._bytes += checkpoint.machine.ram.new_bytes
        while len(self._checkpoints) > 2 and (
            len(self._checkpoints) > _MOST or self._bytes > self._budget
        ):
            self._thin_out()

    def _thin_out(self) -> None:
        """Drop every other checkpoint of the older half; the first stays."""
        half = max(len(self._checkpoints) // 2, 2)
        older, newer = self._checkpoints[:half], self._checkpoints[half:]
        self._checkpoints = older[::2] + newer
        self._bytes = _held_bytes(self._checkpoints)

    def before(self, position: Position) -> int:
        """The index of the last checkpoint at or before a position."""
        return bisect_right(self._checkpoints, position, key=lambda each: each.position) - 1

    def checkpoint(self, index: int) -> RunCheckpoint:
        return self._checkpoints[index]

    def go_to(self, target: Position) -> None:
        """Make the run stand at a position that it has passed, or stands at."""
        run = self._run
        nearest = self._checkpoints[self.before(target)]
        if not nearest.position <= run.position <= target:
            run.restore(nearest)
        run.replay_to(target)

    def forget_after(self, position: Position) -> None:
        """The future from here on will be another one."""
        del self._checkpoints[self.before(position) + 1 :]
        self._bytes = _held_bytes(self._checkpoints)


def _held_bytes(checkpoints: list[RunCheckpoint]) -> int:
    """Bytes of guest pages that these hold, each page counted once."""
    seen: set[int] = set()
    total = 0
    for checkpoint in checkpoints:
        for chunk in checkpoint.machine.ram.chunks.values():
            if id(chunk) in seen:
                continue
            seen.add(id(chunk))
            for page in chunk.values():
                if id(page) not in seen:
                    seen.add(id(page))
                    total += len(page)
    return total
