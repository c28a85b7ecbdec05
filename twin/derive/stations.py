"""Stations of a network: one RTU at each busbar that has switches to operate."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from twin.derive.options import DeriveOptions
from twin.derive.settings import Station
from twin.network.model import Network, SwitchKind
from twin.network.switchgear import unique

_NUMBERED_NODE = re.compile(r"^N(\d+)$")


def derive_stations(network: Network, options: DeriveOptions) -> tuple[Station, ...]:
    """One station for each busbar with at least one switch other than a fuse, in the order of the nodes.

    Nodes joined by bus-bus switches are one busbar; the station is named after its lowest node (``RTU_12``
    for ``N12``). Common addresses count from 1. Bays are in the order of the network's switches, so that a switch
    added later comes last.
    """
    busbar = _busbars(network)
    bays: dict[int, list[int]] = {}
    for switch in np.flatnonzero(network.switches.kind != SwitchKind.FUSE):
        bays.setdefault(busbar[network.switches.node[switch]], []).append(int(switch))
    members: dict[int, list[int]] = {}
    for row, node in enumerate(busbar):
        members.setdefault(node, []).append(row)
    lowest = sorted(bays)
    remote = _remote(network, [bays[node] for node in lowest], options)
    names: dict[str, None] = {}
    for node in lowest:
        names[unique(_station_name(network.nodes.names[node]), names)] = None
    return tuple(
        Station(
            name=name,
            common_address=number,
            nodes=tuple(network.nodes.names[i] for i in members[node]),
            bays=tuple(network.switches.names[i] for i in bays[node]),
            remote=is_remote,
        )
        for number, (name, node, is_remote) in enumerate(zip(names, lowest, remote, strict=True), start=1)
    )


def _busbars(network: Network) -> list[int]:
    """The lowest node of the busbar of each node."""
    busbar = list(range(network.nodes.n))

    def lowest(node: int) -> int:
        while busbar[node] != node:
            node = busbar[node]
        return node

    s = network.switches
    for switch in np.flatnonzero(s.branch < 0):
        low, high = sorted((lowest(int(s.node[switch])), lowest(int(s.other_node[switch]))))
        busbar[high] = low
    return [lowest(node) for node in range(network.nodes.n)]


def _remote(network: Network, bays: Sequence[Sequence[int]], options: DeriveOptions) -> list[bool]:
    if options.remote == "all":
        return [True] * len(bays)
    key = network.switches.feeder_head | network.switches.tie
    remote = [bool(key[list(switches)].any()) for switches in bays]
    others = [i for i, chosen in enumerate(remote) if not chosen]
    if options.every_nth:
        for i in others[options.every_nth - 1 :: options.every_nth]:
            remote[i] = True
    return remote


def _station_name(node: str) -> str:
    numbered = _NUMBERED_NODE.match(node)
    return f"RTU_{numbered.group(1) if numbered else node}"
