"""Reads a pandapower net into a compiled network.

pandapower is a file format here: its tables are read once, nothing is solved. Balanced networks of lines,
two-winding transformers, loads, motors, generators, static generators, storages, shunts, switches and external grids
are taken; everything else in service is a finding, and all findings are raised at once.

What pandapower does not know follows stated rules, see :class:`LoaderOptions`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.pandapower_tables import Row, in_service, rows_of
from twin.network.pandapower_units import units_of
from twin.network.pandapower_validation import (
    SWITCH_KINDS,
    Finding,
    UnsupportedNetworkError,
    validate_pandapower,
    zip_shares,
)
from twin.network.switchgear import (
    MEDIUM_VOLTAGE_KV,
    BranchDraft,
    SwitchDraft,
    SwitchgearDraft,
    add_feeder_heads,
    add_ring_main_units,
    add_transformer_breakers,
    switch_names,
    unique,
)

__all__ = ["Finding", "LoaderOptions", "UnsupportedNetworkError", "load_pandapower", "validate_pandapower"]

NAN = math.nan
NO_RATING_A = 1e6
"""The current rating of a line whose file gives none (or one above 1 MA)."""

_LOAD_CLASSES = (
    (re.compile(r"industr", re.IGNORECASE), "industrial"),
    (re.compile(r"commerc|\bCI\d+$", re.IGNORECASE), "commercial"),
)
_CONSUMER_NAME = re.compile(r"^(?:Load[ _]|LD_)?([A-Za-z]\w*)$")


class LoaderOptions(BaseModel):
    """What the loader adds to a pandapower net, which knows neither customers nor feeder breakers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feeder_heads: bool = Field(
        default=True,
        description="Make the busbar end of each line leaving a primary substation a breaker (add one where none is)",
    )
    ring_main_units: bool | None = Field(
        default=None,
        description="Add a load break switch at each line end without a switch; by default only "
        "for networks without any switch at a line",
    )
    transformer_breakers: bool = Field(
        default=False, description="Add a breaker at each transformer side without a switch"
    )
    out_of_service_lines: Literal["drop", "open"] = Field(
        default="drop", description="Drop lines out of service, or keep them as lines that are open at their to end"
    )
    s_sc_mva: float = Field(
        default=5000.0, gt=0, description="Short-circuit power of external grids that state none, MVA"
    )
    rx: float = Field(default=0.1, ge=0, description="R/X of external grids that state none")
    residential_kw_per_customer: float = Field(
        default=2.0, gt=0, description="Coincident rated demand of one residential customer, kW"
    )
    other_kw_per_customer: float = Field(
        default=50.0, gt=0, description="Rated demand of one commercial or industrial customer, kW"
    )


def load_pandapower(net: Any, *, name: str, options: LoaderOptions | None = None) -> Network:
    """The compiled network of a pandapower net.

    Names: nodes ``N{bus}``, lines ``L{from}-{to}`` (``_2`` for parallels), transformers ``TR_1``.., sources
    ``GRID_1``.., consumers ``LD_..`` after pandapower's name where that is a plain word, else
    ``LD_{row}``, generators ``G_1``.., shunts ``SH_1``..; switches as :func:`switch_names` says.
    Out-of-service rows are dropped, ``scaling``, ``parallel`` and ``df`` are folded in. Loads that depend on the
    voltage do so each by its own shares, where pandapower takes the mean of those at one bus.

    Raises:
        UnsupportedNetworkError: with every finding of :func:`validate_pandapower`.
    """
    findings = validate_pandapower(net)
    if findings:
        raise UnsupportedNetworkError(name, findings)
    return _Loader(net, name, options or LoaderOptions()).load()


@dataclass
class _Loader:
    """Carries rows of a validated net into a builder, table by table."""

    net: Any
    name: str
    options: LoaderOptions
    lines: dict[int, BranchDraft] = field(default_factory=dict)
    transformers: dict[int, BranchDraft] = field(default_factory=dict)
    switches: list[SwitchDraft] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def load(self) -> Network:
        self.builder = NetworkBuilder(self.name, frequency_hz=float(self.net.f_hz))
        self.v_kv = {row.index: row.number("vn_kv") for row in in_service(self.net, "bus")}
        self._nodes()
        self._sources()
        self._lines()
        self._transformers()
        self._switches()
        self._consumers()
        self._generators()
        self._shunts()
        return self.builder.build()

    def _at_live_bus(self, table: str) -> Iterator[Row]:
        return (row for row in in_service(self.net, table) if row.whole("bus") in self.v_kv)

    def _nodes(self) -> None:
        places = _coordinates(self.net)
        for bus, v_kv in self.v_kv.items():
            x, y = places.get(bus, (NAN, NAN))
            self.builder.node(f"N{bus}", v_kv=v_kv, x=x, y=y)

    def _sources(self) -> None:
        for number, row in enumerate(self._at_live_bus("ext_grid"), start=1):
            bus = row.whole("bus")
            self.builder.source(
                f"GRID_{number}",
                f"N{bus}",
                v_pu=row.number("vm_pu", 1.0),
                angle_rad=math.radians(row.number("va_degree")),
                s_sc_mva=row.number("s_sc_max_mva", self.options.s_sc_mva),
                rx=row.number("rx_max", self.options.rx),
                s_sc_min_mva=row.number("s_sc_min_mva", NAN),
                rx_min=row.number("rx_min", NAN),
                x0x1=row.number("x0x_max", NAN),
                r0x0=row.number("r0x0_max", NAN),
            )
            self._seed(bus)

    def _seed(self, bus: int) -> None:
        low, high = MEDIUM_VOLTAGE_KV
        if low < self.v_kv[bus] <= high:
            self.seeds.append(bus)

    def _lines(self) -> None:
        keep = self.options.out_of_service_lines == "open"
        for row in rows_of(self.net, "line"):
            ends = row.whole("from_bus"), row.whole("to_bus")
            served = row.flag("in_service")
            if not (served or keep) or not all(bus in self.v_kv for bus in ends):
                continue
            name = unique(f"L{ends[0]}-{ends[1]}", self.taken)
            self.taken.add(name)
            self._line(name, row, ends)
            if not served:
                self.switches.append(SwitchDraft(SwitchKind.LOAD_BREAK_SWITCH, ends[1], name, closed=False))

    def _line(self, name: str, row: Row, ends: tuple[int, int]) -> None:
        systems = row.number("parallel", 1.0)
        rating_a = row.number("max_i_ka", math.inf) * 1e3 * systems * row.number("df", 1.0)
        r, x = row.number("r_ohm_per_km") / systems, row.number("x_ohm_per_km") / systems
        length_km = row.number("length_km")
        self.lines[row.index] = BranchDraft(name, *ends, is_line=True, z_ohm=math.hypot(r, x) * length_km)
        self.builder.line(
            name,
            f"N{ends[0]}",
            f"N{ends[1]}",
            length_km=length_km,
            r_ohm_per_km=r,
            x_ohm_per_km=x,
            c_nf_per_km=row.number("c_nf_per_km") * systems,
            g_us_per_km=row.number("g_us_per_km") * systems,
            r0_ohm_per_km=row.number("r0_ohm_per_km", NAN) / systems,
            x0_ohm_per_km=row.number("x0_ohm_per_km", NAN) / systems,
            c0_nf_per_km=row.number("c0_nf_per_km", NAN) * systems,
            i_max_a=min(rating_a, NO_RATING_A),
            overhead=row.text("type") == "ol",
        )

    def _transformers(self) -> None:
        number = 0
        for row in in_service(self.net, "trafo"):
            ends = row.whole("hv_bus"), row.whole("lv_bus")
            if all(bus in self.v_kv for bus in ends):
                number += 1
                self._transformer(f"TR_{number}", row, ends)

    def _transformer(self, name: str, row: Row, ends: tuple[int, int]) -> None:
        """``df`` scales the rating; the percentages follow, so that the impedance in ohm stays."""
        units, derating = row.number("parallel", 1.0), row.number("df", 1.0)
        self.transformers[row.index] = BranchDraft(name, *ends, is_line=False)
        self._seed(ends[1])
        neutral = int(row.number("tap_neutral"))
        position = int(row.number("tap_pos", neutral))
        ideal = row.text("tap_changer_type") == "Ideal"
        self.builder.transformer(
            name,
            f"N{ends[0]}",
            f"N{ends[1]}",
            s_kva=row.number("sn_mva") * 1e3 * units * derating,
            v_from_kv=row.number("vn_hv_kv"),
            v_to_kv=row.number("vn_lv_kv"),
            vk_percent=row.number("vk_percent") * derating,
            vkr_percent=row.number("vkr_percent") * derating,
            p_iron_kw=row.number("pfe_kw") * units,
            i0_percent=row.number("i0_percent") / derating,
            shift_deg=row.number("shift_degree") + (_ideal_shift_deg(row, position - neutral) if ideal else 0.0),
            tap_side=1 if row.text("tap_side") == "lv" else 0,
            tap_min=int(row.number("tap_min", min(neutral, position))),
            tap_max=int(row.number("tap_max", max(neutral, position))),
            tap_neutral=neutral,
            tap_step_percent=0.0 if ideal else row.number("tap_step_percent"),
            tap_angle_deg=row.number("tap_step_degree"),
            tap_position=position,
            vector_group=row.text("vector_group"),
            vk0_percent=row.number("vk0_percent", NAN) * derating,
            vkr0_percent=row.number("vkr0_percent", NAN) * derating,
            mag0_percent=row.number("mag0_percent", NAN),
            mag0_rx=row.number("mag0_rx", NAN),
            si0_from=row.number("si0_hv_partial", NAN),
            **_neutral(row, units),
        )

    def _switches(self) -> None:
        draft = self._with_additions(self._switchgear())
        for name, switch in zip(switch_names(draft), draft.switches, strict=True):
            self.builder.switch(
                name,
                switch.kind,
                f"N{switch.bus}",
                branch=switch.branch,
                other_node="" if switch.branch else f"N{switch.other_bus}",
                closed=switch.closed,
                feeder_head=switch.feeder_head,
            )

    def _switchgear(self) -> SwitchgearDraft:
        read = [draft for row in rows_of(self.net, "switch") if (draft := self._switch(row)) is not None]
        branches = (*self.lines.values(), *self.transformers.values())
        return SwitchgearDraft(branches, (*read, *self.switches), tuple(self.seeds))

    def _switch(self, row: Row) -> SwitchDraft | None:
        bus, element = row.whole("bus"), row.whole("element")
        kind, closed = SWITCH_KINDS[row.text("type")], row.flag("closed")
        if row.text("et") == "b":
            both = bus in self.v_kv and element in self.v_kv
            return SwitchDraft(kind, bus, other_bus=element, closed=closed) if both else None
        branch = (self.lines if row.text("et") == "l" else self.transformers).get(element)
        return SwitchDraft(kind, bus, branch.name, closed=closed) if branch else None

    def _with_additions(self, draft: SwitchgearDraft) -> SwitchgearDraft:
        lines = {branch.name for branch in self.lines.values()}
        bare = not any(switch.branch in lines and switch.closed for switch in draft.switches)
        if self.options.feeder_heads:
            draft = add_feeder_heads(draft)
        if self.options.ring_main_units or (self.options.ring_main_units is None and bare):
            draft = add_ring_main_units(draft)
        if self.options.transformer_breakers:
            draft = add_transformer_breakers(draft)
        return draft

    def _consumers(self) -> None:
        for number, row in enumerate(self._at_live_bus("load"), start=1):
            scaling = row.number("scaling", 1.0) * 1e3
            p_kw = row.number("p_mw") * scaling
            load_class = _load_class(f"{row.text('name')} {row.text('type')}", row.text("name"))
            self.builder.consumer(
                self._consumer_name(row.text("name"), number),
                f"N{row.whole('bus')}",
                p_kw=p_kw,
                q_kvar=row.number("q_mvar") * scaling,
                customers=self._customers(p_kw, load_class),
                load_class=load_class,
                **zip_shares(row),
            )

    def _consumer_name(self, given: str, number: int) -> str:
        usable = _CONSUMER_NAME.match(given)
        name = unique(f"LD_{usable.group(1) if usable else number}", self.taken)
        self.taken.add(name)
        return name

    def _customers(self, p_kw: float, load_class: str) -> int:
        options = self.options
        residential = load_class == "residential"
        per_customer = options.residential_kw_per_customer if residential else options.other_kw_per_customer
        return max(1, round(p_kw / per_customer))

    def _generators(self) -> None:
        live = ((bus, unit) for bus, unit in units_of(self.net) if bus in self.v_kv)
        for number, (bus, unit) in enumerate(live, start=1):
            self.builder.generator(f"G_{number}", f"N{bus}", **unit)

    def _shunts(self) -> None:
        for number, row in enumerate(self._at_live_bus("shunt"), start=1):
            bus = row.whole("bus")
            v_kv = self.v_kv[bus]
            step = int(row.number("step", 1.0))
            steps = max(int(row.number("max_step", 1.0)), step, 1)
            at_nominal = steps * 1e3 * (v_kv / row.number("vn_kv", v_kv)) ** 2
            self.builder.shunt(
                f"SH_{number}",
                f"N{bus}",
                p_kw=row.number("p_mw") * at_nominal,
                q_kvar=row.number("q_mvar") * at_nominal,
                steps=steps,
                initial_steps=step,
            )


def _load_class(described: str, name: str) -> str:
    for pattern, load_class in _LOAD_CLASSES:
        if pattern.search(described) or pattern.search(name):
            return load_class
    return "residential"


def _ideal_shift_deg(row: Row, steps: int) -> float:
    """What an ideal phase shifter adds at its present tap, at which it stays."""
    side = -1 if row.text("tap_side") == "lv" else 1
    if row.number("tap_step_degree"):
        return side * steps * row.number("tap_step_degree")
    return side * 2 * math.degrees(math.asin(steps * row.number("tap_step_percent") / 200))


def _neutral(row: Row, units: float) -> dict[str, Any]:
    """The impedance between neutral and earth; of the high side where that is the earthed one."""
    side = "from" if re.match(r"(YN|ZN)", row.text("vector_group")) else "to"
    return {f"rn_{side}_ohm": row.number("rn_ohm") / units, f"xn_{side}_ohm": row.number("xn_ohm") / units}


def _coordinates(net: Any) -> dict[int, tuple[float, float]]:
    """Bus coordinates from ``bus.geo`` (GeoJSON points) or, in older files, ``bus_geodata``."""
    places = {row.index: (row.number("x", NAN), row.number("y", NAN)) for row in rows_of(net, "bus_geodata")}
    for row in rows_of(net, "bus"):
        point = _geojson_point(row.values.get("geo"))
        if point is not None:
            places[row.index] = point
    return places


def _geojson_point(geo: Any) -> tuple[float, float] | None:
    try:
        data = json.loads(geo) if isinstance(geo, str) else geo
    except json.JSONDecodeError:
        return None
    if not isinstance(data, dict) or data.get("type") != "Point":
        return None
    x, y, *_ = data["coordinates"]
    return float(x), float(y)
