"""Policies for guests that keep userspace busy for longer than anybody waits.

One MapGPA can be a thousand million exits to userspace.
"""

from __future__ import annotations

from tdxdbg.vmm import Policy
from tdxdbg.vmm.ask import Ask, Reply
from tdxdbg.vmm.policies import Below


class Enough(Policy):
    """Stops the VM after some exits to userspace."""

    most = 50
    state: int = 0

    def reply(self, ask: Ask, below: Below) -> Reply:
        self.state += 1
        return Reply(stop="that was enough") if self.state > self.most else below(ask)


class Plenty(Enough):
    """For a guest that writes much to its serial port."""

    most = 400
