"""The interlock against energising what is earthed, by the positions that are reported.

Everything that the closing would join counts, over all switches that are or may be closed, up to transformers and
beyond: an earth behind a transformer is a load that no command should meet either.
"""

from __future__ import annotations

from twin.network.model import EquipmentKind, Network
from twin.points.model import DoublePosition
from twin.scada.interlocks import CommandRequest, PlantView
from twin.scada.reach import ZoneReach
from twin.scada.tags import SwitchAction


class EarthInterlock:
    """No switch is closed towards an earthing switch that is closed, or whose position is not known.

    An earthing switch without a point stands as it normally does; a switch of unknown position counts as closed.
    Joining two dead parts is left to whoever asks for it, and so is joining two live ones.
    """

    name = "earth"

    def __init__(self, network: Network) -> None:
        self._network = network
        self._reach = ZoneReach(network)
        earthing = network.earthing
        self._earths: dict[int, list[int]] = {}
        for row in range(earthing.n):
            branch = int(earthing.branch[row])
            zones = self._reach.branch_zone if branch >= 0 else self._reach.node_zone
            self._earths.setdefault(int(zones[branch if branch >= 0 else earthing.node[row]]), []).append(row)

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """See :class:`twin.scada.interlocks.Interlock`."""
        found = self._network.find(request.output.equipment)
        if request.action is not SwitchAction.CLOSE or not self._earths or found is None:
            return ""
        if found.kind is not EquipmentKind.SWITCH:
            return ""
        dead = [side for side in self._reach.beyond(found.index, view) if not self._reach.is_fed(side)]
        if len(dead) != 1:
            return ""
        for zone in sorted(dead[0] & self._earths.keys()):
            for row in self._earths[zone]:
                if why := self._earths_now(row, view):
                    return f"closing {request.output.equipment} would energise {why}"
        return ""

    def _earths_now(self, row: int, view: PlantView) -> str:
        """What an earthing switch earths, empty if it is open."""
        earthing = self._network.earthing
        name, place = earthing.names[row], self._network.nodes.names[earthing.node[row]]
        if earthing.branch[row] >= 0:
            place = self._network.branch_names[earthing.branch[row]]
        reading = view.reading(name, "position")
        if reading is None:
            return f"{place}, which {name} earths" if earthing.normally_closed[row] else ""
        if reading.good and reading.value == DoublePosition.OPEN:
            return ""
        if reading.good and reading.value == DoublePosition.CLOSED:
            return f"{place}, which {name} earths"
        return f"{place}, and the position of its earthing switch {name} is not known"
