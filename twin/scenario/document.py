"""A YAML document as plain data, with the line of every key and item.

YAML 1.2: ``off``, ``yes`` and ``no`` are words. Reads text only; what the keys mean is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from twin.scenario.fields import WrittenFloat, WrittenInt
from twin.scenario.findings import KeyPath

_TAG = "tag:yaml.org,2002:"
_HINTS = (
    (r"'\\t'", "indent with spaces, not with tabs"),
    (r"mapping values are not allowed", 'quote a value that contains ": ", or check the indentation'),
    (r"character '[%@`]'", "quote the value"),
    (r"expected <block end>|did not find expected", "check the indentation"),
    (r"expected ',' or", "a bracket or brace is not closed, or a comma is missing"),
    (r"found unexpected end of stream", "a quote is not closed"),
    (r"could not find expected ':'", "a key needs a colon and a space before its value"),
)


@dataclass
class Document:
    """Plain data (dicts, lists, texts, numbers) of a YAML text and what was wrong with it.

    ``lines`` has the line (from 1) of each key and item; ``problems`` are (line, sentence).
    """

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)


def read_document(text: str) -> Document:
    """Read one YAML document; a syntax error leaves ``data`` at None."""
    document = Document()
    try:
        node = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        document.problems.append(_syntax_problem(error))
    except YAMLError as error:
        document.problems.append((_line_of_character(text, error), "this is not text that YAML allows"))
    except RecursionError:
        document.problems.append((0, "lists and blocks are nested too deep"))
    else:
        if node is not None:
            document.lines[()] = node.start_mark.line + 1
            document.data = _Reader(document).read(node, ())
    return document


def _line_of_character(text: str, error: YAMLError) -> int:
    return text.count("\n", 0, getattr(error, "position", 0) or 0) + 1


def _syntax_problem(error: MarkedYAMLError) -> tuple[int, str]:
    mark = error.problem_mark or error.context_mark
    said = " ".join(str(error.problem or error.context or "syntax error").split())
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, said)), "")
    begun = error.context_mark
    since = f", in what began in line {begun.line + 1}" if begun and mark and begun.line != mark.line else ""
    return (mark.line + 1 if mark else 0), f"this is not YAML: {said}{since}" + (f"; {hint}" if hint else "")


class _Reader:
    """Walks the node tree."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.open_nodes: list[Node] = []

    def read(self, node: Node, path: KeyPath) -> Any:
        if any(node is other for other in self.open_nodes):
            return self._problem(node, "this alias contains itself")
        self.open_nodes.append(node)
        try:
            return self._read(node, path)
        finally:
            self.open_nodes.pop()

    def _read(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._item(item, (*path, n)) for n, item in enumerate(node.value)]
        return self._scalar(node) if isinstance(node, ScalarNode) else None

    def _problem(self, node: Node, sentence: str) -> None:
        self.document.problems.append((node.start_mark.line + 1, sentence))

    def _item(self, node: Node, path: KeyPath) -> Any:
        self.document.lines[path] = node.start_mark.line + 1
        return self.read(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._problem(key_node, "a key must be a word, not a list or a block")
                continue
            key = key_node.value
            if key in found:
                self._problem(key_node, f"the key {key} was already given in line {first[key]}; keep one")
                continue
            first[key] = line
            self.document.lines[(*path, key)] = line
            found[key] = self.read(value_node, (*path, key))
        return found

    def _scalar(self, node: ScalarNode) -> Any:
        text = node.value
        kind = str(node.tag).removeprefix(_TAG)
        if kind not in _SCALARS:
            return self._problem(node, f"tags such as {node.tag} have no meaning in a scenario")
        return _SCALARS[kind](text)


def _integer(text: str) -> Any:
    digits = text.replace("_", "")
    if not re.fullmatch(r"[+-]?\d+|[+-]?0[xob][0-9a-fA-F]+", digits):
        return text
    number = WrittenInt(int(digits, 10 if digits.lstrip("+-").isdigit() else 0))
    number.text = text
    return number


def _real(text: str) -> Any:
    words = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
    try:
        number = WrittenFloat(words.get(text.lower(), text.replace("_", "")))
    except ValueError:
        return text
    number.text = text
    return number


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _integer,
    "float": _real,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _text: None,
    "timestamp": str,
    "merge": str,
    "value": str,
}
