"""Conditions: what is read, printed, refused, and how it is decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import Blame
from twin.points.model import DoublePosition
from twin.scenario.expression import Expression, Quantity, describe_value, parse
from twin.scenario.syntax import And, Compare, ExpressionError, Name, Node, Not, Number, Or, Word
from twin.units import Unit

State = dict[str, float]


@dataclass
class DictNamespace:
    """A fake: names with units, read from a dict."""

    units: dict[str, Unit]

    def lookup(self, name: str) -> Quantity | None:
        return Quantity(name, self.units[name], lambda state: state[name]) if name in self.units else None

    def names(self) -> Iterator[str]:
        yield from self.units


NAMES = DictNamespace(
    {
        "CB_1.position": Unit.POSITION,
        "scada.CB_1.position": Unit.POSITION,
        "CB_1.i_a": Unit.AMPERE,
        "L3-8.loading": Unit.FRACTION,
        "L3-9.loading": Unit.FRACTION,
        "N8.v_pu": Unit.PER_UNIT,
        "N8.v_kv": Unit.KILOVOLT,
        "N8.energised": Unit.BOOLEAN,
        "customers_interrupted": Unit.COUNT,
        "closed_onto_fault": Unit.BOOLEAN,
        "time": Unit.MILLISECOND,
    }
)
STATE: State = {
    "CB_1.position": DoublePosition.OPEN,
    "scada.CB_1.position": DoublePosition.CLOSED,
    "CB_1.i_a": 120.0,
    "L3-8.loading": 0.8,
    "L3-9.loading": math.nan,
    "N8.v_pu": 1.02,
    "N8.v_kv": 20.4,
    "N8.energised": 1.0,
    "customers_interrupted": 140.0,
    "closed_onto_fault": 0.0,
    "time": 60_000.0,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("CB_1.position == open", True),
        ("CB_1.position != open", False),
        ("open == CB_1.position", True),
        ("scada.CB_1.position == closed", True),
        ("scada.CB_1.position != CB_1.position", True),
        ("CB_1.position == intermediate or CB_1.position == faulty", False),
        ("L3-8.loading <= 80 %", True),
        ("L3-8.loading < 80%", False),
        ("L3-8.loading > 0.5 %", True),
        ("CB_1.i_a >= 0.12 kA", True),
        ("N8.v_pu > 1.01", True),
        ("N8.v_pu > 101 %", True),
        ("N8.v_pu <= 1.02 pu", True),
        ("N8.v_kv < 21 kV and N8.v_kv > 20000 V", True),
        ("time == 60 s", True),
        ("time < 1 min", False),
        ("customers_interrupted <= 140", True),
        ("customers_interrupted > -1", True),
        ("N8.energised", True),
        ("not N8.energised", False),
        ("N8.energised == true", True),
        ("closed_onto_fault != false", False),
        ("closed_onto_fault or N8.energised and not closed_onto_fault", True),
        ("(closed_onto_fault or N8.energised) and closed_onto_fault", False),
        ("not closed_onto_fault and closed_onto_fault", False),
        ("not (closed_onto_fault and closed_onto_fault)", True),
        ("'CB_1.position' == open", True),
    ],
)
def test_condition__is_decided_on_the_state(text: str, holds: bool) -> None:
    assert parse(text).compile(NAMES)(STATE) is holds


@pytest.mark.parametrize("sign", ["==", "!=", "<", "<=", ">", ">="])
def test_condition__unknown_value_compares_false(sign: str) -> None:
    assert parse(f"L3-9.loading {sign} 50 %").compile(NAMES)(STATE) is False


def test_names__each_once_in_order_of_use() -> None:
    expression = parse("b.x == open and (a > 5 or not b.x == closed) and c-d.e < f")
    assert expression.names == ("b.x", "a", "c-d.e", "f")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a==5", "a == 5"),
        ("a  <5kV", "a < 5 kV"),
        ("(a)", "a"),
        ("((a and b))or c", "a and b or c"),
        ("a and (b or c)", "a and (b or c)"),
        ("(a and b) and c", "(a and b) and c"),
        ("a or (b and c)", "a or b and c"),
        ("not (a == open)", "not a == open"),
        ("not (a or b)", "not (a or b)"),
        ("not not a", "not not a"),
        ('"Line 1.loading" <= 100 %', "'Line 1.loading' <= 100 %"),
        ("'12.v_pu' > 1", "'12.v_pu' > 1"),
        ("'open' == open", "'open' == open"),
        ('"O\'Hare.v_pu" > 1', '"O\'Hare.v_pu" > 1'),
        ("x > -5 kW", "x > -5 kW"),
        ("x > 1.50e3 A", "x > 1.50e3 A"),
    ],
)
def test_expression__prints_in_one_form(text: str, printed: str) -> None:
    assert str(parse(text)) == printed


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("", -1, "the expression is empty; write for example CB_1.position == open"),
        ("   ", -1, "the expression is empty; write for example CB_1.position == open"),
        ("a = b", 2, "unexpected =; write == to compare"),
        ("a is open", 2, "write == to compare"),
        ("a && b", 2, "unexpected &; write and"),
        ("a || b", 2, "unexpected |; write or"),
        ("!a", 0, "unexpected !; write not"),
        ("a + 3 > 2", 2, "unexpected +; there is no arithmetic"),
        ("a -3 > 2", 2, "there is no arithmetic"),
        ("a * b", 2, "unexpected *; there is no arithmetic"),
        ("a / b", 2, "unexpected /; there is no arithmetic"),
        ("a > %", 4, "unexpected %; a percentage is written 100 %"),
        ("f(x)", 1, "expected and, or, or a comparison before ("),
        ("a[0] > 1", 1, "unexpected [; expected a name, a number or a comparison"),
        ("a == 5 == b", 7, "comparisons are not chained; join two with and"),
        ("a and", 5, "the expression stops here; a name, number or word is missing"),
        ("a == and", 5, "expected a name, number or word, not and"),
        ("== 5", 0, "expected a name, number or word, not =="),
        ("(a", 0, "this parenthesis is not closed"),
        ("(a b)", 3, "expected and, or, or a comparison before b"),
        ("a)", 1, "this parenthesis was never opened"),
        ("()", 1, "expected a name, number or word, not )"),
        ("a b", 2, "expected and, or, or a comparison before b"),
        ("a not b", 2, "unexpected not"),
        ("5", 0, "a number alone is not a condition; compare it with a name"),
        ("a and open", 6, "open alone is not a condition; compare a name with it"),
        ("true", 0, "true alone is not a condition; compare a name with it"),
        ("5 < 6", 0, "this compares two constants; one side must be a name"),
        ("a and open == closed", 6, "this compares two constants; one side must be a name"),
        ("x >= 20 kv", 5, 'unknown unit "kv"; did you mean 20 kV?'),
        ("x > 60 sec", 4, 'unknown unit "sec"; did you mean 60 s?'),
        ("x > 60 parsec", 4, 'unknown unit "parsec"'),
        ("12.v_pu > 1", 0, "this is not a number; a name that starts with a digit stands in quotes"),
        ("1-2.loading > 1", 0, "this is not a number; a name that starts with a digit stands in quotes"),
        ("1.2.3 > x", 0, "this is not a number; a name that starts with a digit stands in quotes"),
        ("a == 'x", 5, "unexpected '; the quote is not closed"),
        ("'' > 5", 0, "the name is empty"),
        ("a. > 5", 0, "the name a. is not finished"),
        ("(" * 60 + "a" + ")" * 60, 50, "the expression is nested more than 50 deep"),
        ("not " * 60 + "a", 200, "the expression is nested more than 50 deep"),
    ],
)
def test_expression__error_names_the_character_and_the_right_form(text: str, position: int, problem: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text)
    assert (refused.value.position, refused.value.problem) == (position, problem)
    place = f" at character {position + 1}" if position >= 0 else ""
    assert str(refused.value) == f'in "{text}"{place}: {problem}'
    assert refused.value.blame is Blame.SCENARIO


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("CB_9.position == open", ["there is no CB_9.position; did you mean CB_1.position?"]),
        ("cb_1.Position == open", ["there is no cb_1.Position; did you mean CB_1.position?"]),
        ("CB_1.loading < 5 %", ["CB_1 has no loading; it has position, i_a"]),
        ("CB_1 == open", ["CB_1 alone has no value; write for example CB_1.position"]),
        (
            "xyzzy == 5",
            [
                "there is no xyzzy; known: CB_1.i_a, CB_1.position, L3-8.loading, L3-9.loading, N8.energised, "
                "N8.v_kv, N8.v_pu, closed_onto_fault, customers_interrupted, scada.CB_1.position, time"
            ],
        ),
        ("CB_1.position", ["CB_1.position is a switch position, not true or false; compare it, for example "
                           "CB_1.position == open"]),
        ("not CB_1.i_a", ["CB_1.i_a is a current, not true or false; compare it, for example CB_1.i_a >= 100 A"]),
        ("CB_1.position == 100 %", ["CB_1.position is a switch position, 100 % is not; write it like open or closed"]),
        ("N8.energised == 1", ["N8.energised is true or false, 1 is not; write it like true or false"]),
        ("CB_1.position < closed", ["CB_1.position is a switch position; compare it with == or !="]),
        ("CB_1.position == true", ["CB_1.position is a switch position and true is true or false; "
                                   "they cannot be compared"]),
        ("L3-8.loading == open", ["L3-8.loading is a percentage and open is a switch position; "
                                  "they cannot be compared"]),
        ("N8.v_pu > N8.v_kv", ["N8.v_pu is a per-unit voltage and N8.v_kv is a voltage; they cannot be compared"]),
        ("L3-8.loading <= 1", ["L3-8.loading is a percentage; 1 has no unit, write it like 100 % or 0.5 %"]),
        ("CB_1.i_a <= 200", ["CB_1.i_a is a current; 200 has no unit, write it like 100 A or 1.2 kA"]),
        ("CB_1.i_a <= 5 %", ["CB_1.i_a is a current; 5 % is a percentage, not a current; "
                             "write it like 100 A or 1.2 kA"]),
        ("customers_interrupted < 5 %", ["customers_interrupted is a plain number; write 5 without %"]),
        ("5 kV > CB_1.i_a", ["CB_1.i_a is a current; 5 kV is a voltage, not a current; write it like 100 A or 1.2 kA"]),
        (
            "N9.v_pu > 1 and CB_1.i_a",
            [
                "there is no N9.v_pu; did you mean N8.v_pu?",
                "CB_1.i_a is a current, not true or false; compare it, for example CB_1.i_a >= 100 A",
            ],
        ),
        ("CB_1.position == open", []),
    ],
)  # fmt: skip
def test_problems__name_what_is_unknown_or_cannot_be_compared(text: str, problems: list[str]) -> None:
    assert parse(text).problems(NAMES) == problems


def test_compile__refuses_with_every_problem() -> None:
    with pytest.raises(ExpressionError) as refused:
        parse("N9.v_pu > 1 and CB_1.position > open").compile(NAMES)
    assert str(refused.value) == (
        'in "N9.v_pu > 1 and CB_1.position > open": there is no N9.v_pu; did you mean N8.v_pu?; '
        "CB_1.position is a switch position; compare it with == or !="
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.0, Unit.BOOLEAN, "true"),
        (0.0, Unit.BOOLEAN, "false"),
        (float(DoublePosition.FAULTY), Unit.POSITION, "faulty"),
        (7.0, Unit.POSITION, "unknown"),
        (1.042, Unit.FRACTION, "104.2 %"),
        (812.0, Unit.COUNT, "812"),
        (math.nan, Unit.PER_UNIT, "unknown"),
    ],
)
def test_value__is_described_as_a_person_would_write_it(value: float, unit: Unit, text: str) -> None:
    assert describe_value(value, unit) == text


# ---------------------------------------------------------------- properties

plain_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}(-[0-9]{1,2})?(\.[a-z_]{1,6}){0,2}", fullmatch=True)
odd_names = st.text(st.characters(codec="utf-8", exclude_characters="'\"", exclude_categories=["C", "Z"]), min_size=1)
names = (plain_names | odd_names.filter(lambda name: name[-1] not in ".-")).map(Name)
symbols = st.sampled_from(["", *(symbol for unit in Unit for symbol in unit.spec.factors)])
numbers = st.builds(Number, st.from_regex(r"[+-]?[0-9]{1,4}(\.[0-9]{1,3})?(e[+-]?[0-9])?", fullmatch=True), symbols)
words = st.sampled_from(["open", "closed", "intermediate", "faulty", "true", "false"]).map(Word)
signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
comparisons = st.builds(Compare, names, signs, names | numbers | words) | st.builds(
    Compare, numbers | words, signs, names
)


def _longer(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, parts) | st.builds(And, several) | st.builds(Or, several)


trees = st.recursive(names | comparisons, _longer, max_leaves=12)


@settings(deadline=None, max_examples=300)
@given(trees)
def test_expression__printed_tree_parses_to_the_same_tree(tree: Node) -> None:
    printed = str(Expression(tree))
    assert parse(printed).root == tree
    assert str(parse(printed)) == printed


@settings(deadline=None, max_examples=300)
@given(st.text() | st.text("ab.- ()=!<>'59%kVandornot"))
def test_expression__any_text_is_parsed_or_refused_within_the_text(text: str) -> None:
    try:
        expression = parse(text)
    except ExpressionError as refused:
        position = refused.position
        assert -1 <= position <= len(text)
        return
    assert parse(str(expression)) == expression


def _reference(node: Node, state: dict[str, bool]) -> bool:
    if isinstance(node, Not):
        return not _reference(node.part, state)
    if isinstance(node, And):
        return all(_reference(part, state) for part in node.parts)
    if isinstance(node, Or):
        return any(_reference(part, state) for part in node.parts)
    assert isinstance(node, Name)
    return state[node.name]


flags = st.sampled_from(["a", "b", "c"]).map(Name)


@settings(deadline=None)
@given(st.recursive(flags, _longer, max_leaves=10), st.fixed_dictionaries(dict.fromkeys("abc", st.booleans())))
def test_condition__follows_the_truth_tables(tree: Node, state: dict[str, bool]) -> None:
    namespace = DictNamespace(dict.fromkeys("abc", Unit.BOOLEAN))
    condition: Callable[[State], bool] = parse(str(Expression(tree))).compile(namespace)
    assert condition({name: float(value) for name, value in state.items()}) is _reference(tree, state)
