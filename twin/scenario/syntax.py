"""The grammar of conditions: text in, syntax tree out, and back.

What the names mean and whether their units fit is decided in ``expression``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from twin.errors import Blame, TwinError
from twin.points.model import DoublePosition
from twin.units import Unit, in_base_unit, nearest_symbol, unit_of_symbol

POSITION_WORDS = {position.name.lower(): float(position) for position in DoublePosition}
BOOLEAN_WORDS = {"true": 1.0, "false": 0.0}
COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_OPERATOR_WORDS = ("and", "or", "not")
_RESERVED = {*POSITION_WORDS, *BOOLEAN_WORDS, *_OPERATOR_WORDS}
_MAX_DEPTH = 50


class ExpressionError(TwinError, ValueError):
    """An expression cannot be read or does not fit the names it uses.

    ``position`` is the index of the character at fault, -1 if the whole expression is meant.
    """

    blame = Blame.SCENARIO

    def __init__(self, text: str, problem: str, position: int = -1) -> None:
        self.text = text
        self.problem = problem
        self.position = position
        place = f" at character {position + 1}" if position >= 0 else ""
        super().__init__(f'in "{text}"{place}: {problem}')


@dataclass(frozen=True, slots=True)
class Name:
    """A quantity of the state."""

    name: str

    def __str__(self) -> str:
        return self.name if _is_plain_name(self.name) else _quoted(self.name)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written, with its unit symbol (empty for none)."""

    number: str
    symbol: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.symbol}".rstrip()

    def value(self, unit: Unit) -> float:
        """In the base unit of ``unit``."""
        return in_base_unit(Decimal(self.number), self.symbol, unit)


@dataclass(frozen=True, slots=True)
class Word:
    """A switch position or a truth value."""

    word: str

    def __str__(self) -> str:
        return self.word

    @property
    def unit(self) -> Unit:
        """What the word is a value of."""
        return Unit.POSITION if self.word in POSITION_WORDS else Unit.BOOLEAN

    @property
    def value(self) -> float:
        """As the state has it."""
        return (POSITION_WORDS | BOOLEAN_WORDS)[self.word]


Operand = Name | Number | Word


@dataclass(frozen=True, slots=True)
class Compare:
    """``left operator right``; at least one side is a name."""

    left: Operand
    operator: str
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class Not:
    """True where ``part`` is not."""

    part: Node

    def __str__(self) -> str:
        return f"not {_within(self.part, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """True where all ``parts`` (two or more) are."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " and ".join(_within(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """True where one of ``parts`` (two or more) is."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(_within(part, Or) for part in self.parts)


Node = Name | Compare | Not | And | Or


def _within(node: Node, *in_parentheses: type) -> str:
    return f"({node})" if isinstance(node, in_parentheses) else str(node)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int
    symbol: str = ""


_NAME = re.compile(r"[^\W\d][\w.-]*")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?![\d.])")
_SYMBOL = re.compile(r"\s*(%|Ω|[^\W\d_][^\W\d_.]*)(?![\w.-])")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>|\(|\)")
_HINTS = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "+": "there is no arithmetic",
    "-": "there is no arithmetic",
    "*": "there is no arithmetic",
    "/": "there is no arithmetic",
    "%": "a percentage is written 100 %",
    "'": "the quote is not closed",
    '"': "the quote is not closed",
}


def _is_plain_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in _RESERVED and name[-1] not in ".-"


def _quoted(name: str) -> str:
    return f'"{name}"' if "'" in name else f"'{name}'"


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token, at = _token(text, at)
        tokens.append(token)
    return [*tokens, _Token("end", "", len(text))]


def _token(text: str, at: int) -> tuple[_Token, int]:
    """The token at ``at`` and where the next one starts."""
    if match := _OPERATOR.match(text, at):
        return _Token(match[0], match[0], at), match.end()
    if match := _QUOTED.match(text, at):
        return _Token("name", match[1] or match[2] or "", at), match.end()
    if match := _NAME.match(text, at):
        word = match[0]
        kind = word if word in _OPERATOR_WORDS else "word" if word in _RESERVED else "name"
        return _Token(kind, word, at), match.end()
    if match := _NUMBER.match(text, at):
        return _number_token(text, at, match.end())
    if text[at].isdigit():
        raise ExpressionError(text, "this is not a number; a name that starts with a digit stands in quotes", at)
    hint = _HINTS.get(text[at], "expected a name, a number or a comparison")
    raise ExpressionError(text, f"unexpected {text[at]}; {hint}", at)


def _number_token(text: str, at: int, end: int) -> tuple[_Token, int]:
    symbol = _SYMBOL.match(text, end)
    if symbol and symbol[1] not in _RESERVED:
        return _Token("number", text[at:end], at, symbol[1]), symbol.end()
    if end < len(text) and (text[end].isalnum() or text[end] in "_-"):
        raise ExpressionError(text, "this is not a number; a name that starts with a digit stands in quotes", at)
    return _Token("number", text[at:end], at), end


class _Parser:
    """Recursive descent: or, and, not, comparison."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, problem: str, token: _Token | None = None) -> ExpressionError:
        return ExpressionError(self.text, problem, (token or self.token).position)

    def take(self) -> _Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def parse(self) -> Node:
        node = self.either()
        if self.token.kind != "end":
            raise self.fail(self.unexpected())
        return node

    def unexpected(self) -> str:
        token = self.token
        before = self.tokens[self.at - 1].text if self.at else ""
        if token.kind in COMPARISONS:
            return "comparisons are not chained; join two with and"
        if token.kind == ")":
            return "this parenthesis was never opened"
        if token.text == "is" or before == "is":
            return "write == to compare"
        if token.kind == "number" and token.text[0] in "+-":
            return "there is no arithmetic"
        if token.kind in ("name", "word", "number", "("):
            return f"expected and, or, or a comparison before {token.text}"
        return f"unexpected {token.text or 'end'}"

    def either(self) -> Node:
        parts = [self.both()]
        while self.token.kind == "or":
            self.take()
            parts.append(self.both())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def both(self) -> Node:
        parts = [self.negation()]
        while self.token.kind == "and":
            self.take()
            parts.append(self.negation())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def negation(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.fail(f"the expression is nested more than {_MAX_DEPTH} deep")
        node = self.negated() if self.token.kind == "not" else self.primary()
        self.depth -= 1
        return node

    def negated(self) -> Node:
        self.take()
        return Not(self.negation())

    def primary(self) -> Node:
        if self.token.kind == "(":
            return self.group()
        first = self.token
        left = self.operand()
        if self.token.kind in COMPARISONS:
            return self.comparison(first, left)
        if isinstance(left, Number):
            raise self.fail("a number alone is not a condition; compare it with a name", first)
        if isinstance(left, Word):
            raise self.fail(f"{left} alone is not a condition; compare a name with it", first)
        return left

    def group(self) -> Node:
        opening = self.take()
        node = self.either()
        if self.token.kind != ")":
            problem = "this parenthesis is not closed" if self.token.kind == "end" else self.unexpected()
            raise self.fail(problem, opening if self.token.kind == "end" else None)
        self.take()
        return node

    def comparison(self, first: _Token, left: Operand) -> Node:
        sign = self.take().kind
        right = self.operand()
        if not isinstance(left, Name) and not isinstance(right, Name):
            raise self.fail("this compares two constants; one side must be a name", first)
        return Compare(left, sign, right)

    def operand(self) -> Operand:
        token = self.token
        if token.kind == "name":
            self.check_name(token)
        elif token.kind == "number":
            self.check_symbol(token)
        elif token.kind != "word":
            raise self.fail(self.missing_operand())
        self.take()
        kinds: dict[str, Operand] = {
            "name": Name(token.text),
            "word": Word(token.text),
            "number": Number(token.text, token.symbol),
        }
        return kinds[token.kind]

    def missing_operand(self) -> str:
        if self.token.kind == "end":
            return "the expression stops here; a name, number or word is missing"
        return f"expected a name, number or word, not {self.token.text}"

    def check_name(self, token: _Token) -> None:
        if not token.text.strip():
            raise self.fail("the name is empty")
        if token.text[-1] in ".-":
            raise self.fail(f"the name {token.text} is not finished")

    def check_symbol(self, token: _Token) -> None:
        if not token.symbol or unit_of_symbol(token.symbol):
            return
        near = nearest_symbol(token.symbol)
        raise self.fail(f'unknown unit "{token.symbol}"' + (f"; did you mean {token.text} {near}?" if near else ""))


def parse_tree(text: str) -> Node:
    """Read a condition.

    Raises:
        ExpressionError: with the character at fault and what would be right.
    """
    if not text.strip():
        raise ExpressionError(text, "the expression is empty; write for example CB_1.position == open")
    return _Parser(text).parse()
