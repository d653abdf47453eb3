"""The VMM: QEMU's behaviour, with policies around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from tdxdbg.engine import Step, Td
from tdxdbg.vmm.ask import Ask, Board, Events, GuestMemory, Reply
from tdxdbg.vmm.console import Console
from tdxdbg.vmm.devices import DevicesImage
from tdxdbg.vmm.policies import Policy, make_policies
from tdxdbg.vmm.qemu import Notify, Qemu
from tdxdbg.vmm.quote import Request

_new: Final = tuple.__new__


class VmmCheckpoint(NamedTuple):
    """A VMM as a value, for one with the same board and policies."""

    devices: DevicesImage
    notify: Notify
    requests: tuple[Request, ...]
    policies: tuple[Any, ...]


class Vmm:
    """Answers exits; deterministic, without I/O.

    >>> from tdxdbg.vmm import Vmm
    >>> vmm = Vmm(["eagain:2", "event-every:3"])
    """

    def __init__(self, policies: Sequence[str | Policy] = (), board: Board | None = None) -> None:
        """Each policy (a name of POLICIES, or a Policy) wraps those before it; QEMU is innermost.

        Raises SessionError for a name or parameter that does not exist.
        """
        self.policies = make_policies(policies)
        board = board or Board()
        for policy in self.policies:
            board = policy.board(board)
        self.board = board
        self._qemu = Qemu(board)
        reply: Callable[[Ask], Reply] = self._qemu.reply
        for policy in self.policies:
            reply = partial(_wrapped, policy, reply)
        self._reply = reply

    def td(self, td: Td) -> Td:
        """The TD as this VMM sets it up, which is what its policies change in it."""
        for policy in self.policies:
            td = policy.td(td)
        return td

    def reply(
        self, vcpu: int, step: Step, memory: GuestMemory, events: Events, time: int = 0
    ) -> Reply:
        """What to do about an exit to userspace or a KVM_RUN that failed; call it once for each.

        Devices take their part at once: guest memory is written and interrupts
        are raised in here, conversions are the caller's. `time` in ns of the run.
        """
        ask = _new(Ask, (vcpu, step, memory, events, time))
        if self._qemu.requests:
            self._qemu.tick(ask)
        return self._reply(ask)

    @property
    def console(self) -> Console:
        """What the guest wrote to its serial port: `bytes(console)`, `console.since(offset)`."""
        return self._qemu.devices.console

    def serial_input(self, data: bytes, events: Events) -> int:
        """Bytes for the guest's serial port; how many of them it took."""
        taken = self._qemu.devices.serial.receive(data)
        self._qemu.devices.interrupt(events)
        return taken

    def checkpoint(self) -> VmmCheckpoint:
        """All of its state."""
        qemu = self._qemu
        states = tuple(policy.state for policy in self.policies)
        return VmmCheckpoint(qemu.devices.checkpoint(), qemu.notify, qemu.requests, states)

    def restore(self, checkpoint: VmmCheckpoint) -> None:
        """Back to a checkpoint, which stays usable."""
        qemu = self._qemu
        qemu.devices.restore(checkpoint.devices)
        qemu.notify = checkpoint.notify
        qemu.requests = checkpoint.requests
        for policy, state in zip(self.policies, checkpoint.policies, strict=True):
            policy.state = state


def _wrapped(policy: Policy, below: Callable[[Ask], Reply], ask: Ask) -> Reply:
    return policy.reply(ask, below)
