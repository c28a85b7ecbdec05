"""Reads a pandapower net into a compiled network.

pandapower is a file format here: its tables are read once, nothing is solved. Only balanced networks
of lines, two-winding transformers, loads, generators, static generators, shunts, switches and external grids are
taken; everything else in service is a finding, and all findings are raised at once.

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

from twin.errors import Blame, TwinError
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
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

NAN = math.nan
NO_RATING_A = 1e6
"""The current rating of a line whose file gives none (or one above 1 MA)."""

_LISTED = 20
_UNSUPPORTED = (
    "motor",
    "asymmetric_load",
    "asymmetric_sgen",
    "storage",
    "svc",
    "ssc",
    "vsc",
    "tcsc",
    "trafo3w",
    "impedance",
    "dcline",
    "ward",
    "xward",
    "bus_dc",
    "line_dc",
    "load_dc",
    "source_dc",
    "vsc_stacked",
    "vsc_bipolar",
)
_SWITCH_KINDS = {
    "CB": SwitchKind.BREAKER,
    "LBS": SwitchKind.LOAD_BREAK_SWITCH,
    "LS": SwitchKind.LOAD_BREAK_SWITCH,
    "": SwitchKind.LOAD_BREAK_SWITCH,
    "DS": SwitchKind.DISCONNECTOR,
    "FU": SwitchKind.FUSE,
}
_SHARES = (("p", "current", "i"), ("p", "impedance", "z"), ("q", "current", "i"), ("q", "impedance", "z"))
"""Of P or Q, the word here, the letter in the columns of pandapower."""

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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps a pandapower net from being loaded: which row, and why."""

    table: str
    row: int
    text: str

    def __str__(self) -> str:
        return f"{self.table} {self.row}: {self.text}"


class UnsupportedNetworkError(TwinError):
    """A pandapower net holds what is not supported; carries all findings, its sentence lists the first of them."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, findings: tuple[Finding, ...]) -> None:
        self.network = network
        self.findings = findings
        listed = "; ".join(str(finding) for finding in findings[:_LISTED])
        more = f"; and {len(findings) - _LISTED} more" if len(findings) > _LISTED else ""
        super().__init__(f"network {network} cannot be loaded from pandapower: {listed}{more}")


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


# --- rows ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a pandapower table, with defaults for what is absent or not a number."""

    index: int
    values: dict[str, Any]

    def number(self, key: str, default: float = 0.0) -> float:
        value = self.values.get(key)
        if value is None or value != value:
            return default
        try:
            return float(value)
        except (TypeError, ValueError):
            return default

    def text(self, key: str) -> str:
        value = self.values.get(key)
        return value.strip() if isinstance(value, str) else ""

    def whole(self, key: str) -> int:
        return int(self.values[key])

    def flag(self, key: str, default: bool = True) -> bool:
        value = self.values.get(key)
        return default if value is None or value != value else bool(value)


def _rows(net: Any, table: str) -> Iterator[_Row]:
    frame = net.get(table)
    if frame is None or not hasattr(frame, "columns"):
        return
    columns = [str(column) for column in frame.columns]
    for index, *values in frame.astype(object).itertuples(name=None):
        yield _Row(int(index), dict(zip(columns, values, strict=True)))


def _in_service(net: Any, table: str) -> Iterator[_Row]:
    return (row for row in _rows(net, table) if row.flag("in_service"))


# --- validation ------------------------------------------------------------------------------------------------


def validate_pandapower(net: Any) -> tuple[Finding, ...]:
    """Everything that keeps ``net`` from being loaded, in the order of its tables; empty if nothing does."""
    checks = (_unsupported, _bus_findings, _line_findings, _transformer_findings)
    more = (_switch_findings, _load_findings, _source_findings)
    return tuple(finding for check in (*checks, *more) for finding in check(net))


def _unsupported(net: Any) -> Iterator[Finding]:
    for table in _UNSUPPORTED:
        for row in _in_service(net, table):
            yield Finding(table, row.index, "this kind of element is not supported")


def _bus_findings(net: Any) -> Iterator[Finding]:
    for row in _in_service(net, "bus"):
        if not row.number("vn_kv") > 0:
            yield Finding("bus", row.index, "vn_kv is not a positive voltage")


def _dangling(net: Any, table: str, keys: tuple[str, ...], row: _Row) -> Iterator[Finding]:
    for key in keys:
        if row.number(key, -1) not in net.bus.index:
            yield Finding(table, row.index, f"{key} {row.values.get(key)} is not a bus")


def _line_findings(net: Any) -> Iterator[Finding]:
    for row in _in_service(net, "line"):
        yield from _dangling(net, "line", ("from_bus", "to_bus"), row)
        if row.values["from_bus"] == row.values["to_bus"]:
            yield Finding("line", row.index, "starts and ends at the same bus")
        for key in ("length_km", "r_ohm_per_km", "x_ohm_per_km"):
            if not math.isfinite(row.number(key, NAN)):
                yield Finding("line", row.index, f"{key} is missing")
        if row.number("r_ohm_per_km") == row.number("x_ohm_per_km") == 0 or row.number("length_km") == 0:
            yield Finding("line", row.index, "has no impedance; make it a closed bus-bus switch")


def _transformer_findings(net: Any) -> Iterator[Finding]:
    for row in _in_service(net, "trafo"):
        yield from _dangling(net, "trafo", ("hv_bus", "lv_bus"), row)
        for key in ("sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent"):
            if not row.number(key) > 0:
                yield Finding("trafo", row.index, f"{key} is not a positive number")
        if row.number("i0_percent") < 0:
            yield Finding(
                "trafo", row.index, "i0_percent is negative, a capacitive magnetising current is not supported"
            )
        yield from _tap_findings(row)


def _tap_findings(row: _Row) -> Iterator[Finding]:
    if row.text("tap_changer_type") not in ("", "Ratio", "None"):
        yield Finding("trafo", row.index, f"tap changer {row.text('tap_changer_type')} is not supported, only Ratio")
    if row.number("tap_step_degree") != 0:
        yield Finding("trafo", row.index, "tap_step_degree must be empty, phase shifting taps are not supported")
    if row.flag("tap_dependency_table", default=False):
        yield Finding("trafo", row.index, "tap dependency tables are not supported")
    if row.number("tap2_pos") != row.number("tap2_neutral"):
        yield Finding("trafo", row.index, "a second tap changer is not supported")
    for key in ("tap_pos", "tap_neutral", "tap_min", "tap_max"):
        if row.number(key) % 1:
            yield Finding("trafo", row.index, f"{key} {row.number(key)} is not a whole number")


def _switch_findings(net: Any) -> Iterator[Finding]:
    for row in _rows(net, "switch"):
        if row.text("type") not in _SWITCH_KINDS:
            yield Finding("switch", row.index, f"type {row.text('type')} is none of CB, LBS, LS, DS, FU")
        if row.text("et") == "b":
            yield from _bus_switch_findings(net, row)
        else:
            yield from _branch_switch_findings(net, row)


def _bus_switch_findings(net: Any, row: _Row) -> Iterator[Finding]:
    yield from _dangling(net, "switch", ("bus", "element"), row)
    if row.values["bus"] == row.values["element"]:
        yield Finding("switch", row.index, "joins a bus to itself")
    if row.number("z_ohm") > 0:
        yield Finding("switch", row.index, "a bus-bus switch with impedance is not supported")


def _branch_switch_findings(net: Any, row: _Row) -> Iterator[Finding]:
    table, ends = {"l": ("line", ("from_bus", "to_bus")), "t": ("trafo", ("hv_bus", "lv_bus"))}.get(
        row.text("et"), ("", ())
    )
    if not table:
        yield Finding("switch", row.index, f"element type {row.text('et')!r} is none of b, l, t")
    elif row.whole("element") not in net[table].index:
        yield Finding("switch", row.index, f"refers to {table} {row.whole('element')}, which is not there")
    elif row.whole("bus") not in [int(net[table].at[row.whole("element"), end]) for end in ends]:
        yield Finding(
            "switch", row.index, f"stands at bus {row.whole('bus')}, which is no end of {table} {row.whole('element')}"
        )


def _load_findings(net: Any) -> Iterator[Finding]:
    for table in ("load", "sgen", "gen", "shunt"):
        for row in _in_service(net, table):
            yield from _dangling(net, table, ("bus",), row)
    for row in _in_service(net, "load"):
        shares = _zip_shares(row)
        for of in "pq":
            z, i = shares[f"{of}_impedance_share"], shares[f"{of}_current_share"]
            if min(z, i) < 0 or z + i > 1:
                yield Finding("load", row.index, f"its shares of {of.upper()}, {z:g} and {i:g}, are not within 0 and 1")
    for row in _in_service(net, "gen"):
        if not row.number("vm_pu") > 0:
            yield Finding("gen", row.index, "vm_pu is not a positive voltage")
        if row.flag("slack", default=False):
            yield Finding("gen", row.index, "a generator as slack is not supported; make it an external grid")
    for row in _in_service(net, "shunt"):
        step, most = row.number("step", 1.0), max(row.number("max_step", 1.0), row.number("step", 1.0))
        if step % 1 or most % 1 or step < 0:
            yield Finding("shunt", row.index, f"step {step:g} of {most:g} is not a number of steps")


def _zip_shares(row: _Row) -> dict[str, float]:
    """The shares of a load, from the columns by P and Q or, in older files, from those for both."""
    return {
        f"{of}_{word}_share": row.number(f"const_{letter}_{of}_percent", row.number(f"const_{letter}_percent")) / 100
        for of, word, letter in _SHARES
    }


def _source_findings(net: Any) -> Iterator[Finding]:
    sources = list(_in_service(net, "ext_grid"))
    for row in sources:
        yield from _dangling(net, "ext_grid", ("bus",), row)
    if not sources:
        yield Finding("ext_grid", 0, "the network has no external grid in service")


# --- loading ---------------------------------------------------------------------------------------------------


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
        self.v_kv = {row.index: row.number("vn_kv") for row in _in_service(self.net, "bus")}
        self._nodes()
        self._sources()
        self._lines()
        self._transformers()
        self._switches()
        self._consumers()
        self._generators()
        self._shunts()
        return self.builder.build()

    def _at_live_bus(self, table: str) -> Iterator[_Row]:
        return (row for row in _in_service(self.net, table) if row.whole("bus") in self.v_kv)

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
        for row in _rows(self.net, "line"):
            ends = row.whole("from_bus"), row.whole("to_bus")
            served = row.flag("in_service")
            if not (served or keep) or not all(bus in self.v_kv for bus in ends):
                continue
            name = unique(f"L{ends[0]}-{ends[1]}", self.taken)
            self.taken.add(name)
            self._line(name, row, ends)
            if not served:
                self.switches.append(SwitchDraft(SwitchKind.LOAD_BREAK_SWITCH, ends[1], name, closed=False))

    def _line(self, name: str, row: _Row, ends: tuple[int, int]) -> None:
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
        for row in _in_service(self.net, "trafo"):
            ends = row.whole("hv_bus"), row.whole("lv_bus")
            if all(bus in self.v_kv for bus in ends):
                number += 1
                self._transformer(f"TR_{number}", row, ends)

    def _transformer(self, name: str, row: _Row, ends: tuple[int, int]) -> None:
        """``df`` scales the rating; the percentages follow, so that the impedance in ohm stays."""
        units, derating = row.number("parallel", 1.0), row.number("df", 1.0)
        self.transformers[row.index] = BranchDraft(name, *ends, is_line=False)
        self._seed(ends[1])
        neutral = int(row.number("tap_neutral"))
        position = int(row.number("tap_pos", neutral))
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
            shift_deg=row.number("shift_degree"),
            tap_side=1 if row.text("tap_side") == "lv" else 0,
            tap_min=int(row.number("tap_min", min(neutral, position))),
            tap_max=int(row.number("tap_max", max(neutral, position))),
            tap_neutral=neutral,
            tap_step_percent=row.number("tap_step_percent"),
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
        read = [draft for row in _rows(self.net, "switch") if (draft := self._switch(row)) is not None]
        branches = (*self.lines.values(), *self.transformers.values())
        return SwitchgearDraft(branches, (*read, *self.switches), tuple(self.seeds))

    def _switch(self, row: _Row) -> SwitchDraft | None:
        bus, element = row.whole("bus"), row.whole("element")
        kind, closed = _SWITCH_KINDS[row.text("type")], row.flag("closed")
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
                **_zip_shares(row),
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
        """Static generators, then those that hold a voltage."""
        number = 0
        for number, row in enumerate(self._at_live_bus("sgen"), start=1):
            scaling = row.number("scaling", 1.0) * 1e3
            self.builder.generator(
                f"G_{number}",
                f"N{row.whole('bus')}",
                p_kw=row.number("p_mw") * scaling,
                q_kvar=row.number("q_mvar") * scaling,
                s_kva=row.number("sn_mva", NAN) * 1e3,
                kind=_generator_kind(row.text("type")),
                **_machine(row),
            )

        for at, row in enumerate(self._at_live_bus("gen"), start=number + 1):
            scaling = row.number("scaling", 1.0) * 1e3
            self.builder.generator(
                f"G_{at}",
                f"N{row.whole('bus')}",
                p_kw=row.number("p_mw") * scaling,
                s_kva=row.number("sn_mva", NAN) * 1e3,
                kind=_generator_kind(row.text("type")),
                v_set_pu=row.number("vm_pu"),
                q_min_kvar=row.number("min_q_mvar", -math.inf) * 1e3,
                q_max_kvar=row.number("max_q_mvar", math.inf) * 1e3,
            )

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


def _generator_kind(given: str) -> str:
    known = {"wp": "wind", "wka": "wind", "wind": "wind", "": "other", "pv": "pv", "wye": "other", "delta": "other"}
    return known.get(given.lower(), given.lower().replace(" ", "_"))


def _neutral(row: _Row, units: float) -> dict[str, Any]:
    """The impedance between neutral and earth; of the high side where that is the earthed one."""
    side = "from" if re.match(r"(YN|ZN)", row.text("vector_group")) else "to"
    return {f"rn_{side}_ohm": row.number("rn_ohm") / units, f"xn_{side}_ohm": row.number("xn_ohm") / units}


def _machine(row: _Row) -> dict[str, Any]:
    """Short-circuit data of a static generator; one that states none stays unknown."""
    kind = row.text("generator_type")
    if kind == "async":
        return {"machine": "asynchronous", "lrc_pu": row.number("lrc_pu", NAN), "rx_sc": row.number("rx", NAN)}
    if kind in ("", "current_source") and row.number("k", NAN) >= 0:
        return {"machine": "converter", "i_sc_pu": row.number("k")}
    return {}


def _coordinates(net: Any) -> dict[int, tuple[float, float]]:
    """Bus coordinates from ``bus.geo`` (GeoJSON points) or, in older files, ``bus_geodata``."""
    places = {row.index: (row.number("x", NAN), row.number("y", NAN)) for row in _rows(net, "bus_geodata")}
    for row in _rows(net, "bus"):
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
