"""Which steps of a plan close a loop on purpose, as things stand when the plan is made."""

from __future__ import annotations

from twin.dms.plan import Plan, StepAction
from twin.network.model import Network
from twin.scada.interlocks import PlantView
from twin.scada.reach import ZoneReach


class PlannedLoops:
    """Plays the steps of a plan through on the positions that are reported."""

    def __init__(self, network: Network, view: PlantView) -> None:
        self._rows = {name: row for row, name in enumerate(network.switches.names)}
        self._reach, self._view = ZoneReach(network), view

    def __call__(self, plan: Plan) -> tuple[int, ...]:
        """The numbers of the steps that close a switch with supply at both sides."""
        changed: dict[int, bool] = {}
        found = []
        for step in plan.steps:
            if step.action not in (StepAction.OPEN, StepAction.CLOSE):
                continue
            row, closing = self._rows[step.equipment], step.action is StepAction.CLOSE
            if closing and all(self._reach.is_fed(s) for s in self._reach.beyond(row, self._view, changed)):
                found.append(step.number)
            changed[row] = closing
        return tuple(found)
