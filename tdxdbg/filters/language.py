"""The language of the display filter: text to tree.

lark makes the words and an LALR parser makes the tree. Between them a `Reader`
looks at each word in its place: there it becomes a field, or a value of the
field that it is compared with. So what is wrong is always reported at the
leftmost place, and the parser only has to know the shape.

This module imports lark, and is imported when the first filter is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from tdxdbg.filters import values
from tdxdbg.filters.errors import FilterError, MistakeError
from tdxdbg.filters.fields import FIELDS, Field, Type, Value
from tdxdbg.filters.places import NEXT, OPERATORS, Place, operators_of
from tdxdbg.filters.syntax import at_character, at_word
from tdxdbg.filters.tree import CONTAINS, And, Compare, In, Node, Not, Or, Range, value_text

#: Longest text of a filter, in characters.
MAX_LENGTH: Final = 4096
#: How many parentheses and `not` may be open at one place; keeps recursion over a tree short.
MAX_DEPTH: Final = 64

_GRAMMAR: Final = r"""
?start: either
?either: both (OR both)*
?both: negation (AND negation)*
?negation: NOT negation -> negated
         | "(" either ")"
         | comparison
?comparison: FIELD -> flag
           | FIELD COMPARE _value -> compare
           | FIELD CONTAINS _value -> compare
           | FIELD IN _members -> member
           | FIELD NOT IN _members -> no_member
_members: range
        | "{" _element ("," _element)* ","? "}"
_element: range | single
range: _value ".." _value
single: _value
_value: NAME | NUMBER | STRING

%declare FIELD
COMPARE: /[=!]=|[<>]=?/
DOTS: ".."
CONTAINS.2: /contains(?!\w)/i
IN.2: /in(?!\w)/i
AND.2: /&&|and(?!\w)/i
OR.2: /\|\||or(?!\w)/i
NOT.2: /!(?!=)|not(?!\w)/i
NAME: /#?[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*/
NUMBER: /[0-9][a-zA-Z0-9_]*(\.[0-9][a-zA-Z0-9_]*)?/
STRING: /"([^"\\\n]|\\[^\n])*"|'([^'\\\n]|\\[^\n])*'/
%ignore /\s+/
"""

_VALUES: Final = frozenset({"NAME", "NUMBER", "STRING"})


def parse(text: str) -> Node:
    """The tree of a filter. Raises FilterError, and nothing else, on any text."""
    try:
        if len(text) > MAX_LENGTH:
            message = f"the filter has {len(text)} characters, the limit is {MAX_LENGTH}"
            raise MistakeError(message, MAX_LENGTH)
        return Reader(text).tree()
    except MistakeError as mistake:
        raise FilterError(mistake.message, mistake.column, text, mistake.suggestions) from None


class Reader:
    """Takes a text word by word; then says its tree, or what could come next."""

    def __init__(self, text: str) -> None:
        self.place = Place.FIELD
        self.field: Field | None = None
        self._text = text
        self._parser = _lark().parse_interactive()
        self._previous: Token | None = None
        self._operator = ""
        self._range_start: Token | None = None
        self._open: list[str] = []

    def tree(self) -> Node:
        """Raises MistakeError where the text is no filter."""
        self.read()
        try:
            node: Node = self._parser.feed_token(Token("$END", ""))
        except UnexpectedToken as error:
            raise self._misplaced(error) from None
        return node

    def read(self) -> None:
        """Take the whole text. Raises MistakeError at the first word that cannot stand there."""
        try:
            for token in _lark().lex(self._text):
                self._take(token)
        except UnexpectedCharacters as error:
            raise at_character(self._text, cast(int, error.pos_in_stream)) from None
        except UnexpectedToken as error:
            raise self._misplaced(error) from None

    def accepts(self) -> set[str]:
        """The kinds of words that can come next."""
        kinds: Callable[[], set[str]] = self._parser.accepts
        return kinds()

    def can_be(self, value: Value) -> bool:
        """Whether that value of the field, by name, could come next."""
        return self._operator != CONTAINS and not self._below_range(value)

    def _misplaced(self, error: UnexpectedToken) -> MistakeError:
        return at_word(self._text, self.place, error.token, self.field, self.accepts())

    def _take(self, token: Token) -> None:
        if token.type == "IN" and self.place is Place.VALUE:
            # `in` is also a direction.
            token = token.update(type="NAME")
        self._nest(token)
        if token.type == "NAME" and self.place is Place.FIELD:
            self.field = values.find_field(token.value, _start(token))
            token = token.update(type="FIELD", value=self.field.name)
        elif token.type in _VALUES and self.place is Place.VALUE:
            token = self._valued(token)
        elif token.type in OPERATORS and self.place is Place.OPERATOR:
            self._check_operator(token)
        elif token.type == "DOTS":
            self._check_range()
        self._parser.feed_token(token)
        if not (token.type == "NOT" and self.place is Place.OPERATOR):
            self.place = NEXT[token.type]
        self._previous = token

    def _nest(self, token: Token) -> None:
        if token.type == "LPAR" or (token.type == "NOT" and self.place is Place.FIELD):
            self._open.append(token.type)
            if len(self._open) > MAX_DEPTH:
                raise MistakeError(f"nested more than {MAX_DEPTH} levels deep", _start(token))
            return
        if token.type == "RPAR" and self._open:
            self._open.pop()
        while self._open and self._open[-1] == "NOT":
            self._open.pop()

    def _check_operator(self, token: Token) -> None:
        assert self.field is not None
        self._operator = operator = token.value.lower()
        allowed = OPERATORS[token.type][operator]
        if self.field.type not in allowed:
            raise MistakeError(
                f"{operator} does not work on {self.field.name}, {self.field.type.phrase}",
                _start(token),
                operators_of(self.field.type),
            )

    def _check_range(self) -> None:
        if self.field is not None and self.field.type is Type.TEXT and self._previous:
            raise MistakeError(
                f"{self.field.name} is a text: it has no ranges", _start(self._previous)
            )
        self._range_start = self._previous

    def _valued(self, token: Token) -> Token:
        assert self.field is not None
        column = _start(token)
        value = self._value(self.field, token, column)
        start = self._range_start
        if start is not None and self._below_range(value):
            texts = [value_text(self.field, each) for each in (value, start.value)]
            raise MistakeError(
                "a range goes from the lower to the higher value", _start(start), ["..".join(texts)]
            )
        return token.update(value=value)

    def _below_range(self, value: Value) -> bool:
        start = self._range_start
        if start is None or self._previous is None or self._previous.type != "DOTS":
            return False
        return bool(value < start.value)

    def _value(self, row: Field, token: Token, column: int) -> Value:
        word: str = token.value
        if token.type == "STRING":
            content = values.text(row, word, column)
            if self._operator == CONTAINS:
                return content
            return values.whole_text(row, content, column)
        if row.type is Type.TEXT and (token.type == "NUMBER" or self._operator == CONTAINS):
            raise values.unquoted(row, word, column)
        if token.type == "NUMBER":
            return values.number(row, word, column)
        return values.named(row, word, column)


class _Build(Transformer[Token, Node]):
    """What the parser does when a rule is complete."""

    def either(self, children: list[Any]) -> Node:
        terms = tuple(children[::2])
        return Or(terms, terms[0].column)

    def both(self, children: list[Any]) -> Node:
        terms = tuple(children[::2])
        return And(terms, terms[0].column)

    def negated(self, children: list[Any]) -> Node:
        return Not(children[1], _start(children[0]))

    def flag(self, children: list[Token]) -> Node:
        field, column = FIELDS[children[0].value], _start(children[0])
        if field.type is not Type.BOOLEAN:
            raise MistakeError(
                f"{field.name} is {field.type.phrase}, not a boolean: compare it with a value",
                column,
            )
        return Compare(field.name, "==", 1, column)

    def compare(self, children: list[Token]) -> Node:
        field, operator, value = children
        return Compare(field.value, operator.value.lower(), value.value, _start(field))

    def member(self, children: list[Any]) -> Node:
        field, _, *elements = children
        return In(field.value, tuple(elements), _start(field))

    def no_member(self, children: list[Any]) -> Node:
        field, _, _, *elements = children
        return Not(In(field.value, tuple(elements), _start(field)), _start(field))

    def range(self, children: list[Token]) -> Range:
        first, last = children
        return Range(first.value, last.value)

    def single(self, children: list[Token]) -> Range | str:
        value: Value = children[0].value
        return value if isinstance(value, str) else Range(value, value)


@cache
def _lark() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="basic", transformer=_Build())


def _start(token: Token) -> int:
    return token.start_pos or 0
