"""Reads scenario files and writes them back.

Every finding of a file is collected, with its line and what would be right. Whether the names exist
in the network is checked later, by :func:`twin.scenario.resolve.resolve`.
"""

from __future__ import annotations

import io
import re
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML

from twin.scenario.document import Document, read_document
from twin.scenario.fields import ScenarioModel
from twin.scenario.findings import Finding, KeyPath, ScenarioError, SourceMap, did_you_mean
from twin.scenario.model import Scenario, known_keys
from twin.scenario.resolve import check_references, resolve

__all__ = ["load_scenario", "read_scenario", "resolve", "resolved_yaml", "schema"]


def load_scenario(path: Path | str) -> Scenario:
    """Read a scenario file; the files it names must exist.

    Raises:
        ScenarioError: with every finding, in the order of the lines.
    """
    path = Path(path)
    return _read(_read_text(path), path, _missing_files)


def read_scenario(text: str, path: Path | None = None) -> Scenario:
    """Read a scenario from ``text``; ``path`` is where it came from. Opens no file.

    Raises:
        ScenarioError: with every finding, in the order of the lines.
    """
    return _read(text, path, lambda _scenario: ())


def _read(text: str, path: Path | None, check_files: Callable[[Scenario], Iterable[Finding]]) -> Scenario:
    document = read_document(text)
    source = SourceMap(path, document.lines)
    findings = [Finding(source.file, line, sentence) for line, sentence in document.problems]
    scenario = _validated(document, source, findings)
    if scenario is not None:
        findings.extend([*check_references(scenario), *check_files(scenario)])
    if findings or scenario is None:
        raise ScenarioError(sorted(set(findings)))
    return scenario


def resolved_yaml(scenario: Scenario) -> str:
    """The scenario with every default filled in; reading it gives the same scenario."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(scenario.model_dump(mode="json", by_alias=True, exclude_none=True), stream)
    return stream.getvalue()


def schema() -> dict[str, Any]:
    """The JSON Schema of scenario files, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scenario of the distribution twin",
        **Scenario.model_json_schema(by_alias=True),
    }


# ---------------------------------------------------------------- files


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = did_you_mean(path.name, _scenario_files(path.parent), listed=0)
        sentence = f"there is no such file{near}"
    except IsADirectoryError:
        sentence = "this is a folder; name a scenario file in it"
    except UnicodeDecodeError as error:
        sentence = f"this is not UTF-8 text (byte {error.start})"
    except OSError as error:
        sentence = f"the file cannot be read: {error.strerror}"
    raise ScenarioError([Finding(str(path), 0, sentence)])


def _scenario_files(folder: Path) -> list[str]:
    return [file.name for file in sorted(folder.glob("*.yaml"))] if folder.is_dir() else []


def _missing_files(scenario: Scenario) -> Iterator[Finding]:
    files = (
        (("network",), scenario.network_file),
        (("derived",), scenario.derived_folder),
        (("plant", "loads", "profile"), scenario.profile_file),
    )
    for path, file in files:
        if file is not None and not file.exists():
            yield scenario.source.finding(path, f"there is no {file}")


# ---------------------------------------------------------------- findings of the models


def _validated(document: Document, source: SourceMap, findings: list[Finding]) -> Scenario | None:
    """The scenario, or None with the findings added."""
    if document.data is None:
        if not document.problems:
            findings.append(Finding(source.file, 0, "the file is empty; a scenario starts with scenario: 1"))
        return None
    if not isinstance(document.data, dict):
        findings.append(source.finding((), "a scenario is a block of keys; it starts with scenario: 1"))
        return None
    try:
        return Scenario.model_validate(document.data).with_source(source)
    except ValidationError as error:
        findings.extend(_finding(details, source) for details in error.errors())
        return None


def _finding(details: ErrorDetails, source: SourceMap) -> Finding:
    path = details["loc"]
    if details["type"] == "extra_forbidden":
        return source.finding(path, _unknown_key(path))
    key = path[-1] if path and isinstance(path[-1], str) else ""
    sentence = _sentence(details)
    if details["type"] == "missing":
        return source.finding(path[:-1], f"{key} is missing{_example(path)}")
    return source.finding(path, f"{key}: {sentence}" if key else sentence)


def _unknown_key(path: KeyPath) -> str:
    model = _model_at(path[:-1])
    known = known_keys(model) if model else ()
    return f"unknown key {path[-1]}{did_you_mean(str(path[-1]), known)}"


_MISSING_EXAMPLES = {
    "scenario": "scenario: 1",
    "name": "name: fault-on-feeder-1",
    "network": "network: cigre_mv",
    "start": "start: 2026-01-15T18:00:00Z",
    "duration": "duration: 10 min",
}


def _example(path: KeyPath) -> str:
    example = _MISSING_EXAMPLES.get(str(path[0])) if len(path) == 1 else None
    return f"; write for example {example}" if example else ""


def _sentence(details: ErrorDetails) -> str:
    kind, value, context = details["type"], details.get("input"), details.get("ctx", {})
    written = getattr(value, "text", value)
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
        if len(choices) == 1:
            return f"{_shown(written)} is not known; write {choices[0]}"
        near = did_you_mean(str(written), choices, listed=0)
        return f"{_shown(written)} is not one of {', '.join(choices)}{near}"
    if kind in _TYPE_SENTENCES:
        return f"{_shown(written)} is not {_TYPE_SENTENCES[kind]}"
    if kind in ("greater_than_equal", "less_than_equal"):
        low = kind == "greater_than_equal"
        limit = context["ge" if low else "le"]
        return f"{written} is too {'small' if low else 'large'}, the {'least' if low else 'most'} is {limit}"
    return details["msg"][:1].lower() + details["msg"][1:]


_TYPE_SENTENCES = {
    "model_type": "a block of keys",
    "dict_type": "a block of keys",
    "tuple_type": "a list",
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
}


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return "a list" if isinstance(value, list) else "a block of keys" if isinstance(value, dict) else str(value)


def _model_at(path: KeyPath) -> type[ScenarioModel] | None:
    """The model of the block at ``path``."""
    annotation: Any = Scenario
    for step in path:
        annotation = _inside(annotation, step)
    return _model_in(annotation)


def _inside(annotation: Any, step: str | int) -> Any:
    """The annotation one step further down: a list item, the value of a named entry, or a field."""
    model = _model_in(annotation)
    if model is None or isinstance(step, int) or get_origin(annotation) is dict:
        return model
    field = next((f for name, f in model.model_fields.items() if (f.alias or name) == step), None)
    return field.annotation if field else None


def _model_in(annotation: Any) -> type[ScenarioModel] | None:
    """The model that an annotation such as ``tuple[Event, ...]`` or ``FaultAction | None`` is about."""
    if isinstance(annotation, type) and issubclass(annotation, ScenarioModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple, dict):
        return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
    return None
