"""The test network of IEC TR 60909-4 in our model, from the pandapower tables beside this file.

A three-winding transformer becomes three ideal ones around a star of lines, whose impedances carry the correction
factors of IEC 60909-0, 6.3.3, by pairs of windings; the line L3 is there twice. Nodes are B1 .. B13, B1 being bus 0
of the tables.
"""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from twin.network.builder import NetworkBuilder
from twin.network.model import Network

TABLES = Path(__file__).with_name("iec60909_4_network_pandapower.json")
SIDES = ("hv", "mv", "lv")
PAIRS = {"hv": ("hv", "mv"), "mv": ("mv", "lv"), "lv": ("hv", "lv")}
"""pandapower's vk_hv is that between high and medium voltage, and so on."""


def tables() -> dict[str, Any]:
    content = json.loads(TABLES.read_text())["_object"]
    return {name: read(table) for name, table in content.items() if isinstance(table, dict) and "orient" in table}


def read(table: dict[str, Any]) -> Any:
    return pd.read_json(StringIO(table["_object"]), orient="split", precise_float=True)


@pytest.fixture(scope="session")
def iec_60909_4() -> Network:
    return _iec_60909_4()


def _iec_60909_4() -> Network:
    t = tables()
    builder = NetworkBuilder("iec_60909_4")
    for bus, row in t["bus"].iterrows():
        builder.node(f"B{bus + 1}", v_kv=row.vn_kv)
    for n, row in t["ext_grid"].iterrows():
        builder.source(
            f"Q{n + 1}",
            f"B{row.bus + 1}",
            s_sc_mva=row.s_sc_max_mva,
            rx=row.rx_max,
            x0x1=row.x0x_max,
            r0x0=row.r0x0_max,
        )
    for _, row in t["line"].iterrows():
        builder.line(
            row["name"],
            f"B{row.from_bus + 1}",
            f"B{row.to_bus + 1}",
            length_km=row.length_km,
            r_ohm_per_km=row.r_ohm_per_km,
            x_ohm_per_km=row.x_ohm_per_km,
            r0_ohm_per_km=row.r0_ohm_per_km,
            x0_ohm_per_km=row.x0_ohm_per_km,
            c0_nf_per_km=row.c0_nf_per_km,
        )
    for n, row in t["trafo"].iterrows():
        two_windings(builder, f"T{n + 1}", row)
    for n, row in t["trafo3w"].iterrows():
        three_windings(builder, f"W{n + 1}", row)
    for n, row in t["gen"].iterrows():
        unit = f"T{int(row.power_station_trafo) + 1}" if row.power_station_trafo >= 0 else ""
        builder.generator(
            f"G{n + 1}",
            f"B{row.bus + 1}",
            p_kw=1e3 * row.p_mw,
            s_kva=1e3 * row.sn_mva,
            machine="synchronous",
            v_rated_kv=row.vn_kv,
            cos_phi=row.cos_phi,
            xdss_pu=row.xdss_pu,
            r_sc_ohm=row.rdss_ohm,
            pg_percent=row.pg_percent,
            unit_transformer=unit,
        )
    for n, row in t["motor"].iterrows():
        builder.generator(
            f"M{n + 1}",
            f"B{row.bus + 1}",
            p_kw=-1e3 * row.pn_mech_mw,
            s_kva=1e3 * row.pn_mech_mw / (row.cos_phi_n * row.efficiency_n_percent / 100.0),
            machine="asynchronous",
            v_rated_kv=row.vn_kv,
            lrc_pu=row.lrc_pu,
            rx_sc=row.rx,
            pole_pairs=POLE_PAIRS[row.pn_mech_mw],
        )
    return builder.build()


POLE_PAIRS = {5.0: 1, 2.0: 2}
"""Not in the tables."""


def two_windings(builder: NetworkBuilder, name: str, row: Any) -> None:
    builder.transformer(
        name,
        f"B{row.hv_bus + 1}",
        f"B{row.lv_bus + 1}",
        s_kva=1e3 * row.sn_mva,
        v_from_kv=row.vn_hv_kv,
        v_to_kv=row.vn_lv_kv,
        vk_percent=row.vk_percent,
        vkr_percent=row.vkr_percent,
        vector_group=row.vector_group,
        vk0_percent=row.vk0_percent,
        vkr0_percent=row.vkr0_percent,
        xn_from_ohm=row.xn_ohm if row.xn_ohm > 0 else 0.0,
        oltc=bool(row.oltc),
    )


def three_windings(builder: NetworkBuilder, name: str, row: Any) -> None:
    """hv ─ ideal ─ line ─┐ star at the rated voltage of the high side; each side's winding stays what it is."""
    v_kv = row.vn_hv_kv
    one, zero = star(row, ""), star(row, "0")
    builder.node(f"{name}_star", v_kv=v_kv)
    groups = dict(zip(SIDES, split_group(row.vector_group), strict=True))
    for side in SIDES:
        builder.node(f"{name}_{side}", v_kv=v_kv)
        z, z0 = one[side], zero[side]
        builder.line(
            f"{name}_z_{side}",
            f"{name}_{side}",
            f"{name}_star",
            length_km=1.0,
            r_ohm_per_km=z.real,
            x_ohm_per_km=z.imag,
            r0_ohm_per_km=z0.real,
            x0_ohm_per_km=z0.imag,
            c0_nf_per_km=0.0,
        )
        inner = "yn" if groups[side] in ("yn", "d") else "d"
        outer = {"yn": "YN", "d": "D", "y": "Y"}[groups[side]]
        builder.transformer(
            f"{name}_{side}_ideal",
            f"B{row[f'{side}_bus'] + 1}",
            f"{name}_{side}",
            s_kva=1e6,
            v_from_kv=row[f"vn_{side}_kv"],
            v_to_kv=v_kv,
            vk_percent=1e-6,
            vkr_percent=0.0,
            vk0_percent=1e-6,
            vkr0_percent=0.0,
            vector_group=outer + inner,
            k_sc=1.0,
        )


def split_group(group: str) -> list[str]:
    parts = []
    rest = group.lower()
    while rest:
        part = "yn" if rest.startswith("yn") else rest[0]
        parts.append(part)
        rest = rest[len(part) :]
    return parts


def star(row: Any, sequence: str) -> dict[str, complex]:
    """Corrected impedances of the star, ohm on the high side."""
    pairs = {}
    for side, ends in PAIRS.items():
        s_mva = min(row[f"sn_{end}_mva"] for end in ends)
        vk, vkr = row[f"vk_{side}_percent"] / 100, row[f"vkr_{side}_percent"] / 100
        k = 0.95 * 1.1 / (1 + 0.6 * math.sqrt(vk**2 - vkr**2))
        vk, vkr = row[f"vk{sequence}_{side}_percent"] / 100, row[f"vkr{sequence}_{side}_percent"] / 100
        pairs[side] = k * complex(vkr, math.sqrt(vk**2 - vkr**2)) * row.vn_hv_kv**2 / s_mva
    hm, ml, hl = pairs["hv"], pairs["mv"], pairs["lv"]
    return {"hv": (hm + hl - ml) / 2, "mv": (hm + ml - hl) / 2, "lv": (hl + ml - hm) / 2}
