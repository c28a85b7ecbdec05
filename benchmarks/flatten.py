"""A network as peers without switches need it: live nodes only, couplers fused, open ends at nodes of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twin.network.model import Bools, Ints, LineSegments, Network, PowerTransformers
from twin.network.topology import Topology


@dataclass(frozen=True)
class Flat:
    """``network`` has no switches; ``node`` is the row in it of each node of the original, -1 where dead."""

    network: Network
    node: Ints


def flatten(network: Network, closed: Bools) -> Flat:
    """The network under one set of switch states."""
    topology = Topology(network)
    state = topology.state(closed)
    group = np.arange(network.nodes.n)
    for row in np.flatnonzero((network.switches.branch < 0) & closed):
        one, two = group[network.switches.node[row]], group[network.switches.other_node[row]]
        group[group == max(one, two)] = min(one, two)
    kept = np.unique(group[state.energised])
    row_of = np.full(network.nodes.n, -1, dtype=np.int32)
    row_of[kept] = np.arange(kept.size, dtype=np.int32)
    node = np.where(state.energised, row_of[group], -1).astype(np.int32)
    return _Flattening(network, node, kept, state.from_on, state.to_on).flat()


class _Flattening:
    def __init__(self, network: Network, node: Ints, kept: Any, from_on: Bools, to_on: Bools) -> None:
        self.network, self.node = network, node
        self.from_on, self.to_on = from_on, to_on
        self.names = [network.nodes.names[row] for row in kept]
        self.v_kv = network.nodes.v_nominal_kv[kept].tolist()

    def flat(self) -> Flat:
        network, node = self.network, self.node
        lines = self.branches(network.lines, 0)
        transformers = self.branches(network.transformers, network.lines.n)
        consumers, generators, shunts, sources = (
            self.at_nodes(table) for table in (network.consumers, network.generators, network.shunts, network.sources)
        )
        unknown = np.full(len(self.names), np.nan)
        nodes = replace(
            network.nodes, names=tuple(self.names), v_nominal_kv=np.array(self.v_kv), x=unknown, y=unknown.copy()
        )
        switches = _rows(network.switches, np.zeros(0, dtype=np.int64))
        flat = replace(
            network,
            nodes=nodes,
            lines=lines,
            transformers=transformers,
            switches=switches,
            consumers=consumers,
            generators=generators,
            shunts=shunts,
            sources=sources,
        )
        return Flat(flat, node)

    def at_nodes(self, table: Any) -> Any:
        kept = np.flatnonzero(self.node[table.node] >= 0)
        return replace(_rows(table, kept), node=self.node[table.node[kept]])

    def branches(self, table: LineSegments | PowerTransformers, first: int) -> Any:
        rows, ends = [], []
        for row in range(table.n):
            b = first + row
            one = int(self.node[table.node_from[row]]) if self.from_on[b] else -1
            two = int(self.node[table.node_to[row]]) if self.to_on[b] else -1
            if max(one, two) < 0:
                continue
            if one < 0:
                one = self.open_end(table.node_from[row], table.names[row])
            if two < 0:
                two = self.open_end(table.node_to[row], table.names[row])
            rows.append(row)
            ends.append((one, two))
        pairs = np.array(ends, dtype=np.int32).reshape(-1, 2)
        return replace(
            _rows(table, np.array(rows, dtype=np.int64)), node_from=pairs[:, 0].copy(), node_to=pairs[:, 1].copy()
        )

    def open_end(self, node: int, branch: str) -> int:
        self.names.append(f"open end of {branch}")
        self.v_kv.append(float(self.network.nodes.v_nominal_kv[node]))
        return len(self.names) - 1


def _rows(table: Any, rows: Any) -> Any:
    columns = {
        name: tuple(column[row] for row in rows) if isinstance(column, tuple) else column[rows]
        for name, column in vars(table).items()
    }
    return replace(table, **columns)
