"""The telecontrol protocols by name: what a station can be reached over.

A name in here has its factories in ``simulators.protocols``, its settings of a station in ``twin.scenario.stations``
and, where it does not use the address of IEC 60870-5-104, an address of its own in a point's definition.
"""

from __future__ import annotations

PROTOCOLS = ("iec104", "in_process", "modbus", "dnp3")
"""The protocols a station can be reached over, the usual one first."""

STACKS = {"c104": "iec104", "opendnp3": "dnp3"}
"""Foreign implementations of the control room's side, and the protocol that each speaks."""

PLANNED_PROTOCOLS: tuple[str, ...] = ()
"""Protocols that are refused with a word of explanation."""
