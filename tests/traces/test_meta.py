"""JSON in a trace: how deep it may be does not depend on the Python."""

from __future__ import annotations

import io
import json

import pytest

from tdxdbg.traces import jsonl
from tdxdbg.traces.meta import TraceMeta, load_json
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import checkpoint
from tests.traces.journals import row


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100 + "]" * 100, ""),
        ('{"a":' * 100 + "1" + "}" * 100, ""),
        ("[" + "[]," * 500 + "[]]", ""),
        ('["' + "[" * 5000 + '"]', ""),
        ('["\\"' + "[{" * 5000 + '"]', ""),
        ('{"' + "\\\\" * 9 + '":' + "[" * 99 + "]" * 99 + "}", ""),
        ("[" * 101 + "]" * 101, "nested too deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested too deep"),
        ('["\\\\",' + "[" * 100 + "]" * 101, "nested too deep"),
        ("[" * 500 + "]" * 500, "nested too deep"),
        ("[" * 100_000, "nested too deep"),
        ("]" * 200 + "[" * 200, "Expecting value"),
        ('"' + '\\"[' * 200, "Unterminated string"),
        ("[NaN]", "NaN is not a number"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_how_deep_json_may_be_is_the_same_everywhere(text: str, message: str, packed: bool) -> None:
    if message:
        with pytest.raises(ValueError, match=message):
            load_json(text.encode() if packed else text)
    else:
        assert load_json(text.encode() if packed else text) == json.loads(text)


def test_what_is_as_deep_as_may_be_comes_back_from_json_lines() -> None:
    deep: dict[str, object] = {}
    for _ in range(99):
        deep = {"a": deep}
    trace = Trace.from_records(TraceMeta(extra={"deep": deep["a"]}), [checkpoint(deep), *row(0)])
    text = "\n".join(jsonl.lines(trace)).encode()
    again = jsonl.read(io.BytesIO(text), "x")
    assert again.problems == []
    assert again.data() == trace.data() == Trace(trace.data()).data()
    assert again.checkpoint_before(again.n_records - 1) == (0, deep)
