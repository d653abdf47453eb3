"""A policy for guests that keep userspace busy for longer than anybody waits."""

from __future__ import annotations

from typing import Final

from tdxdbg.vmm import Policy
from tdxdbg.vmm.ask import Ask, Reply
from tdxdbg.vmm.policies import Below

#: Exits to userspace.
MOST: Final = 50


class Enough(Policy):
    """Stops the VM: one MapGPA can be a thousand million exits to userspace."""

    state: int = 0

    def reply(self, ask: Ask, below: Below) -> Reply:
        self.state += 1
        return Reply(stop="that was enough") if self.state > MOST else below(ask)
