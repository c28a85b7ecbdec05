"""Rules of the house that no single package can keep: layers, errors, and what may not be called."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import hil
import simulators
import twin
from twin.errors import TwinError

ROOT = Path(twin.__file__).parents[1]
PACKAGES = (twin, simulators, hil)
FORBIDDEN_CALLS = ("print", "eval", "exec", "compile", "breakpoint", "input")
FORBIDDEN_IMPORTS = ("pickle", "cPickle", "dill", "shelve", "marshal", "cloudpickle")
ASSERTIONS = ("simulators.pytest_plugin.ScenarioFailedError",)
"""Errors that are pytest's business: a failed test is an AssertionError."""
CLOCK_READERS = ("time", "perf_counter", "monotonic", "now", "utcnow", "today")


def modules() -> list[str]:
    """The names of all modules of the three packages."""
    names = [package.__name__ for package in PACKAGES]
    for package in PACKAGES:
        names += [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return sorted(names)


def path_of(module: str) -> Path:
    base = ROOT.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def tree(module: str) -> ast.Module:
    path = path_of(module)
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def calls(module: str) -> Iterator[str]:
    """The plain names that a module calls, with their lines."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def imports(module: str) -> Iterator[str]:
    """What a module imports, wherever in it."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_house__has_its_rooms() -> None:
    found = modules()
    assert len(found) > 100
    assert {"twin.errors", "twin.scada.commands", "simulators.world", "hil"} <= set(found)
    assert all(path_of(name).is_file() for name in found)


def test_layers__hold() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    arguments = [sys.executable, "-c", command, "--no-cache"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = re.search(r"Contracts: (\d+) kept, 0 broken", done.stdout)
    assert kept, done.stdout
    assert int(kept[1]) >= 4


@pytest.mark.parametrize("name", FORBIDDEN_CALLS)
def test_libraries__never_call(name: str) -> None:
    assert [module for module in modules() if name in calls(module)] == []


def test_libraries__never_unpickle() -> None:
    taken = [(m, i) for m in modules() for i in imports(m) if i.split(".")[0] in FORBIDDEN_IMPORTS]
    assert taken == []


def test_twin__never_looks_up_to_the_plant() -> None:
    looked = [
        (module, name)
        for module in modules()
        if module.startswith("twin")
        for name in imports(module)
        if name.split(".")[0] in ("simulators", "hil", "mosaik", "mosaik_api_v3")
    ]
    assert looked == []


def test_simulators__never_look_up_to_the_benches() -> None:
    looked = [m for m in modules() if m.startswith("simulators") and any(i.split(".")[0] == "hil" for i in imports(m))]
    assert looked == []


def error_classes() -> dict[str, type[BaseException]]:
    """Every exception class that is defined in the three packages, by its full name."""
    found: dict[str, type[BaseException]] = {}
    for name in modules():
        if name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == name:
                found[f"{name}.{value.__qualname__}"] = value
    return found


def test_errors__all_derive_from_the_one_root() -> None:
    errors = error_classes()
    assert len(errors) > 30
    strangers = [name for name, error in errors.items() if not issubclass(error, TwinError)]
    assert [name for name in strangers if name not in ASSERTIONS] == []


def test_errors__are_named_as_such() -> None:
    assert [name for name in error_classes() if not name.endswith(("Error", "Problem"))] == []


def raised(module: str) -> Iterator[tuple[int, str]]:
    """The line and name of each built-in that a module raises."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            yield node.lineno, node.exc.func.id


def test_errors__none_is_as_vague_as_exception() -> None:
    vague = [(m, line) for m in modules() for line, name in raised(m) if name in ("Exception", "BaseException")]
    assert vague == []


def test_handlers__none_swallows_everything() -> None:
    """A bare ``except``, or a broad one that neither raises again nor keeps the error."""
    swallowed = []
    for module in modules():
        for node in ast.walk(tree(module)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"everything"}
            broad = names & {"everything", "Exception", "BaseException"}
            keeps = node.name and any(
                isinstance(n, ast.Name) and n.id == node.name for b in node.body for n in ast.walk(b)
            )
            again = any(isinstance(n, ast.Raise) for b in node.body for n in ast.walk(b))
            if broad and not keeps and not again:
                swallowed.append((module, node.lineno))
    assert swallowed == []


@pytest.mark.parametrize("room", ["twin.dms", "twin.scada", "twin.points", "twin.network", "twin.control_room"])
def test_room__reads_no_wall_clock(room: str) -> None:
    readers = [
        (module, node.lineno)
        for module in modules()
        if module == room or module.startswith(f"{room}.")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute)
        and node.attr in CLOCK_READERS
        and isinstance(node.value, ast.Name)
        and node.value.id in ("time", "datetime", "date")
    ]
    assert readers == []


def test_modules__open_with_what_they_are_for() -> None:
    silent = [module for module in modules() if tree(module).body and not ast.get_docstring(tree(module))]
    assert silent == []
