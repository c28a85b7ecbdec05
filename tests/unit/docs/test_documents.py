"""README and documents stay true: links lead somewhere, complete scenarios validate, commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulators.preparation import prepare
from twin.cli import main

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
LINK = re.compile(r"\]\(([^)#:]+)\)")
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"\b(FILE|FOLDER|NAME|DIR)\b")


def fences(language: str) -> list[tuple[str, str]]:
    """(document, text) of every fenced block of a language."""
    found = [(path.name, *match) for path in DOCUMENTS for match in FENCE.findall(path.read_text(encoding="utf-8"))]
    return [(name, text) for name, kind, text in found if kind == language]


def shell_lines() -> list[str]:
    """The commands in the documents' shell blocks, without comments."""
    lines = (line.split("#")[0].strip() for _, text in fences("sh") for line in text.splitlines())
    return sorted({line for line in lines if line})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links__lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize(("document", "text"), [f for f in fences("yaml") if f[1].startswith("scenario: 1")])
def test_complete_scenarios__validate(document: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    assert prepare(path).events


def test_documents__show_scenarios_and_commands() -> None:
    assert len(fences("yaml")) >= 2
    assert len(shell_lines()) >= 5


@pytest.mark.parametrize("line", shell_lines())
def test_commands__exist_and_parse(line: str) -> None:
    tool, *words = line.replace('"', "").split()
    if tool == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[0] in targets
    elif tool == "twin":
        assert CliRunner().invoke(main, [words[0], "--help"]).exit_code == 0
        options = CliRunner().invoke(main, [words[0], "--help"]).output
        assert [word for word in words if word.startswith("--") and word not in options] == []
        files = [word for word in words if word.endswith(".yaml") and not PLACEHOLDER.search(word)]
        assert [file for file in files if not (ROOT / file).exists()] == []
    else:
        assert tool in ("pytest", "python", "pip")


def test_ready_commands__run() -> None:
    for words in (["list", str(ROOT / "scenarios")], ["schema"], ["--version"]):
        assert CliRunner().invoke(main, words).exit_code == 0
