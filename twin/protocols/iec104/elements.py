"""Information elements: the values inside an ASDU (IEC 60870-5-101, 7.2.6).

Each is a small value object; how it lies on the wire is in ``codecs``. Time tags are not in here: they
follow the element and are the same for every type.
"""

from __future__ import annotations

from dataclasses import dataclass

from twin.points.model import Quality

GOOD = Quality.GOOD


@dataclass(frozen=True, slots=True)
class Empty:
    """No element: the type is the whole message (read, clock synchronisation)."""


@dataclass(frozen=True, slots=True)
class SinglePoint:
    """SIQ."""

    value: bool
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class DoublePoint:
    """DIQ; ``position`` is 0 intermediate, 1 off, 2 on, 3 indeterminate."""

    position: int
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class StepPosition:
    """VTI and QDS; ``value`` -64…63."""

    value: int
    transient: bool = False
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class Bitstring:
    """BSI and QDS; 32 bits as an unsigned number."""

    value: int
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class NormalizedValue:
    """NVA and QDS; ``value`` -1…1-2⁻¹⁵ in steps of 2⁻¹⁵ (type 21 has no quality)."""

    value: float
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class ScaledValue:
    """SVA and QDS; a signed 16-bit number."""

    value: int
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class ShortFloat:
    """IEEE STD 754 single precision and QDS."""

    value: float
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class IntegratedTotal:
    """BCR: a signed 32-bit count with sequence number 0…31 and its three flags."""

    count: int
    sequence: int = 0
    carry: bool = False
    adjusted: bool = False
    invalid: bool = False


@dataclass(frozen=True, slots=True)
class PackedSinglePoints:
    """SCD and QDS: 16 states and 16 change marks."""

    states: int
    changes: int
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class ProtectionEvent:
    """SEP and the elapsed time; ``state`` 0…3, ``quality`` without overflow."""

    state: int
    elapsed_ms: int
    elapsed_invalid: bool = False
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class ProtectionStart:
    """SPE, QDP and the relay duration time; ``starts`` holds bits GS, SL1, SL2, SL3, SIE, SRD."""

    starts: int
    duration_ms: int
    elapsed_invalid: bool = False
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class ProtectionTrip:
    """OCI, QDP and the relay operating time; ``circuits`` holds bits GC, CL1, CL2, CL3."""

    circuits: int
    operating_ms: int
    elapsed_invalid: bool = False
    quality: Quality = GOOD


@dataclass(frozen=True, slots=True)
class SingleCommand:
    """SCO; ``qualifier`` QU 0…31 (0 not given, 1 short pulse, 2 long pulse, 3 persistent)."""

    value: bool
    select: bool = False
    qualifier: int = 0


@dataclass(frozen=True, slots=True)
class DoubleCommand:
    """DCO; ``position`` 1 off, 2 on (0 and 3 are not permitted, yet carried)."""

    position: int
    select: bool = False
    qualifier: int = 0


@dataclass(frozen=True, slots=True)
class StepCommand:
    """RCO; ``step`` 1 lower, 2 higher (0 and 3 are not permitted, yet carried)."""

    step: int
    select: bool = False
    qualifier: int = 0


@dataclass(frozen=True, slots=True)
class SetpointNormalized:
    """NVA and QOS; ``qualifier`` QL 0…127."""

    value: float
    select: bool = False
    qualifier: int = 0


@dataclass(frozen=True, slots=True)
class SetpointScaled:
    """SVA and QOS."""

    value: int
    select: bool = False
    qualifier: int = 0


@dataclass(frozen=True, slots=True)
class SetpointFloat:
    """IEEE STD 754 single precision and QOS."""

    value: float
    select: bool = False
    qualifier: int = 0


@dataclass(frozen=True, slots=True)
class BitstringCommand:
    """BSI without a qualifier."""

    value: int


@dataclass(frozen=True, slots=True)
class EndOfInitialization:
    """COI; ``cause`` 0 power on, 1 manual reset, 2 remote reset."""

    cause: int = 0
    parameters_changed: bool = False


@dataclass(frozen=True, slots=True)
class Interrogation:
    """QOI; 20 the station, 21…36 groups."""

    qualifier: int = 20


@dataclass(frozen=True, slots=True)
class CounterInterrogation:
    """QCC; ``request`` 1…4 groups, 5 general; ``freeze`` 0 read, 1 freeze, 2 freeze and reset, 3 reset."""

    request: int = 5
    freeze: int = 0


@dataclass(frozen=True, slots=True)
class ResetProcess:
    """QRP."""

    qualifier: int = 1


@dataclass(frozen=True, slots=True)
class TestWord:
    """FBP, the fixed test pattern, or TSC, the test sequence counter."""

    __test__ = False  # not a test case, whatever its name

    value: int


@dataclass(frozen=True, slots=True)
class ParameterNormalized:
    """NVA and QPM."""

    value: float
    qualifier: int


@dataclass(frozen=True, slots=True)
class ParameterScaled:
    """SVA and QPM."""

    value: int
    qualifier: int


@dataclass(frozen=True, slots=True)
class ParameterFloat:
    """IEEE STD 754 single precision and QPM."""

    value: float
    qualifier: int


@dataclass(frozen=True, slots=True)
class ParameterActivation:
    """QPA."""

    qualifier: int
