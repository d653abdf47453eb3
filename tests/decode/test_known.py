"""How much of TDH.VP.ENTER's return value a record has."""

import pytest

from tdxdbg.decode import known
from tdxdbg.engine import recorded as records


@pytest.mark.parametrize(
    ("mask", "how"),
    [
        (0xFFFF, known.Seen.NOTHING),
        (records.KNOWN_REASON, known.Seen.REASON),
        (records.KNOWN_VP_ENTER_RET, known.Seen.ALL),
        (records.KNOWN_VP_ENTER_RET | records.KNOWN_REASON, known.Seen.ALL),
    ],
)
def test_seen(mask: int, how: known.Seen) -> None:
    assert known.seen(mask) is how
