"""Causes of transmission and fixed addresses (IEC 60870-5-101, 7.2.3 and 7.2.4)."""

from __future__ import annotations

from enum import IntEnum


class Cause(IntEnum):
    """Why an ASDU is sent. Group interrogation runs from 20 to 36, group counter requests from 37 to 41."""

    PERIODIC = 1
    BACKGROUND_SCAN = 2
    SPONTANEOUS = 3
    INITIALIZED = 4
    REQUEST = 5
    ACTIVATION = 6
    ACTIVATION_CON = 7
    DEACTIVATION = 8
    DEACTIVATION_CON = 9
    ACTIVATION_TERMINATION = 10
    RETURN_REMOTE = 11
    RETURN_LOCAL = 12
    FILE_TRANSFER = 13
    INTERROGATED_BY_STATION = 20
    REQUESTED_BY_GENERAL_COUNTER = 37
    UNKNOWN_TYPE = 44
    UNKNOWN_CAUSE = 45
    UNKNOWN_COMMON_ADDRESS = 46
    UNKNOWN_OBJECT_ADDRESS = 47


BROADCAST_COMMON_ADDRESS = 0xFFFF
"""Every station on the connection; allowed for interrogation, counter interrogation, clock and reset only."""

STATION_INTERROGATION = 20
"""Qualifier of interrogation: the whole station."""

TEST_PATTERN = 0x55AA
"""The fixed test bit pattern of C_TS_NA_1."""
