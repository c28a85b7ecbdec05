"""The table of type identifications (IEC 60870-5-101, 7.2.1, as selected by IEC 60870-5-104).

Supporting one more type is one more row here, and an element codec where it has a new element.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from twin.protocols.iec104 import codecs
from twin.protocols.iec104.codecs import ElementCodec
from twin.protocols.iec104.timetag import TIME_TAG_SIZE


class TypeId(IntEnum):
    """Type identifications under their standard names."""

    M_SP_NA_1 = 1
    M_DP_NA_1 = 3
    M_ST_NA_1 = 5
    M_BO_NA_1 = 7
    M_ME_NA_1 = 9
    M_ME_NB_1 = 11
    M_ME_NC_1 = 13
    M_IT_NA_1 = 15
    M_PS_NA_1 = 20
    M_ME_ND_1 = 21
    M_SP_TB_1 = 30
    M_DP_TB_1 = 31
    M_ST_TB_1 = 32
    M_BO_TB_1 = 33
    M_ME_TD_1 = 34
    M_ME_TE_1 = 35
    M_ME_TF_1 = 36
    M_IT_TB_1 = 37
    M_EP_TD_1 = 38
    M_EP_TE_1 = 39
    M_EP_TF_1 = 40
    C_SC_NA_1 = 45
    C_DC_NA_1 = 46
    C_RC_NA_1 = 47
    C_SE_NA_1 = 48
    C_SE_NB_1 = 49
    C_SE_NC_1 = 50
    C_BO_NA_1 = 51
    C_SC_TA_1 = 58
    C_DC_TA_1 = 59
    C_RC_TA_1 = 60
    C_SE_TA_1 = 61
    C_SE_TB_1 = 62
    C_SE_TC_1 = 63
    C_BO_TA_1 = 64
    M_EI_NA_1 = 70
    C_IC_NA_1 = 100
    C_CI_NA_1 = 101
    C_RD_NA_1 = 102
    C_CS_NA_1 = 103
    C_TS_NA_1 = 104
    C_RP_NA_1 = 105
    C_TS_TA_1 = 107
    P_ME_NA_1 = 110
    P_ME_NB_1 = 111
    P_ME_NC_1 = 112
    P_AC_NA_1 = 113


class Direction(Enum):
    """Who may send a type; process information travels many objects at a time, the rest one."""

    MONITOR = "process information in monitor direction"
    CONTROL = "process information in control direction"
    SYSTEM = "system information"
    PARAMETER = "parameter in control direction"


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """One row: the element, whether a CP56Time2a follows it, and who sends it."""

    type_id: TypeId
    codec: ElementCodec
    direction: Direction
    tagged: bool = False

    @property
    def size(self) -> int:
        """Octets of one object after its address."""
        return self.codec.size + (TIME_TAG_SIZE if self.tagged else 0)

    @property
    def many(self) -> bool:
        """Whether one ASDU may hold several objects, and SQ = 1."""
        return self.direction is Direction.MONITOR


def _rows(direction: Direction, tagged: bool, codecs: dict[TypeId, ElementCodec]) -> dict[int, TypeSpec]:
    return {int(t): TypeSpec(t, codec, direction, tagged) for t, codec in codecs.items()}


_T = TypeId
_MONITOR_PLAIN = {
    _T.M_SP_NA_1: codecs.SIQ,
    _T.M_DP_NA_1: codecs.DIQ,
    _T.M_ST_NA_1: codecs.VTI_QDS,
    _T.M_BO_NA_1: codecs.BSI_QDS,
    _T.M_ME_NA_1: codecs.NVA_QDS,
    _T.M_ME_NB_1: codecs.SVA_QDS,
    _T.M_ME_NC_1: codecs.R32_QDS,
    _T.M_IT_NA_1: codecs.BCR,
    _T.M_PS_NA_1: codecs.SCD_QDS,
    _T.M_ME_ND_1: codecs.NVA,
}
_MONITOR_TAGGED = {
    _T.M_SP_TB_1: codecs.SIQ,
    _T.M_DP_TB_1: codecs.DIQ,
    _T.M_ST_TB_1: codecs.VTI_QDS,
    _T.M_BO_TB_1: codecs.BSI_QDS,
    _T.M_ME_TD_1: codecs.NVA_QDS,
    _T.M_ME_TE_1: codecs.SVA_QDS,
    _T.M_ME_TF_1: codecs.R32_QDS,
    _T.M_IT_TB_1: codecs.BCR,
    _T.M_EP_TD_1: codecs.SEP_CP16,
    _T.M_EP_TE_1: codecs.SPE_QDP_CP16,
    _T.M_EP_TF_1: codecs.OCI_QDP_CP16,
}
_CONTROL_PLAIN = {
    _T.C_SC_NA_1: codecs.SCO,
    _T.C_DC_NA_1: codecs.DCO,
    _T.C_RC_NA_1: codecs.RCO,
    _T.C_SE_NA_1: codecs.NVA_QOS,
    _T.C_SE_NB_1: codecs.SVA_QOS,
    _T.C_SE_NC_1: codecs.R32_QOS,
    _T.C_BO_NA_1: codecs.BSI,
}
_CONTROL_TAGGED = {
    _T.C_SC_TA_1: codecs.SCO,
    _T.C_DC_TA_1: codecs.DCO,
    _T.C_RC_TA_1: codecs.RCO,
    _T.C_SE_TA_1: codecs.NVA_QOS,
    _T.C_SE_TB_1: codecs.SVA_QOS,
    _T.C_SE_TC_1: codecs.R32_QOS,
    _T.C_BO_TA_1: codecs.BSI,
}
_SYSTEM_PLAIN = {
    _T.M_EI_NA_1: codecs.COI,
    _T.C_IC_NA_1: codecs.QOI,
    _T.C_CI_NA_1: codecs.QCC,
    _T.C_RD_NA_1: codecs.EMPTY,
    _T.C_TS_NA_1: codecs.WORD,
    _T.C_RP_NA_1: codecs.QRP,
}
_SYSTEM_TAGGED = {_T.C_CS_NA_1: codecs.EMPTY, _T.C_TS_TA_1: codecs.WORD}
_PARAMETERS = {
    _T.P_ME_NA_1: codecs.NVA_QPM,
    _T.P_ME_NB_1: codecs.SVA_QPM,
    _T.P_ME_NC_1: codecs.R32_QPM,
    _T.P_AC_NA_1: codecs.QPA,
}

TYPES: dict[int, TypeSpec] = {
    **_rows(Direction.MONITOR, False, _MONITOR_PLAIN),
    **_rows(Direction.MONITOR, True, _MONITOR_TAGGED),
    **_rows(Direction.CONTROL, False, _CONTROL_PLAIN),
    **_rows(Direction.CONTROL, True, _CONTROL_TAGGED),
    **_rows(Direction.SYSTEM, False, _SYSTEM_PLAIN),
    **_rows(Direction.SYSTEM, True, _SYSTEM_TAGGED),
    **_rows(Direction.PARAMETER, False, _PARAMETERS),
}
"""Every type the codec knows, by number."""

_PLAIN_AND_TAGGED = (
    (_T.M_SP_NA_1, _T.M_SP_TB_1),
    (_T.M_DP_NA_1, _T.M_DP_TB_1),
    (_T.M_ST_NA_1, _T.M_ST_TB_1),
    (_T.M_BO_NA_1, _T.M_BO_TB_1),
    (_T.M_ME_NA_1, _T.M_ME_TD_1),
    (_T.M_ME_NB_1, _T.M_ME_TE_1),
    (_T.M_ME_NC_1, _T.M_ME_TF_1),
    (_T.M_IT_NA_1, _T.M_IT_TB_1),
    (_T.C_SC_NA_1, _T.C_SC_TA_1),
    (_T.C_DC_NA_1, _T.C_DC_TA_1),
    (_T.C_RC_NA_1, _T.C_RC_TA_1),
    (_T.C_SE_NA_1, _T.C_SE_TA_1),
    (_T.C_SE_NB_1, _T.C_SE_TB_1),
    (_T.C_SE_NC_1, _T.C_SE_TC_1),
    (_T.C_BO_NA_1, _T.C_BO_TA_1),
)
_TAGGED_OF = {int(plain): int(tagged) for plain, tagged in _PLAIN_AND_TAGGED}
_PLAIN_OF = {int(tagged): int(plain) for plain, tagged in _PLAIN_AND_TAGGED}


def plain_type(type_id: int) -> int:
    """The type without time tag that carries the same element (the type itself if there is none)."""
    return _PLAIN_OF.get(type_id, type_id)


def tagged_type(type_id: int) -> int:
    """The type with CP56Time2a that carries the same element (the type itself if there is none)."""
    return _TAGGED_OF.get(type_id, type_id)
