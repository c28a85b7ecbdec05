"""Networks by name or file: what a scenario's ``network:`` means.

A specification is a shipped name (``cigre_mv``, ``mv_oberrhein``), a network function of pandapower
(``pandapower:case33bw``), or the path of a pandapower JSON file or a CIM file (RDF/XML, or a zip of profiles).
"""

from __future__ import annotations

import difflib
import inspect
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twin.errors import Blame, TwinError
from twin.network.cache import kept
from twin.network.cim import load_balanced
from twin.network.model import Network
from twin.network.pandapower_loader import LoaderOptions, load_pandapower

_CIM_SUFFIXES = (".xml", ".zip")
PANDAPOWER_PREFIX = "pandapower:"
_TRUSTED_MODULES = frozenset({"pandapower", "pandas", "numpy", "networkx", "shapely", "geopandas", "builtins"})
_MODULE = re.compile(r'_module\\*"\s*:\s*\\*"([^"\\]*)')


class UnknownNetworkError(TwinError):
    """A network specification names nothing that is known or on disk."""

    blame = Blame.SCENARIO

    def __init__(self, spec: str, *, nearest: str = "", known: Iterable[str] = ()) -> None:
        self.spec = spec
        self.nearest = nearest
        others = f"known are {', '.join(known)} and pandapower JSON or CIM files"
        hint = f"did you mean {nearest}?" if nearest else others
        super().__init__(f"there is no network {spec}; {hint}")


class NetworkFileError(TwinError):
    """A network file cannot be read as a pandapower net."""

    blame = Blame.SCENARIO

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} is not a pandapower network file: {reason}")


def load_network(spec: str, *, base_dir: Path | None = None, options: LoaderOptions | None = None) -> Network:
    """The network that ``spec`` names; relative paths start at ``base_dir`` (default: the working directory).

    ``options`` replace those that a shipped name brings along. What was read once is kept in the user's cache folder
    (:mod:`twin.network.cache`).

    Raises:
        UnknownNetworkError: no such name or file; suggests the nearest.
        NetworkFileError: the file is no pandapower net.
        CimFileError: the file is no CIM model of a balanced network.
        UnsupportedNetworkError: the net holds what is not supported, all findings at once.
    """
    chosen = options.model_dump_json() if options else ""
    if spec in _SHIPPED:
        return kept((spec, chosen), lambda: _SHIPPED[spec](options))
    if spec.startswith(PANDAPOWER_PREFIX):
        return kept((spec, chosen), lambda: _pandapower_network(spec, options))
    path = (base_dir or Path()) / spec
    if path.is_file():
        return kept((path.name, chosen, path.read_bytes()), lambda: _network_file(path, options))
    raise _unknown(spec, [*_SHIPPED, *_nearby_files(path)])


def _network_file(path: Path, options: LoaderOptions | None) -> Network:
    if path.suffix.lower() in _CIM_SUFFIXES:
        return load_balanced(path)
    return load_pandapower(read_pandapower_file(path), name=path.stem, options=options)


def network_names() -> tuple[str, ...]:
    """The names that are shipped."""
    return tuple(_SHIPPED)


def _unknown(spec: str, candidates: list[str]) -> UnknownNetworkError:
    nearest = difflib.get_close_matches(spec, candidates, n=1, cutoff=0.5)
    return UnknownNetworkError(spec, nearest=nearest[0] if nearest else "", known=_SHIPPED)


def _nearby_files(path: Path) -> list[str]:
    suffixes = (".json", *_CIM_SUFFIXES)
    folder = path.parent
    return sorted(file.name for file in folder.iterdir() if file.suffix in suffixes) if folder.is_dir() else []


# --- shipped ---------------------------------------------------------------------------------------------------


def cigre_mv(options: LoaderOptions | None = None) -> Network:
    """The CIGRE MV benchmark (Task Force C6.04.02, 2014), 15 nodes at 110 and 20 kV, without DER.

    Its three normally open switches S1 (14-8), S2 (6-7) and S3 (11-4) are ``TIE_1``, ``TIE_2`` and ``TIE_3``,
    at the end where CIGRE draws them open (N8, N7, N4). Beyond the publication, so that there is something to operate:
    every line has a load break switch at each end that has no switch (ring main units), each feeder a breaker
    at its busbar (``CB_1`` on L1-2 at N1, ``CB_2`` on L12-13 at N12), each transformer a breaker on both sides.
    """
    from pandapower.networks import create_cigre_network_mv

    net = _quietly(create_cigre_network_mv)
    net.switch = net.switch.sort_values("name", kind="stable", na_position="last", ignore_index=True)
    return load_pandapower(
        net, name="cigre_mv", options=options or LoaderOptions(ring_main_units=True, transformer_breakers=True)
    )


def mv_oberrhein(options: LoaderOptions | None = None) -> Network:
    """The generic 20 kV network "Oberrhein" of pandapower (179 nodes, two primary substations), high load scenario.

    Its load break switches are those of the publication, the four breakers at the busbars are the feeder
    heads. Its external grids state no short-circuit power; the defaults of :class:`LoaderOptions` stand in.
    Read from pandapower's data file, because pandapower's own function also solves it, which takes seconds.
    """
    from pandapower import pp_dir

    net = read_pandapower_file(Path(pp_dir) / "networks" / "mv_oberrhein.json")
    net.load["scaling"], net.sgen["scaling"] = 0.6, 0.0
    net.load["q_mvar"] = net.load["p_mw"] * math.tan(math.acos(0.98))
    net.trafo["tap_pos"] = [-2.0, -3.0]
    return load_pandapower(net, name="mv_oberrhein", options=options)


_SHIPPED: dict[str, Callable[[LoaderOptions | None], Network]] = {"cigre_mv": cigre_mv, "mv_oberrhein": mv_oberrhein}


# --- pandapower's own ------------------------------------------------------------------------------------------


def _quietly(create: Callable[[], Any]) -> Any:
    """Call a pandapower function without its deprecation warnings, which concern its own data files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return create()


def _network_functions() -> dict[str, Callable[[], Any]]:
    """The functions of ``pandapower.networks`` that can be called without arguments."""
    import pandapower.networks

    found = vars(pandapower.networks).items()
    return {name: function for name, function in found if not name.startswith("_") and _parameterless(function)}


def _parameterless(function: Any) -> bool:
    if not inspect.isfunction(function) or not function.__module__.startswith("pandapower.networks"):
        return False
    optional = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters.values()
    return all(p.default is not inspect.Parameter.empty or p.kind in optional for p in parameters)


_PUBLISHED_OPEN_LINES = LoaderOptions(out_of_service_lines="open", ring_main_units=True)
"""For cases whose tie lines are published as lines out of service."""

_CASE_OPTIONS = {"case33bw": _PUBLISHED_OPEN_LINES}


def _pandapower_network(spec: str, options: LoaderOptions | None) -> Network:
    name = spec.removeprefix(PANDAPOWER_PREFIX)
    functions = _network_functions()
    if name not in functions:
        raise _unknown(spec, [PANDAPOWER_PREFIX + known for known in functions])
    net = _quietly(functions[name])
    if not _is_net(net):
        raise _unknown(spec, list(_SHIPPED))
    return load_pandapower(net, name=name, options=options or _CASE_OPTIONS.get(name))


def _is_net(net: Any) -> bool:
    return isinstance(net, dict) and "bus" in net and "ext_grid" in net


# --- files -----------------------------------------------------------------------------------------------------


def read_pandapower_file(path: Path) -> Any:
    """The pandapower net in a JSON file.

    pandapower's reader imports whatever module a file names, so files that name other modules than those
    of pandapower and its data types are refused.

    Raises:
        NetworkFileError: the file is not JSON, no pandapower net, or names a foreign module.
    """
    from pandapower.file_io import from_json_string

    text = path.read_text(encoding="utf-8", errors="replace")
    _check_json(path, text)
    net = _quietly(lambda: from_json_string(text))
    if not _is_net(net):
        raise NetworkFileError(path, "it holds no bus and ext_grid tables")
    return net


def _check_json(path: Path, text: str) -> None:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise NetworkFileError(path, f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    if not isinstance(data, dict) or data.get("_class") != "pandapowerNet":
        raise NetworkFileError(path, "its top level is not a pandapowerNet")
    for module in _MODULE.findall(text):
        if module.split(".")[0] not in _TRUSTED_MODULES:
            raise NetworkFileError(path, f"it asks for the module {module}, which is not part of pandapower")
