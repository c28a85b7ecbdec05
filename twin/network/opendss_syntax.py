"""Reads OpenDSS scripts into statements: commands with their parameters, each with its file and line.

Takes what the language has of comments, continuation lines (``~``, ``more``), redirection, brackets and in-line
arithmetic in reverse Polish notation. Not for what the commands mean: see :mod:`twin.network.opendss_loader`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from twin.errors import TwinError

_TOKEN = re.compile(
    r"""\s*,?\s*
    (?:(?P<name>[^\s=,"'(\[{]+)\s*=\s*)?
    (?P<value>\([^)]*\)|\[[^\]]*\]|\{[^}]*\}|"[^"]*"|'[^']*'|[^\s,=]+)""",
    re.VERBOSE,
)
_BRACKETS = "()[]{}\"'"
_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: math.pow(a, b),
}
_UNARY: dict[str, Callable[[float], float]] = {"sqrt": math.sqrt, "sqr": lambda a: a * a, "inv": lambda a: 1 / a}
_CONTINUATIONS = ("~", "more")
_REDIRECTIONS = ("redirect", "compile")
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class OpenDssFinding:
    """One thing that keeps an OpenDSS script from being loaded: where, and why."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ValueProblem(TwinError, ValueError):
    """A value that cannot be understood; becomes a finding at its place."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """``name=value``, or a bare value (``name`` empty); the name in lower case, the value as written."""

    name: str
    value: str
    place: Place

    @property
    def text(self) -> str:
        """The value without its brackets or quotes."""
        return self.value.strip(_BRACKETS).strip()

    def number(self) -> float:
        """The value as a number; brackets and quotes may hold reverse Polish arithmetic."""
        return _number(self.text)

    def whole(self) -> int:
        """The value as an integer."""
        value = self.number()
        if value != round(value):
            raise ValueProblem(f"{self.text} is not a whole number")
        return round(value)

    def truth(self) -> bool:
        """The value as yes or no."""
        if self.text[:1].lower() not in ("y", "n", "t", "f"):
            raise ValueProblem(f"{self.text} is neither yes nor no")
        return self.text[:1].lower() in ("y", "t")

    def words(self) -> list[str]:
        """The value as a list of words."""
        return self.text.replace(",", " ").split()

    def numbers(self) -> list[float]:
        """The value as a list of numbers."""
        return [_number(word) for word in self.words()]

    def rows(self) -> list[list[float]]:
        """The value as rows of numbers, separated by ``|``."""
        return [[_number(word) for word in row.replace(",", " ").split()] for row in self.text.split("|")]


@dataclass(slots=True)
class Statement:
    """A command with its parameters; a parameter of an element alone (``Load.x.kw=3``) is the command ``edit``."""

    command: str
    place: Place
    parameters: list[Parameter] = field(default_factory=list)
    folder: Path = field(default_factory=Path)


@dataclass
class Script:
    """The statements of a script and of all it redirects to, in order, with what could not be read."""

    statements: list[Statement] = field(default_factory=list)
    findings: list[OpenDssFinding] = field(default_factory=list)


def read_script(path: Path) -> Script:
    """All statements of the script at ``path``; a missing file is a finding."""
    script = Script()
    _read_file(path, Place(path.name, 0), script, 0)
    return script


def _read_file(path: Path, asked_at: Place, script: Script, depth: int) -> None:
    if not path.is_file() or depth > _DEEPEST:
        reason = f"there is no file {path.name}" if not path.is_file() else "the redirections do not end"
        script.findings.append(OpenDssFinding(asked_at, reason))
        return
    for number, raw in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        line = _without_comment(raw).strip()
        if line:
            _read_line(line, Place(path.name, number), path.parent, script, depth)


def _read_line(line: str, place: Place, folder: Path, script: Script, depth: int) -> None:
    first, rest = ("~", line[1:]) if line.startswith("~") else (*line.split(None, 1), "")[:2]
    command = first.lower()
    if command in _CONTINUATIONS:
        if script.statements:
            script.statements[-1].parameters += _parameters(rest, place)
        else:
            script.findings.append(OpenDssFinding(place, "there is nothing to continue here"))
    elif command in _REDIRECTIONS:
        _read_file(folder / rest.strip().strip(_BRACKETS).replace("\\", "/"), place, script, depth + 1)
    elif "." in command.partition("=")[0]:
        script.statements.append(_element_edit(line, place, folder))
    else:
        script.statements.append(Statement(command, place, list(_parameters(rest, place)), folder))


def _element_edit(line: str, place: Place, folder: Path) -> Statement:
    """``Class.name.property=value property=value`` as an edit of the element."""
    parameters = list(_parameters(line, place))
    element, _, name = parameters[0].name.rpartition(".")
    parameters[0] = Parameter(name, parameters[0].value, place)
    return Statement("edit", place, [Parameter("", element, place), *parameters], folder)


def _parameters(text: str, place: Place) -> Iterator[Parameter]:
    for match in _TOKEN.finditer(text):
        yield Parameter((match["name"] or "").lower(), match["value"], place)


def _without_comment(line: str) -> str:
    return line.partition("!")[0].partition("//")[0]


def _number(text: str) -> float:
    stack: list[float] = []
    try:
        for word in text.replace(",", " ").split():
            if word in _BINARY:
                second, first = stack.pop(), stack.pop()
                stack.append(_BINARY[word](first, second))
            elif word.lower() in _UNARY:
                stack.append(_UNARY[word.lower()](stack.pop()))
            else:
                stack.append(float(word))
        (value,) = stack
    except (ValueError, IndexError, ArithmeticError):
        raise ValueProblem(f"{text} is not a number") from None
    return value
