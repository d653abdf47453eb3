"""Boots a kernel in this process and says in JSON what came of it; a test does it twice."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from tdxdbg.session.build import open_world
from tdxdbg.session.config import LiveConfig
from tests.linux.boots import MARKER


def main(config: LiveConfig) -> None:
    world, recorder = open_world(config, lambda: False)
    stop = world.cont(serial=MARKER.encode())
    recorder.close()
    machine = world.run.machine
    print(
        json.dumps(
            {
                "why": stop.detail,
                "position": world.run.position,
                "tsc": machine.tsc,
                "registers": [machine.registers(vcpu.index) for vcpu in machine.vcpus],
                "ram": machine.platform.memory.digest(),
                "journal": hashlib.sha256(Path(config.record).read_bytes()).hexdigest(),
                "console": hashlib.sha256(bytes(world.run.vmm.console)).hexdigest(),
            }
        )
    )


if __name__ == "__main__":
    main(LiveConfig.from_json(json.load(sys.stdin)))
