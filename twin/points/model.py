"""Points, samples, quality and commands: the only things the control room knows of the plant.

Independent of every protocol; the protocols map onto this model (IEC 60870-5 quality,
DNP3 flags mapped onto it).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag

from twin.points.dnp3 import Dnp3Address
from twin.points.modbus import ModbusAddress
from twin.timebase import SimTime


class PointKind(Enum):
    """What a point is; inputs first, then outputs."""

    SINGLE = "single"
    DOUBLE = "double"
    MEASURAND = "measurand"
    COUNTER = "counter"
    STEP_POSITION = "step_position"
    BITSTRING = "bitstring"
    SINGLE_COMMAND = "single_command"
    DOUBLE_COMMAND = "double_command"
    STEP_COMMAND = "step_command"
    SETPOINT = "setpoint"
    BITSTRING_COMMAND = "bitstring_command"

    @property
    def is_output(self) -> bool:
        """True for what the control room sends."""
        return self in _OUTPUTS


_OUTPUTS = {
    PointKind.SINGLE_COMMAND,
    PointKind.DOUBLE_COMMAND,
    PointKind.STEP_COMMAND,
    PointKind.SETPOINT,
    PointKind.BITSTRING_COMMAND,
}


class Quality(IntFlag):
    """IEC 60870-5-101 quality descriptor, numbered as on the wire; ``GOOD`` is no flag set."""

    GOOD = 0
    OVERFLOW = 0x01
    BLOCKED = 0x10
    SUBSTITUTED = 0x20
    NOT_TOPICAL = 0x40
    INVALID = 0x80


class DoublePosition(IntEnum):
    """Double point values as on the wire (IEC 60870-5-101, 7.2.6.2)."""

    INTERMEDIATE = 0
    OPEN = 1
    CLOSED = 2
    FAULTY = 3


STEP_LOWER, STEP_HIGHER = -1.0, 1.0
"""Values of a STEP_COMMAND: one position down or up."""


class TimeSource(Enum):
    """Who stamped a sample."""

    DEVICE = "device"
    FRONT_END = "front_end"


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a point. ``value``: 0/1 for SINGLE, a DoublePosition for DOUBLE, 32 bits as an unsigned
    number for BITSTRING, else a number.

    ``source_t_ms`` is when it happened at the source, as simulation time.
    """

    station: str
    point: str
    value: float
    quality: Quality
    source_t_ms: SimTime
    spontaneous: bool = True
    stamped_by: TimeSource = TimeSource.DEVICE


class ControlModel(Enum):
    """How an output is operated."""

    DIRECT = "direct"
    SELECT_BEFORE_OPERATE = "select_before_operate"


class CommandPhase(Enum):
    """Where a command stands; the last five are final."""

    REQUESTED = "requested"
    SELECTED = "selected"
    EXECUTING = "executing"
    ACTIVATED = "activated"
    TERMINATED = "terminated"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PointAddress:
    """Where a point is found on IEC 60870-5-104: common address, information object address, type id."""

    common_address: int
    ioa: int
    type_id: int


@dataclass(frozen=True, slots=True)
class PointDefinition:
    """One row of a point map: a named quantity of a station, tied to equipment and to an address.

    ``equipment`` is the name in the network, ``quantity`` one of ``QUANTITIES``.
    ``feedback`` names, for an output, the input whose change is its check-back.
    ``dead_band`` is the change (in ``unit``) below which a measurand is not sent. ``modbus`` is where it is found on
    Modbus, None if it has no place there; ``dnp3`` its DNP3 address, None for the usual one of its kind.
    """

    station: str
    name: str
    kind: PointKind
    equipment: str
    quantity: str
    address: PointAddress
    unit: str = ""
    dead_band: float = 0.0
    feedback: str = ""
    control_model: ControlModel = ControlModel.SELECT_BEFORE_OPERATE
    modbus: ModbusAddress | None = None
    dnp3: Dnp3Address | None = None


QUANTITIES = (
    "position",  # DOUBLE: of a switch
    "i_a",  # MEASURAND: current through a switch, A
    "p_kw",  # MEASURAND: active power from the node into the branch, kW
    "q_kvar",  # MEASURAND: reactive power from the node into the branch, kvar
    "v_kv",  # MEASURAND: line-to-line voltage of a node, kV
    "fault_forward",  # SINGLE: fault passage away from the node, into the branch
    "fault_reverse",  # SINGLE: fault passage from the branch, into the node
    "trip",  # SINGLE: protection tripped the breaker (latched until the next close)
    "reclose_active",  # SINGLE: auto-reclose cycle in progress
    "fault_l1_a",  # MEASURAND: current of phase L1 when the protection tripped last, A; L2 and L3 alike
    "fault_l2_a",
    "fault_l3_a",
    "fault_x_ohm",  # MEASURAND: reactance of the fault loop then, ohm, positive into the branch
    "lockout",  # SINGLE: auto-reclose finished without success, breaker stays open
    "spring_charged",  # SINGLE: the drive has energy for the next operation
    "local",  # SINGLE: the bay is under local control, remote commands are refused
    "f_hz",  # MEASURAND: frequency at an under-frequency relay, Hz
    "ufls_trip",  # SINGLE: an under-frequency stage has tripped the breaker (latched until it is closed)
    *(f"ufls_armed_{stage}" for stage in range(1, 9)),  # SINGLE: this stage of the relay is armed
    *(f"arm_ufls_{stage}" for stage in range(1, 9)),  # SINGLE_COMMAND: arm (1) or disarm (0) this stage
    "operate",  # DOUBLE_COMMAND: open or close a switch
    "tap",  # STEP_POSITION: of a transformer's tap changer
    "steps_in",  # STEP_POSITION: steps of a capacitor bank that are in
    "step",  # STEP_COMMAND: one tap or capacitor step higher or lower
    "q_set_kvar",  # MEASURAND: set point in force of a unit's reactive power, kvar, positive as generation
    "set_q_kvar",  # SETPOINT: of a unit's reactive power, kvar
)
"""The quantities of this model; more join with their field devices."""
