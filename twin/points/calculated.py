"""Calculated points: what an application of the control room publishes, in the form of a point.

They are read like telemetered points and marked by their station, which no station of a point map may be called. The
field cannot write them: the point database takes them from applications only.
"""

from __future__ import annotations

from twin.points.model import PointAddress, PointDefinition, PointKind

CALCULATED = "calculated"
"""The station name of all calculated points."""

_NO_ADDRESS = PointAddress(0, 0, 0)


def calculated_point(
    owner: str, quantity: str, unit: str = "", *, equipment: bool = True, kind: PointKind = PointKind.MEASURAND
) -> PointDefinition:
    """The point ``OWNER.QUANTITY``, of an equipment (``L3-8.se_p_kw``) or an application (``state_estimation.nodes``).

    ``unit`` is a symbol of ``twin.units.Unit`` and empty for plain numbers; ``kind`` is MEASURAND, or SINGLE for a
    truth value.
    """
    return PointDefinition(
        station=CALCULATED,
        name=f"{owner}.{quantity}",
        kind=kind,
        equipment=owner if equipment else "",
        quantity=quantity,
        address=_NO_ADDRESS,
        unit=unit,
    )


def is_calculated(definition: PointDefinition) -> bool:
    """True for a calculated point."""
    return definition.station == CALCULATED
