"""Conditions of a scenario: a small language, parsed here and never evaluated as Python.

Comparisons (``== != < <= > >=``), ``and``, ``or``, ``not``, parentheses, names with dots and hyphens,
numbers with units, and the words open, closed, intermediate, faulty, true and false. There is no
arithmetic. A name with spaces or with a digit in front stands in quotes: ``'Line 1.loading'``.
A comparison with a value that is not known (NaN) does not hold.

Names are resolved through a :class:`Namespace` before a run, with their units.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from twin.scenario.findings import did_you_mean
from twin.scenario.syntax import (
    COMPARISONS,
    POSITION_WORDS,
    And,
    Compare,
    ExpressionError,
    Name,
    Node,
    Not,
    Number,
    Operand,
    Or,
    Word,
    parse_tree,
)
from twin.units import Unit, describe_quantity, wrong_symbol

_COMPARE: dict[str, Callable[[float, float], bool]] = dict(
    zip(COMPARISONS, (operator.eq, operator.ne, operator.le, operator.ge, operator.lt, operator.gt), strict=True)
)

Condition = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A named value of the state: ``getter`` reads it in the base unit of ``unit``.

    Truth values are 0 and 1, positions are ``DoublePosition`` values.
    """

    name: str
    unit: Unit
    getter: Callable[[Any], float]


class Namespace(Protocol):
    """The names that expressions may use."""

    def lookup(self, name: str) -> Quantity | None:
        """The quantity called ``name``, or None."""
        ...

    def names(self) -> Iterable[str]:
        """Every name, for suggestions."""
        ...


def _leaves(node: Node) -> Iterator[Name | Compare]:
    """Names and comparisons from left to right."""
    if isinstance(node, Not):
        yield from _leaves(node.part)
    elif isinstance(node, And | Or):
        for part in node.parts:
            yield from _leaves(part)
    else:
        yield node


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed condition; ``str`` prints it in its one canonical form, which parses to the same tree."""

    root: Node

    def __str__(self) -> str:
        return str(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name used, in order, each once."""
        operands = (
            side
            for leaf in _leaves(self.root)
            for side in ((leaf.left, leaf.right) if isinstance(leaf, Compare) else (leaf,))
        )
        return tuple(dict.fromkeys(side.name for side in operands if isinstance(side, Name)))

    def problems(self, namespace: Namespace) -> list[str]:
        """One sentence for each unknown name and each comparison of things that cannot be compared."""
        unknown = [unknown_name(name, namespace) for name in self.names if namespace.lookup(name) is None]
        return unknown + [problem for leaf in _leaves(self.root) if (problem := _leaf_problem(leaf, namespace))]

    def compile(self, namespace: Namespace) -> Condition:
        """The condition as a function of the state.

        Raises:
            ExpressionError: a name is unknown, or two things cannot be compared.
        """
        problems = self.problems(namespace)
        if problems:
            raise ExpressionError(str(self), "; ".join(problems))
        return _compile(self.root, namespace)

    def quantities(self, namespace: Namespace) -> tuple[Quantity, ...]:
        """The quantities of :attr:`names`, those that exist."""
        return tuple(quantity for name in self.names if (quantity := namespace.lookup(name)))


def unknown_name(name: str, namespace: Namespace) -> str:
    """The sentence for a name that is not there, with what would be near it."""
    names = list(namespace.names())
    owner, _, attribute = name.rpartition(".")
    attributes = [known.rpartition(".")[2] for known in names if known.rpartition(".")[0] == owner] if owner else []
    if attributes:
        return f"{owner} has no {attribute}; it has {', '.join(attributes)}"
    if name in {known.rpartition(".")[0] for known in names}:
        return f"{name} alone has no value; write for example {next(n for n in names if n.startswith(name + '.'))}"
    alike = [known for known in names if known.endswith(f".{attribute}")] if owner else []
    return f"there is no {name}{did_you_mean(name, alike, listed=0) or did_you_mean(name, names)}"


# ---------------------------------------------------------------- units


def _unit(operand: Operand, namespace: Namespace) -> Unit | None:
    """None for a number, whose unit is decided by what it is compared with, and for unknown names."""
    if isinstance(operand, Name):
        quantity = namespace.lookup(operand.name)
        return quantity.unit if quantity else None
    return operand.unit if isinstance(operand, Word) else None


def _leaf_problem(leaf: Name | Compare, namespace: Namespace) -> str:
    if isinstance(leaf, Compare):
        return _comparison_problem(leaf, namespace)
    unit = _unit(leaf, namespace)
    if unit in (None, Unit.BOOLEAN):
        return ""
    return f"{leaf} is {unit.spec.noun}, not true or false; compare it, for example {leaf} {_sample(unit)}"


def _sample(unit: Unit) -> str:
    return f"{'>=' if unit.is_number else '=='} {unit.spec.examples[0]}"


def _comparison_problem(leaf: Compare, namespace: Namespace) -> str:
    names = [side for side in (leaf.left, leaf.right) if isinstance(side, Name)]
    units = [_unit(name, namespace) for name in names]
    if None in units:
        return ""
    other = leaf.right if leaf.left is names[0] else leaf.left
    unit = units[0]
    assert unit is not None
    problem = _number_problem(names[0], unit, other) if isinstance(other, Number) else ""
    other_unit = _unit(other, namespace)
    if not problem and other_unit is not None and other_unit is not unit:
        verb = f"is {other_unit.spec.noun}" if other_unit is not Unit.BOOLEAN else "is true or false"
        problem = f"{names[0]} is {unit.spec.noun} and {other} {verb}; they cannot be compared"
    if not problem and not unit.is_number and leaf.operator not in ("==", "!="):
        problem = f"{names[0]} is {unit.spec.noun}; compare it with == or !="
    return problem


def _number_problem(name: Name, unit: Unit, number: Number) -> str:
    if not unit.is_number:
        return f"{name} is {unit.spec.noun}, {number} is not; write it like {' or '.join(unit.spec.examples)}"
    if number.symbol in unit.spec.factors or (not number.symbol and unit.spec.plain):
        return ""
    if not number.symbol:
        return f"{name} is {unit.spec.noun}; {number} has no unit, write it like {' or '.join(unit.spec.examples[:2])}"
    if unit is Unit.COUNT:
        return f"{name} is a plain number; write {number.number} without {number.symbol}"
    return f"{name} is {unit.spec.noun}; {wrong_symbol(str(number), number.symbol, unit)}"


# ---------------------------------------------------------------- compiling


def _compile(node: Node, namespace: Namespace) -> Condition:
    if isinstance(node, Compare):
        return _compile_comparison(node, namespace)
    if isinstance(node, Not):
        part = _compile(node.part, namespace)
        return lambda state: not part(state)
    if isinstance(node, And | Or):
        parts = tuple(_compile(part, namespace) for part in node.parts)
        decide = all if isinstance(node, And) else any
        return lambda state: decide(part(state) for part in parts)
    getter = _getter(node, Unit.BOOLEAN, namespace)
    return lambda state: getter(state) == 1.0


def _compile_comparison(leaf: Compare, namespace: Namespace) -> Condition:
    unit = _unit(leaf.left, namespace) or _unit(leaf.right, namespace)
    assert unit is not None
    left, right = _getter(leaf.left, unit, namespace), _getter(leaf.right, unit, namespace)
    holds = _COMPARE[leaf.operator]
    if leaf.operator != "!=":
        return lambda state: bool(holds(left(state), right(state)))
    return lambda state: _differ(left(state), right(state))


def _differ(left: float, right: float) -> bool:
    return bool(left != right) and not (math.isnan(left) or math.isnan(right))


def _getter(operand: Operand, unit: Unit, namespace: Namespace) -> Callable[[Any], float]:
    if isinstance(operand, Name):
        quantity = namespace.lookup(operand.name)
        assert quantity is not None
        return quantity.getter
    value = operand.value(unit) if isinstance(operand, Number) else operand.value
    return lambda _state: value


def describe_value(value: float, unit: Unit) -> str:
    """A value of the state as a person would write it."""
    if unit is Unit.BOOLEAN:
        return "true" if value else "false"
    if unit is Unit.POSITION:
        return next((word for word, number in POSITION_WORDS.items() if number == value), "unknown")
    return describe_quantity(value, unit)


def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        ExpressionError: with the character at fault and what would be right.
    """
    return Expression(parse_tree(text))
