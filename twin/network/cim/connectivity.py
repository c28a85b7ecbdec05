"""The node-breaker model of a CIM file: connectivity nodes, terminals, switches, busbar sections, containers.

For topology processing and as the ground of the loaders. Not for impedances.
"""

from __future__ import annotations

from dataclasses import dataclass

from twin.network.cim.reader import CimModel, CimObject
from twin.network.model import SwitchKind

SWITCH_KINDS = {
    "Breaker": SwitchKind.BREAKER,
    "Recloser": SwitchKind.BREAKER,
    "LoadBreakSwitch": SwitchKind.LOAD_BREAK_SWITCH,
    "Disconnector": SwitchKind.DISCONNECTOR,
    "Switch": SwitchKind.DISCONNECTOR,
    "Jumper": SwitchKind.DISCONNECTOR,
    "Cut": SwitchKind.DISCONNECTOR,
    "Fuse": SwitchKind.FUSE,
    "Sectionaliser": SwitchKind.LOAD_BREAK_SWITCH,
    "ProtectedSwitch": SwitchKind.BREAKER,
}
EARTHING = "GroundDisconnector"
SOURCES = ("EnergySource", "ExternalNetworkInjection", "EquivalentInjection", "SynchronousMachine")
BRANCHES = ("ACLineSegment", "PowerTransformer", "SeriesCompensator", "EquivalentBranch")
CONTAINERS = ("Bay", "VoltageLevel", "Substation", "Feeder", "Line", "BaseVoltage", "Region")
_OUT_OF = {
    "Bay": "Bay.VoltageLevel",
    "VoltageLevel": "VoltageLevel.Substation",
}


@dataclass(frozen=True, slots=True)
class CimTerminal:
    """A terminal by mRIDs; ``connected`` is False where the equipment is detached from its node."""

    mrid: str
    equipment: str
    node: str
    number: int
    connected: bool


@dataclass(frozen=True, slots=True)
class CimSwitch:
    """A switch between two connectivity nodes (an earthing switch has one node and ``node_b`` "")."""

    mrid: str
    name: str
    kind: str
    node_a: str
    node_b: str
    closed: bool
    normally_closed: bool
    retained: bool
    container: str


@dataclass(frozen=True)
class NodeBreakerModel:
    """All by mRID. ``nodes`` gives each connectivity node its container, ``containers`` each one its parent ("")."""

    name: str
    nodes: dict[str, str]
    terminals: dict[str, CimTerminal]
    switches: dict[str, CimSwitch]
    busbars: dict[str, str]
    branches: dict[str, tuple[str, ...]]
    sources: dict[str, str]
    containers: dict[str, str]
    names: dict[str, str]
    published: dict[str, frozenset[str]]
    """The topological nodes that the files themselves state (TP profile), with their connectivity nodes."""
    boundary: frozenset[str]
    """Nodes that terminals name, but that no file holds: they stand in a boundary profile."""

    def topological_nodes(self, closed: dict[str, bool] | None = None) -> dict[str, frozenset[str]]:
        """Connectivity nodes joined by closed switches, by the lowest mRID of each set; default: the present states.

        A retained switch stays a branch between two topological nodes even if it is closed.
        """
        return self._joined(closed, retained=False).sets()

    def _joined(self, closed: dict[str, bool] | None, *, retained: bool) -> _Joined:
        join = _Joined(self.nodes)
        for mrid, switch in self.switches.items():
            is_closed = switch.closed if closed is None else closed.get(mrid, switch.closed)
            if switch.node_b and is_closed and (retained or not switch.retained):
                join.union(switch.node_a, switch.node_b)
        return join

    def islands(self, closed: dict[str, bool] | None = None) -> dict[str, frozenset[str]]:
        """Connectivity nodes joined by closed switches and branches, by the lowest mRID of each set."""
        join = self._joined(closed, retained=True)
        for ends in self.branches.values():
            for other in ends[1:]:
                join.union(ends[0], other)
        return join.sets()


class _Joined:
    """Disjoint sets."""

    def __init__(self, items: dict[str, str]) -> None:
        self._parent = {item: item for item in items}

    def root(self, item: str) -> str:
        while self._parent[item] != item:
            self._parent[item] = item = self._parent[self._parent[item]]
        return item

    def union(self, a: str, b: str) -> None:
        a, b = sorted((self.root(a), self.root(b)))
        self._parent[b] = a

    def sets(self) -> dict[str, frozenset[str]]:
        members: dict[str, list[str]] = {}
        for item in self._parent:
            members.setdefault(self.root(item), []).append(item)
        return {root: frozenset(found) for root, found in members.items()}


def node_breaker(model: CimModel) -> NodeBreakerModel:
    """The connectivity of a CIM model.

    Raises:
        CimFileError: terminals or switches that lead nowhere; all findings.
    """
    terminals = {t.mrid: t for item in model.of("Terminal") if (t := _terminal(model, item))}
    of_equipment: dict[str, list[CimTerminal]] = {}
    for terminal in sorted(terminals.values(), key=lambda t: t.number):
        of_equipment.setdefault(terminal.equipment, []).append(terminal)
    nodes = {
        item.mrid: _one(item, "ConnectivityNode.ConnectivityNodeContainer") for item in model.of("ConnectivityNode")
    }
    if not nodes and not model.findings:
        first = next(iter(model.objects.values()))
        model.find(first, "and all others come without any ConnectivityNode: this is no node-breaker model")
    switches = {
        item.mrid: switch
        for item in model.of(*SWITCH_KINDS, EARTHING)
        if (switch := _switch(model, item, of_equipment.get(item.mrid, [])))
    }
    boundary = frozenset(terminal.node for terminal in terminals.values()) - nodes.keys()
    result = NodeBreakerModel(
        name=model.name,
        nodes=nodes | dict.fromkeys(sorted(boundary), ""),
        terminals=terminals,
        switches=switches,
        busbars=_first_nodes(model, of_equipment, ("BusbarSection",)),
        branches={
            item.mrid: tuple(t.node for t in of_equipment.get(item.mrid, ()) if t.connected)
            for item in model.of(*BRANCHES)
        },
        sources=_first_nodes(model, of_equipment, SOURCES),
        containers={item.mrid: _one(item, _OUT_OF.get(item.kind, "")) for item in model.of(*CONTAINERS)},
        names={item.mrid: item.name for item in model.objects.values()},
        published=_published(model),
        boundary=boundary,
    )
    model.check()
    return result


def _one(item: CimObject, key: str) -> str:
    return item.references.get(key, [""])[0]


def _terminal(model: CimModel, item: CimObject) -> CimTerminal | None:
    equipment = model.target(item, "Terminal.ConductingEquipment")
    node = _one(item, "Terminal.ConnectivityNode")
    if not node and equipment is not None and equipment.kind == "Junction":
        return None  # joins nothing: boundary profiles of CGMES 2.4.15 hold such beside node-breaker models
    if not node:
        model.find(item, "has no Terminal.ConnectivityNode")
    if not node or equipment is None:
        return None
    number = model.number(item, "ACDCTerminal.sequenceNumber", model.number(item, "Terminal.sequenceNumber", 1))
    connected = model.flag(item, "ACDCTerminal.connected", True)
    return CimTerminal(item.mrid, equipment.mrid, node, int(number), connected)


def _switch(model: CimModel, item: CimObject, terminals: list[CimTerminal]) -> CimSwitch | None:
    earthing = item.kind == EARTHING
    if len(terminals) != (1 if earthing else 2):
        model.find(item, f"has {len(terminals)} terminals")
        return None
    normally_open = model.flag(item, "Switch.normalOpen")
    attached = all(terminal.connected for terminal in terminals)
    return CimSwitch(
        mrid=item.mrid,
        name=item.name,
        kind=item.kind,
        node_a=terminals[0].node,
        node_b="" if earthing else terminals[1].node,
        closed=attached and not model.flag(item, "Switch.open", normally_open),
        normally_closed=not normally_open,
        retained=model.flag(item, "Switch.retained"),
        container=_one(item, "Equipment.EquipmentContainer"),
    )


def _first_nodes(model: CimModel, of_equipment: dict[str, list[CimTerminal]], kinds: tuple[str, ...]) -> dict[str, str]:
    found = {item.mrid: of_equipment.get(item.mrid, []) for item in model.of(*kinds)}
    return {mrid: terminals[0].node for mrid, terminals in found.items() if terminals and terminals[0].connected}


def _published(model: CimModel) -> dict[str, frozenset[str]]:
    by_node = model.referring(("ConnectivityNode",), "ConnectivityNode.TopologicalNode")
    return {mrid: frozenset(node.mrid for node in nodes) for mrid, nodes in by_node.items()}
