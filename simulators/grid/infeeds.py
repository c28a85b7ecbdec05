"""The plant with every infeed behind a coupling of its own, so that one can be lost and a machine can feed an island.

An external network moves to a terminal node behind a coupling switch; each generating unit with machines gets such a
terminal too, for the time in which it feeds an island alone. Nodes, switches and sources are appended: rows of the
plant's own equipment stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from twin.network.model import Bools, ConnectivityNodes, ExternalNetworks, Network, Switches, SwitchKind
from twin.solvers import PowerFlowResult, ShortCircuitResult

SUBTRANSIENT_REACTANCE = 0.2
"""x''d of a machine on its rating: what it feeds into a short circuit while it leads an island."""
MACHINE_RX = 0.1


def with_couplings(network: Network, units: Sequence[int], v_pu: Sequence[float], rated_kw: Sequence[float]) -> Network:
    """``network`` with a coupling for each of its sources, then for each of the generating units in ``units``.

    ``v_pu`` is the voltage and ``rated_kw`` the rating of each unit when it feeds an island.
    """
    rows = np.asarray(units, dtype=np.intp)
    inner = np.concatenate([network.sources.node, network.generators.node[rows]]).astype(np.int32)
    names = (*network.sources.names, *(network.generators.names[row] for row in units))
    terminal = (network.nodes.n + np.arange(len(names))).astype(np.int32)
    none = np.full(len(names), -1, dtype=np.int32)
    sources = _appended(
        network.sources,
        names=tuple(f"{network.generators.names[row]}/machine" for row in units),
        node=terminal[network.sources.n :],
        v_pu=np.asarray(v_pu, dtype=np.float64),
        angle_rad=np.zeros(len(units)),
        s_sc_mva=np.asarray(rated_kw, dtype=np.float64) / 1000.0 / SUBTRANSIENT_REACTANCE,
        rx=np.full(len(units), MACHINE_RX),
    )
    return replace(
        network,
        nodes=_appended(
            network.nodes,
            names=tuple(f"{name}/terminal" for name in names),
            v_nominal_kv=network.nodes.v_nominal_kv[inner],
        ),
        switches=_appended(
            network.switches,
            names=tuple(f"{name}/coupling" for name in names),
            kind=np.full(len(names), SwitchKind.BREAKER, dtype=np.int32),
            node=inner,
            branch=none,
            side=none,
            other_node=terminal,
            normally_closed=np.arange(len(names)) < network.sources.n,
            feeder_head=np.zeros(len(names), dtype=np.bool_),
        ),
        sources=replace(sources, node=terminal),
    )


Table = TypeVar("Table", ConnectivityNodes, Switches, ExternalNetworks)


def _appended(table: Table, **columns: Any) -> Table:
    """The table with rows behind its own; what is not given is unknown (NaN)."""
    n: int = len(columns["names"])
    values = {field.name: _longer(getattr(table, field.name), columns.get(field.name), n) for field in fields(table)}
    return replace(table, **values)


def _longer(own: Any, more: Any, n: int) -> Any:
    if isinstance(own, tuple):
        return (*own, *(("",) * n if more is None else more))
    return np.concatenate([own, np.full(n, np.nan) if more is None else more])


_OF_NODES = ("v_pu", "angle_rad", "energised")


def without_terminals(flow: PowerFlowResult, n_nodes: int) -> PowerFlowResult:
    """The part of a result that concerns the plant's own nodes."""
    values = {field.name: getattr(flow, field.name) for field in fields(PowerFlowResult)}
    return PowerFlowResult(**{name: v[:n_nodes] if name in _OF_NODES else v for name, v in values.items()})


def fault_without_terminals(result: ShortCircuitResult, n_nodes: int) -> ShortCircuitResult:
    """As :func:`without_terminals`, of a short circuit."""
    return replace(result, v_pu=result.v_pu[:n_nodes])


def all_positions(closed: Bools, couplings: Bools) -> Bools:
    """Switch positions of the network with couplings."""
    return np.concatenate([closed, couplings])
