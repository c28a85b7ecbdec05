"""What keeps a pandapower net from being loaded: every finding at once. Not for loading it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twin.errors import Blame, TwinError
from twin.network.model import SwitchKind
from twin.network.pandapower_tables import Row, in_service, rows_of

NAN = math.nan
_LISTED = 20
_UNBALANCED = (
    "it is unbalanced and a pandapower net is read as a balanced network; three phases are read from OpenDSS or CIM"
)
_POWER_ELECTRONICS = "a device that regulates the transmission grid is not supported"
_DIRECT_CURRENT = "direct current is not supported"
UNSUPPORTED = {
    "asymmetric_load": _UNBALANCED,
    "asymmetric_sgen": _UNBALANCED,
    "trafo3w": "a transformer with three windings is not supported; give the star of three with two windings",
    "impedance": "an impedance without a length is not supported; make it a line",
    "ward": "an equivalent of a reduced network is not supported; make it a load and a shunt",
    "xward": "an equivalent of a reduced network that holds a voltage is not supported",
    **dict.fromkeys(("svc", "ssc", "vsc", "tcsc", "vsc_stacked", "vsc_bipolar"), _POWER_ELECTRONICS),
    **dict.fromkeys(("dcline", "bus_dc", "line_dc", "load_dc", "source_dc"), _DIRECT_CURRENT),
}
"""What is not taken, and why."""

SWITCH_KINDS = {
    "CB": SwitchKind.BREAKER,
    "LBS": SwitchKind.LOAD_BREAK_SWITCH,
    "LS": SwitchKind.LOAD_BREAK_SWITCH,
    "": SwitchKind.LOAD_BREAK_SWITCH,
    "DS": SwitchKind.DISCONNECTOR,
    "FU": SwitchKind.FUSE,
}
TAP_CHANGERS = ("", "None", "Ratio", "Symmetrical", "Ideal")
_SHARES = (("p", "current", "i"), ("p", "impedance", "z"), ("q", "current", "i"), ("q", "impedance", "z"))
"""Of P or Q, the word here, the letter in the columns of pandapower."""


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


def validate_pandapower(net: Any) -> tuple[Finding, ...]:
    """Everything that keeps ``net`` from being loaded, in the order of its tables; empty if nothing does."""
    checks = (_unsupported, _bus_findings, _line_findings, _transformer_findings)
    more = (_switch_findings, _load_findings, _source_findings)
    return tuple(finding for check in (*checks, *more) for finding in check(net))


def _unsupported(net: Any) -> Iterator[Finding]:
    for table, why in UNSUPPORTED.items():
        for row in in_service(net, table):
            yield Finding(table, row.index, why)


def _bus_findings(net: Any) -> Iterator[Finding]:
    for row in in_service(net, "bus"):
        if not row.number("vn_kv") > 0:
            yield Finding("bus", row.index, "vn_kv is not a positive voltage")


def _dangling(net: Any, table: str, keys: tuple[str, ...], row: Row) -> Iterator[Finding]:
    for key in keys:
        if row.number(key, -1) not in net.bus.index:
            yield Finding(table, row.index, f"{key} {row.values.get(key)} is not a bus")


def _line_findings(net: Any) -> Iterator[Finding]:
    for row in in_service(net, "line"):
        yield from _dangling(net, "line", ("from_bus", "to_bus"), row)
        if row.values["from_bus"] == row.values["to_bus"]:
            yield Finding("line", row.index, "starts and ends at the same bus")
        for key in ("length_km", "r_ohm_per_km", "x_ohm_per_km"):
            if not math.isfinite(row.number(key, NAN)):
                yield Finding("line", row.index, f"{key} is missing")
        if row.number("r_ohm_per_km") == row.number("x_ohm_per_km") == 0 or row.number("length_km") == 0:
            yield Finding("line", row.index, "has no impedance; make it a closed bus-bus switch")


def _transformer_findings(net: Any) -> Iterator[Finding]:
    for row in in_service(net, "trafo"):
        yield from _dangling(net, "trafo", ("hv_bus", "lv_bus"), row)
        for key in ("sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent"):
            if not row.number(key) > 0:
                yield Finding("trafo", row.index, f"{key} is not a positive number")
        if row.number("i0_percent") < 0:
            yield Finding(
                "trafo", row.index, "i0_percent is negative, a capacitive magnetising current is not supported"
            )
        yield from _tap_findings(row)


def _tap_findings(row: Row) -> Iterator[Finding]:
    if row.text("tap_changer_type") not in TAP_CHANGERS:
        yield Finding(
            "trafo", row.index, f"tap changer {row.text('tap_changer_type')} is none of Ratio, Symmetrical, Ideal"
        )
    if row.flag("tap_dependency_table", default=False):
        yield Finding("trafo", row.index, "tap dependency tables are not supported")
    if row.number("tap2_pos") != row.number("tap2_neutral"):
        yield Finding("trafo", row.index, "a second tap changer is not supported")
    for key in ("tap_pos", "tap_neutral", "tap_min", "tap_max"):
        if row.number(key) % 1:
            yield Finding("trafo", row.index, f"{key} {row.number(key)} is not a whole number")


def _switch_findings(net: Any) -> Iterator[Finding]:
    for row in rows_of(net, "switch"):
        if row.text("type") not in SWITCH_KINDS:
            yield Finding("switch", row.index, f"type {row.text('type')} is none of CB, LBS, LS, DS, FU")
        if row.text("et") == "b":
            yield from _bus_switch_findings(net, row)
        else:
            yield from _branch_switch_findings(net, row)


def _bus_switch_findings(net: Any, row: Row) -> Iterator[Finding]:
    yield from _dangling(net, "switch", ("bus", "element"), row)
    if row.values["bus"] == row.values["element"]:
        yield Finding("switch", row.index, "joins a bus to itself")
    if row.number("z_ohm") > 0:
        yield Finding("switch", row.index, "a bus-bus switch with impedance is not supported")


def _branch_switch_findings(net: Any, row: Row) -> Iterator[Finding]:
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
    for table in ("load", "sgen", "gen", "storage", "motor", "shunt"):
        for row in in_service(net, table):
            yield from _dangling(net, table, ("bus",), row)
    for row in in_service(net, "load"):
        shares = zip_shares(row)
        for of in "pq":
            z, i = shares[f"{of}_impedance_share"], shares[f"{of}_current_share"]
            if min(z, i) < 0 or z + i > 1:
                yield Finding("load", row.index, f"its shares of {of.upper()}, {z:g} and {i:g}, are not within 0 and 1")
    yield from _motor_findings(net)
    for row in in_service(net, "gen"):
        if not row.number("vm_pu") > 0:
            yield Finding("gen", row.index, "vm_pu is not a positive voltage")
        if row.flag("slack", default=False):
            yield Finding("gen", row.index, "a generator as slack is not supported; make it an external grid")
    for row in in_service(net, "shunt"):
        step, most = row.number("step", 1.0), max(row.number("max_step", 1.0), row.number("step", 1.0))
        if step % 1 or most % 1 or step < 0:
            yield Finding("shunt", row.index, f"step {step:g} of {most:g} is not a number of steps")


def _motor_findings(net: Any) -> Iterator[Finding]:
    for row in in_service(net, "motor"):
        for key in ("pn_mech_mw", "cos_phi", "efficiency_percent"):
            if not row.number(key) > 0:
                yield Finding("motor", row.index, f"{key} is not a positive number")


def zip_shares(row: Row) -> dict[str, float]:
    """The shares of a load, from the columns by P and Q or, in older files, from those for both."""
    return {
        f"{of}_{word}_share": row.number(f"const_{letter}_{of}_percent", row.number(f"const_{letter}_percent")) / 100
        for of, word, letter in _SHARES
    }


def _source_findings(net: Any) -> Iterator[Finding]:
    sources = list(in_service(net, "ext_grid"))
    for row in sources:
        yield from _dangling(net, "ext_grid", ("bus",), row)
    if not sources:
        yield Finding("ext_grid", 0, "the network has no external grid in service")
