"""How the compiled loops are compiled, and when what lies in the cache on disk still holds.

numba renews the cache of a function by the date of its own file, not of those that it calls. The loops of this package
call each other across files, so that the contents of all of them are part of what they are found by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache

_F = TypeVar("_F", bound=Callable[..., Any])


def digest_of(folder: Path) -> str:
    """What the sources in a folder contain."""
    contents = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        contents.update(file.name.encode() + b"\0" + file.read_bytes())
    return contents.hexdigest()


_SOURCES = digest_of(Path(__file__).parent)


class _PackageCache(FunctionCache):  # type: ignore[misc]
    """A cache whose entries hold for the present sources of this package alone."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _SOURCES)


def compiled(function: _F) -> _F:
    """``function`` compiled at its first call and cached on disk, where a place to write is found at all."""
    return cached(function, {"nogil": True, "error_model": "numpy"})


def inner(function: _F) -> _F:
    """``function`` compiled for the calls of other compiled ones alone, which saves most of its compile time."""
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cached(function, {"nogil": True, "error_model": "numpy", **wrappers})


def cached(function: _F, options: dict[str, Any]) -> _F:
    """``function`` compiled with these options of numba."""
    dispatcher = numba.njit(**options)(function)
    with suppress(RuntimeError):  # numba: neither beside the file nor in a folder of the user can a cache be written
        dispatcher._cache = _PackageCache(function)
    return dispatcher  # type: ignore[no-any-return]
