"""What a short-circuit study assumes, and the words it has for data that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from twin.errors import Blame, TwinError
from twin.network.model import Floats
from twin.solvers.model import FaultPoint

_LISTED = 20

_VOLTAGE_FACTORS = {("max", 6): (1.05, 1.1), ("max", 10): (1.1, 1.1), ("min", 6): (0.95, 1.0), ("min", 10): (0.9, 1.0)}
"""c of low voltage and of everything above, IEC 60909-0:2016, table 1."""


class ShortCircuitSettings(BaseModel):
    """The case of IEC 60909-0:2016 to calculate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: Literal["max", "min"] = Field(
        default="max", description="Largest currents (rating of equipment) or smallest (sensitivity of protection)"
    )
    lv_tolerance_percent: Literal[6, 10] = Field(
        default=10, description="Voltage tolerance of low-voltage systems, which decides the voltage factor c there"
    )
    end_temperature_c: float = Field(
        default=80.0,
        ge=20,
        le=300,
        description="Temperature of the conductors at the end of the short circuit, degrees Celsius, minimum case only",
    )
    generators_feed_islands: bool = Field(
        default=False,
        description="Islands with a synchronous machine but no external network feed their faults; "
        "otherwise they are dead, as in the power flow",
    )

    def voltage_factor(self, v_kv: Floats) -> Floats:
        """c of IEC 60909-0:2016, table 1, for nominal voltages in kV."""
        low, high = _VOLTAGE_FACTORS[self.case, self.lv_tolerance_percent]
        return np.where(v_kv <= 1.0, low, high)


class MissingShortCircuitDataError(TwinError):
    """The network lacks data that a short-circuit current needs; ``findings`` says which of which equipment."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, findings: Sequence[str]) -> None:
        self.network = network
        self.findings = tuple(findings)
        super().__init__(f"network {network} lacks data for short circuits: {listed(self.findings, '; ')}")


class InconsistentPhaseShiftError(TwinError):
    """Transformers in parallel turn the phases by different angles: closed, that loop is itself a short circuit."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, transformers: tuple[str, ...]) -> None:
        self.network = network
        self.transformers = transformers
        super().__init__(
            f"network {network}: transformer {listed(transformers)} closes a loop whose phase shifts do not agree"
        )


class FaultPointError(TwinError):
    """A fault point that is nowhere in the network."""

    blame = Blame.SCENARIO

    def __init__(self, fault: FaultPoint, reason: str) -> None:
        self.fault = fault
        self.reason = reason
        super().__init__(f"the fault point is not in the network: {reason}")


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return separator.join(names[:_LISTED]) + more
