"""The interlock against loops that nobody meant: for what applications close.

A plan is checked when it is made. Between that and the command another plan, a crew or an operator may have fed the far
side; then the closing would make a loop, or put two infeeds in parallel.
"""

from __future__ import annotations

from collections.abc import Callable

from twin.network.model import EquipmentKind, Network
from twin.scada.authority import Role
from twin.scada.interlocks import CommandRequest, PlantView
from twin.scada.reach import ZoneReach
from twin.scada.tags import SwitchAction

Meant = Callable[[str, int | None], bool]
"""From a plan's id and the number of its step to whether that step was planned to close a loop."""


class LoopInterlock:
    """An application closes no switch with supply at both sides, unless its plan was made so."""

    name = "loop"

    def __init__(self, network: Network, meant: Meant) -> None:
        self._network, self._meant = network, meant
        self._reach = ZoneReach(network)

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """See :class:`twin.scada.interlocks.Interlock`."""
        found = self._network.find(request.output.equipment)
        if request.action is not SwitchAction.CLOSE or request.originator.role is not Role.APPLICATION:
            return ""
        if found is None or found.kind is not EquipmentKind.SWITCH or self._meant(request.plan_id, request.plan_step):
            return ""
        if not all(self._reach.is_fed(side) for side in self._reach.beyond(found.index, view)):
            return ""
        return f"both sides of {request.output.equipment} are or may be supplied, and its plan means no loop"
