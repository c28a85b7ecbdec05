"""Requests that a session sends on order: tests, resets, parameters (IEC 60870-5-101, 7.4.9)."""

from __future__ import annotations

from enum import IntEnum

from twin.points.model import PointDefinition
from twin.protocols.iec104 import (
    TEST_PATTERN,
    TYPES,
    Asdu,
    Cause,
    Direction,
    InformationObject,
    TimeTag,
    TypeId,
    UnencodableValueError,
    plain_type,
)
from twin.protocols.iec104.elements import (
    ParameterActivation,
    ParameterFloat,
    ParameterNormalized,
    ParameterScaled,
    ResetProcess,
    TestWord,
)

NOT_IN_OPERATION = 0x80
_ACTIVATION = int(Cause.ACTIVATION)


class ParameterKind(IntEnum):
    """What a parameter of a measured value is (QPM)."""

    THRESHOLD = 1
    SMOOTHING = 2
    LOW_LIMIT = 3
    HIGH_LIMIT = 4


class Activates(IntEnum):
    """What an activation of parameters is for (QPA)."""

    ALL_LOADED = 1
    THIS_OBJECT = 2
    CYCLIC_TRANSMISSION = 3


def is_answer(type_id: int) -> bool:
    """Whether a station's ASDU of this type answers one of these requests."""
    spec = TYPES.get(type_id)
    return type_id in _SYSTEM_ANSWERS or (spec is not None and spec.direction is Direction.PARAMETER)


_SYSTEM_ANSWERS = (TypeId.C_TS_NA_1, TypeId.C_TS_TA_1, TypeId.C_RP_NA_1)


def connection_test(common_address: int) -> Asdu:
    """C_TS_NA_1: the fixed pattern, to be mirrored."""
    return Asdu(TypeId.C_TS_NA_1, _ACTIVATION, common_address, (InformationObject(0, TestWord(TEST_PATTERN)),))


def counted_test(common_address: int, counter: int, tag: TimeTag) -> Asdu:
    """C_TS_TA_1: a counter and the time, to be mirrored."""
    return Asdu(TypeId.C_TS_TA_1, _ACTIVATION, common_address, (InformationObject(0, TestWord(counter), tag),))


def process_reset(common_address: int, qualifier: int = 1) -> Asdu:
    """C_RP_NA_1: 1 a general reset, 2 of pending information with time tag."""
    return Asdu(TypeId.C_RP_NA_1, _ACTIVATION, common_address, (InformationObject(0, ResetProcess(qualifier)),))


def load_parameter(point: PointDefinition, kind: ParameterKind, value: float, *, in_operation: bool = True) -> Asdu:
    """P_ME_NA_1 to P_ME_NC_1, by the type of the measured value.

    Raises:
        UnencodableValueError: the point is no measured value with parameters.
    """
    qualifier = kind | (0 if in_operation else NOT_IN_OPERATION)
    element: ParameterNormalized | ParameterScaled | ParameterFloat
    match plain_type(point.address.type_id):
        case TypeId.M_ME_NA_1:
            type_id, element = TypeId.P_ME_NA_1, ParameterNormalized(value, qualifier)
        case TypeId.M_ME_NB_1:
            type_id, element = TypeId.P_ME_NB_1, ParameterScaled(round(value), qualifier)
        case TypeId.M_ME_NC_1:
            type_id, element = TypeId.P_ME_NC_1, ParameterFloat(value, qualifier)
        case other:
            raise UnencodableValueError("parameter of type", other, "a measured value: type 9, 11 or 13")
    address = point.address
    return Asdu(type_id, _ACTIVATION, address.common_address, (InformationObject(address.ioa, element),))


def activate_parameter(common_address: int, ioa: int, what: Activates, *, on: bool = True) -> Asdu:
    """P_AC_NA_1; ``ioa`` is 0 for all that were loaded."""
    cause = Cause.ACTIVATION if on else Cause.DEACTIVATION
    return Asdu(TypeId.P_AC_NA_1, int(cause), common_address, (InformationObject(ioa, ParameterActivation(what)),))
