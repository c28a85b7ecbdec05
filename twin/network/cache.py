"""Compiled networks kept on disk: pandapower and a large file are read once a machine, not once a run.

An entry is found by what made it: the specification with its options, the content of the file, the loaders'
own source and the version of pandapower. Anything else makes a new entry, so none is ever out of date. Entries
are plain arrays and texts (``.npz``, nothing in them is executed); one that cannot be read is made anew, and where
nothing can be written nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from twin.network.model import Network

FOLDER_VARIABLE = "TWIN_CACHE_DIR"
"""Environment variable with the folder of the entries; empty: nothing is kept."""

MOST_ENTRIES = 64
"""The entries not used for longest go first."""

_TEXTS = "texts"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


def cache_folder() -> Path | None:
    """Where the entries are: ``$TWIN_CACHE_DIR``, else the user's cache folder; None where nothing is kept."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named) / "networks" if named else None
    with suppress(RuntimeError):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return home / "distribution-twin" / "networks"
    return None


def kept(parts: tuple[str | bytes, ...], make: Callable[[], Network]) -> Network:
    """The network made of ``parts`` (everything that it depends on): read if it was made before, else ``make()``."""
    folder = cache_folder()
    if folder is None:
        return make()
    path = folder / f"{_key(parts)}.npz"
    with suppress(*_DAMAGED):
        network = read_network(path)
        os.utime(path)
        return network
    network = make()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_network(network, path)
        _make_room(folder)
    return network


def _key(parts: tuple[str | bytes, ...]) -> str:
    digest = hashlib.sha256(_loaders())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:40]


@cache
def _loaders() -> bytes:
    """What the loaders are: their source and what they read with."""
    digest = hashlib.sha256(version("pandapower").encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def _make_room(folder: Path) -> None:
    entries = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
    for path in entries[:-MOST_ENTRIES]:
        path.unlink(missing_ok=True)


# --- one network in one file -----------------------------------------------------------------------------------


def write_network(network: Network, path: Path) -> None:
    """Write ``network`` to ``path``, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    texts: dict[str, Any] = {}
    for name, value in _flat(network):
        if isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            texts[name] = value
    arrays[_TEXTS] = np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_network(path: Path) -> Network:
    """The network that :func:`write_network` wrote, to the bit.

    Raises:
        OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile: there is none, or it is damaged.
    """
    with path.open("rb") as file, np.load(file, allow_pickle=False) as entries:
        arrays = dict(entries)
    texts = json.loads(arrays.pop(_TEXTS).tobytes())
    network: Network = _build(Network, {**arrays, **texts}, "")
    return network


def _flat(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested tables by dotted name."""
    for each in fields(table):
        value = getattr(table, each.name)
        if is_dataclass(value):
            yield from _flat(value, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, value


def _build(kind: type[Any], leaves: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(kind)
    values = {}
    for each in fields(kind):
        name = prefix + each.name
        if is_dataclass(hints[each.name]):
            values[each.name] = _build(hints[each.name], leaves, name + ".")
        else:
            value = leaves[name]
            values[each.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
