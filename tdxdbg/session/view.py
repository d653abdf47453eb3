"""What a worker says of its world: the JSON of a `State`."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from tdxdbg.session.edit import fields_of
from tdxdbg.session.look import current_vcpu
from tdxdbg.session.run import Position, Stop, Where
from tdxdbg.session.state import RECORDING_FAILED, State
from tdxdbg.session.world import World
from tdxdbg.vmm import Reply

#: Characters of a text; the guest's own may be longer than anybody reads.
_LONGEST: Final = 4096
#: Conversions of one reply that are shown.
_MOST: Final = 1024


def view(
    world: World, kind: str, stop: Stop, why: str, end: Position | None, failure: str
) -> dict[str, Any]:
    """`why` instead of the stop's own; `failure`: why nothing more can be recorded."""
    run = world.run
    vcpu = current_vcpu(world)
    held = run.held if run.where is Where.HELD or run.ended else None
    row, step = _place(world)
    ended = failure or run.ended
    state = State(
        world=kind,
        where=Where.ENDED.value if failure else run.where.value,
        why=RECORDING_FAILED if failure else why or stop.why.value,
        detail=(failure or stop.detail or ended)[:_LONGEST],
        breakpoints=stop.breakpoints,
        address=stop.address,
        size=stop.size,
        row=row,
        step=step,
        steps=run.steps,
        instructions=run.machine.instructions,
        since_step=run.machine.instructions - run.position_after(run.steps - 1).instructions,
        vcpu=vcpu,
        vcpus=len(run.machine.vcpus),
        rip=run.machine.registers(vcpu).rip,
        answer=run.answer_fields() if held is not None else {},
        proposed=_fields(held.proposed, world) if held is not None else {},
        convert=tuple(held.reply.convert[:_MOST]) if held is not None else (),
        stop=held.reply.stop[:_LONGEST] if held is not None else "",
        console=run.vmm.console.total,
        end=end or run.position,
    )
    return state.to_json()


def _fields(reply: Reply, world: World) -> dict[str, Any]:
    held = world.run.held
    if held is None or held.step.run is None:
        return {}
    return fields_of(held.step.run, reply.answer)


def _place(world: World) -> tuple[int, int]:
    """Row of the recording and step in it of the newest engine step."""
    run = world.run
    if not run.steps:
        return -1, -1
    rows = run.row_of_step
    row = rows[run.steps - 1]
    return row, run.steps - 1 - bisect_left(rows, row, hi=run.steps)
