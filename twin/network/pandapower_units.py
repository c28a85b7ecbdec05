"""Static generators, generators, storages and motors of a pandapower net as generating units of ours.

Units that take power, as motors and charging storages do, are units of negative generation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from twin.network.pandapower_tables import Row, in_service

NAN = math.nan
_KINDS = {"wp": "wind", "wka": "wind", "wind": "wind", "": "other", "pv": "pv", "wye": "other", "delta": "other"}


def units_of(net: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Bus and data of each unit in service: static generators, those that hold a voltage, storages, motors."""
    for table, unit in (("sgen", _static), ("gen", _holding), ("storage", _storage), ("motor", _motor)):
        for row in in_service(net, table):
            yield row.whole("bus"), unit(row)


def _static(row: Row) -> dict[str, Any]:
    kw = row.number("scaling", 1.0) * 1e3
    return {
        "p_kw": row.number("p_mw") * kw,
        "q_kvar": row.number("q_mvar") * kw,
        "s_kva": row.number("sn_mva", NAN) * 1e3,
        "kind": _kind(row.text("type")),
        **_machine(row),
    }


def _kind(given: str) -> str:
    return _KINDS.get(given.lower(), given.lower().replace(" ", "_"))


def _machine(row: Row) -> dict[str, Any]:
    """Short-circuit data of a static generator; one that states none stays unknown."""
    kind = row.text("generator_type")
    if kind == "async":
        return {"machine": "asynchronous", "lrc_pu": row.number("lrc_pu", NAN), "rx_sc": row.number("rx", NAN)}
    if kind in ("", "current_source") and row.number("k", NAN) >= 0:
        return {"machine": "converter", "i_sc_pu": row.number("k")}
    return {}


def _holding(row: Row) -> dict[str, Any]:
    return {
        "p_kw": row.number("p_mw") * row.number("scaling", 1.0) * 1e3,
        "s_kva": row.number("sn_mva", NAN) * 1e3,
        "kind": _kind(row.text("type")),
        "v_set_pu": row.number("vm_pu"),
        "q_min_kvar": row.number("min_q_mvar", -math.inf) * 1e3,
        "q_max_kvar": row.number("max_q_mvar", math.inf) * 1e3,
    }


def _storage(row: Row) -> dict[str, Any]:
    """pandapower counts the power of a storage as demand."""
    kw = row.number("scaling", 1.0) * 1e3
    return {
        "p_kw": -row.number("p_mw") * kw,
        "q_kvar": -row.number("q_mvar") * kw,
        "s_kva": row.number("sn_mva", NAN) * 1e3,
        "kind": "battery",
    }


def _motor(row: Row) -> dict[str, Any]:
    """Its present demand, and where it is known its locked-rotor current."""
    running = row.number("loading_percent", 100.0) / 100 * row.number("scaling", 1.0)
    p_kw = 1e3 * row.number("pn_mech_mw") / (row.number("efficiency_percent") / 100) * running
    rated_kw = 1e3 * row.number("pn_mech_mw") / (row.number("efficiency_n_percent", NAN) / 100)
    rated_cos_phi = row.number("cos_phi_n", NAN)
    return {
        "p_kw": -p_kw,
        "q_kvar": -p_kw * math.tan(math.acos(row.number("cos_phi"))),
        "s_kva": rated_kw / rated_cos_phi,
        "kind": "motor",
        "v_rated_kv": row.number("vn_kv", NAN),
        "cos_phi": rated_cos_phi,
        "lrc_pu": row.number("lrc_pu", NAN),
        "rx_sc": row.number("rx", NAN),
        "machine": "asynchronous" if rated_kw / rated_cos_phi * row.number("lrc_pu", NAN) > 0 else "",
    }
