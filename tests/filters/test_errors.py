"""Each mistake: what is said, at which column, and what is offered."""

from __future__ import annotations

import pickle

import pytest

from tdxdbg.filters import ColumnUnavailableError, FilterError, compile_filter

MISTAKES = [
    # fields
    ("laef == IO", 0, "unknown field laef", ["leaf"]),
    ("retry and gpaa == 5", 10, "unknown field gpaa", ["gpa"]),
    ("VCPUS == 1", 0, "unknown field VCPUS", ["vcpu"]),
    ("zzzzz == 1", 0, "unknown field zzzzz (the fields are index, time, vcpu,", []),
    ("leaf", 0, "leaf is an integer, not a boolean", []),
    ("retry and message", 10, "message is a text, not a boolean", []),
    ("(exit) or retry", 1, "exit is a set of integers, not a boolean", []),
    # names
    ("leaf == MapGPB", 8, "leaf has no value MapGPB", ["MapGPA"]),
    ("leaf == mapgpb", 8, "leaf has no value mapgpb", ["MapGPA"]),
    ("leaf in {IO, CPUIDS}", 13, "leaf has no value CPUIDS", ["CPUID"]),
    ("status == RETRI", 10, "status has no value RETRI", ["RETRY"]),
    ("status == zzz", 10, "status has no value zzz (it has SUCCESS, RETRY, INVALID_", []),
    (
        "exit == KVM_EXIT_HYPERCAL",
        8,
        "exit has no value",
        ["KVM_EXIT_HYPERCALL", "KVM_EXIT_HYPERV"],
    ),
    ("exit == HYPERCAL", 8, "exit has no value", ["HYPERCALL", "HYPERV"]),
    ("outcome == gast", 11, "outcome has no value gast", ["guest"]),
    ("outcome == 'gast'", 11, "outcome has no value gast", ["guest"]),
    ("retry == yes", 9, "retry has no value yes (it has true, false)", []),
    ("leaf == RETRY", 8, "RETRY is a value of status, not of leaf", []),
    ("leaf == MMAP", 8, "leaf has no value MMAP", ["MapGPA"]),
    ("status == MapGPA", 10, "MapGPA is a value of leaf, not of status", []),
    ("gpa == IO", 7, "IO is a value of leaf and exit, not of gpa", []),
    ("gpa == foo", 7, "gpa is an integer and has no names, foo is not a number", []),
    ("r12 == r13", 7, "r13 is a field: the right side is a value", []),
    # numbers
    ("gpa == 0xZ", 7, "0xZ is not a number", []),
    ("gpa == 1e5", 7, "1e5 is not a number", []),
    ("gpa == 5Q", 8, "unknown suffix Q: a number takes K, M, G, T", []),
    ("gpa == 5KiB", 8, "unknown suffix KiB", ["K"]),
    ("gpa == 5ms", 8, "gpa is not a time: it takes the suffixes K, M, G, T", []),
    ("time > 5M", 8, "unknown suffix M: a time takes ns, us, ms, s", ["ms"]),
    ("time > 5sec", 8, "unknown suffix sec: a time takes ns, us, ms, s", []),
    ("gpa == 1.5", 7, "1.5 is not a whole number of ones", []),
    ("time > 1.5", 7, "1.5 is not a whole number of nanoseconds", []),
    ("gpa == 0x10000000000000000", 7, "does not fit in 64 bits", []),
    ("gpa < 16777216T", 6, "16777216T does not fit in 64 bits", []),
    ("gpa == -1", 7, "there are no negative numbers", []),
    ("retry == 2", 9, "retry is a boolean, 2 is not", ["true", "false"]),
    # texts
    ("leaf == 'mapgpa'", 8, "leaf is not a text: it takes a name or a number", ["MapGPA"]),
    ("gpa == '5'", 7, "gpa is not a text: it takes a number without quotes", []),
    ("message == foo", 11, "message is a text: foo needs quotes", ['"foo"']),
    ("message == 5", 11, "message is a text: 5 needs quotes", ['"5"']),
    ("message contains foo", 17, "message is a text: foo needs quotes", ['"foo"']),
    ("outcome contains guest", 17, "outcome is a text: guest needs quotes", ['"guest"']),
    ("message in {'a', 5}", 17, "message is a text: 5 needs quotes", ['"5"']),
    (r"message == 'a\q'", 13, r"unknown escape \\q (use two backslashes for one)", []),
    (r"message == '\x1'", 12, r"unknown escape \\x", []),
    (r"message == '\U00110000'", 12, "unknown escape", []),
    ("message == 'abc", 11, "the text that begins here has no closing quote", []),
    ('message == "abc\n"', 11, "the text that begins here has no closing quote", []),
    # operators
    ("message < 'a'", 8, "< does not work on message, a text", ["==", "!=", "in", "contains"]),
    ("retry >= true", 6, ">= does not work on retry, a boolean", ["==", "!="]),
    ("retry in {true}", 6, "in does not work on retry, a boolean", ["==", "!="]),
    ("retry not in {true}", 10, "in does not work on retry, a boolean", ["==", "!="]),
    (
        "leaf CONTAINS 'a'",
        5,
        "contains does not work on leaf, an integer",
        ["==", "!=", "<", "<=", ">", ">=", "in"],
    ),
    ("exit contains IO", 5, "contains does not work on exit, a set of integers", None),
    ("leaf = IO", 5, "= is not an operator", ["=="]),
    ("message =~ 'a'", 8, "there are no regular expressions", ["contains"]),
    ("message ~ 'a'", 8, "there are no regular expressions", ["contains"]),
    ("message matches 'a'", 8, "there are no regular expressions", ["contains"]),
    ("leaf matches 'a'", 5, "there are no regular expressions", []),
    ("retry & kernel", 6, "& is not an operator", ["&&"]),
    ("retry | kernel", 6, "| is not an operator", ["||"]),
    ("leaf eq IO", 5, "expected an operator behind leaf", ["=="]),
    ("leaf GE IO", 5, "expected an operator behind leaf", [">="]),
    ("message contain 'a'", 8, "expected an operator behind message", ["contains"]),
    ("message has 'a'", 8, "expected an operator behind message", ["contains"]),
    ("leaf 5", 5, "expected an operator behind leaf, found 5", []),
    ("leaf ! IO", 7, "expected `in` behind not, found IO", []),
    ("leaf not", 8, "expected `in` behind not, the filter ends", []),
    ("retry adn kernel", 6, "expected an operator behind retry", ["and"]),
    # ranges and sets
    ("gpa in 5..3", 7, "a range goes from the lower to the higher value", ["3..5"]),
    ("leaf in MapGPA..IO", 8, "a range goes from the lower", ["IO..MapGPA"]),
    ("message in 'a'..'b'", 11, "message is a text: it has no ranges", []),
    ("leaf in IO", 10, "in takes a range a..b or a set {a, b}, for one value use ==", []),
    ("leaf in", 7, "in takes a range a..b or a set {a, b}", []),
    ("leaf in {}", 9, "expected a value of leaf, found }", []),
    ("leaf in {IO MMIO}", 12, "expected , or } in the set, found MMIO", []),
    ("leaf in {IO", 11, "expected , or } in the set, the filter ends", []),
    ("leaf == {IO}", 8, "a set stands behind in", []),
    ("leaf == IO..MMIO", 10, "a range stands behind in", []),
    ("gpa in 1..", 10, "expected a value of gpa, the filter ends", []),
    ("leaf in [IO]", 8, "a set is written {a, b}", ["{"]),
    ("leaf in {IO]", 11, "a set is written {a, b}", ["}"]),
    # shape
    ("", 0, "the filter is empty", []),
    (" \n ", 0, "the filter is empty", []),
    ("leaf ==", 7, "expected a value of leaf, the filter ends", []),
    ("leaf == and", 8, "expected a value of leaf, found and", []),
    ("leaf == == 5", 8, "expected a value of leaf, found ==", []),
    ("retry and", 9, "expected a field, the filter ends", []),
    ("retry and and kernel", 10, "expected a field, found and", []),
    ("and", 0, "expected a field, found and", []),
    ("5 == leaf", 0, "a comparison begins with a field", []),
    ("'a' == message", 0, "a comparison begins with a field", []),
    ("()", 1, "expected a field, found )", []),
    ("(retry", 6, "expected ), the filter ends", []),
    ("retry)", 5, "this ) closes nothing", []),
    ("(leaf", 1, "leaf is an integer, not a boolean", []),
    ("leaf ==  IO) and", 11, "this ) closes nothing", []),
    ("leaf == IO)", 10, "this ) closes nothing", []),
    ("leaf == IO leaf == HLT", 11, "expected `and` or `or`, found leaf", []),
    ("leaf == IO adn retry", 11, "expected `and` or `or`", ["and"]),
    ("leaf == IO not retry", 11, "expected `and` or `or`, found not", []),
    ("1 < r12 < 5", 0, "a comparison begins with a field", []),
    ("r12 > 1 < 5", 8, "expected `and` or `or`, found <", []),
    ("leaf == \u00e9", 8, r"unexpected character \xe9", []),
    ("leaf == \x1b[0m", 8, r"unexpected character \x1b", []),
    ("leaf == #", 8, "unexpected character #", []),
    # the leftmost mistake is the one that is reported
    ("laef == MapGPB xyz", 0, "unknown field laef", ["leaf"]),
    ("leaf == MapGPB xyz", 8, "leaf has no value MapGPB", ["MapGPA"]),
    ("leaf == MapGPB )", 8, "leaf has no value MapGPB", ["MapGPA"]),
    ("message < ", 8, "< does not work on message", None),
]


@pytest.mark.parametrize(("text", "column", "message", "suggestions"), MISTAKES)
def test_mistakes(text: str, column: int, message: str, suggestions: list[str] | None) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    error = caught.value
    assert message in error.message
    assert error.column == column
    assert error.text == text
    if suggestions is not None:
        assert list(error.suggestions) == suggestions


REPAIRED = [
    (text, column, suggestion)
    for text, column, _, suggestions in MISTAKES
    if text in ("laef == IO", "leaf == MapGPB", "leaf = IO", "message == foo", "leaf eq IO")
    for suggestion in suggestions or ()
]


@pytest.mark.parametrize(("text", "column", "suggestion"), REPAIRED)
def test_a_suggestion_repairs_the_filter(text: str, column: int, suggestion: str) -> None:
    rest = text[column:].split(" ", 1)
    compile_filter(" ".join([text[:column] + suggestion, *rest[1:]]))


def _error(text: str) -> FilterError:
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    return caught.value


def test_one_line_counts_columns_from_one() -> None:
    expected = "column 9: leaf has no value MapGPB; did you mean MapGPA?"
    assert str(_error("leaf == MapGPB")) == expected
    assert str(_error("leaf == IO)")) == "column 11: this ) closes nothing"
    assert str(_error("retry == 2")).endswith("did you mean true or false?")


def test_pretty_has_a_caret_below_the_place() -> None:
    assert _error("retry and leaf == MapGPB").pretty().splitlines() == [
        "retry and leaf == MapGPB",
        "                  ^",
        "column 19: leaf has no value MapGPB; did you mean MapGPA?",
    ]


def test_pretty_escapes_and_keeps_the_caret() -> None:
    line, caret, _ = _error("message == '\x1b\u202e'\n and foo == 1").pretty().splitlines()
    assert line == r"message == '\x1b\u202e'\x0a and foo == 1"
    assert caret.index("^") == line.index("foo")


@pytest.mark.parametrize("before", [0, 1, 5, 40, 200])
@pytest.mark.parametrize("after", [0, 1, 40, 200])
@pytest.mark.parametrize("width", [20, 76])
def test_pretty_of_a_long_text_shows_the_place(before: int, after: int, width: int) -> None:
    text = "retry or " * before + "foo" + " or retry" * after
    line, caret, _ = _error(text).pretty(width).splitlines()
    assert len(line) <= width
    assert line[caret.index("^") :].startswith("foo")


def test_errors_survive_pickling() -> None:
    error = _error("leaf == MapGPB")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.pretty()) == (str(error), error.pretty())
    column = pickle.loads(pickle.dumps(ColumnUnavailableError("gpa")))
    assert (column.name, str(column)) == ("gpa", "no column for the field gpa")


def test_a_filter_error_is_a_value_error() -> None:
    assert issubclass(FilterError, ValueError)
