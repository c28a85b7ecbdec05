"""One scenario an application over every protocol and a mixture: the same commands in the same order, same outcomes.

Compared is the command log: equipment, action, phase by phase but for the answer of the station (``activated``), which
Modbus gives before and DNP3 together with the position. Times differ: over Modbus the control room sees a change
with the next poll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import pandapower as pp
import pytest
from cosim_worlds import FAULT, Ran, run, scenario

from twin.derive import DeriveOptions, derive
from twin.derive.files import write
from twin.network import load_network
from twin.points.protocols import PROTOCOLS

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def one_of_each(stations: Iterable[int]) -> str:
    """The protocols in turn for these stations; those not named stay with the scenario's default."""
    return "\n".join(f"  RTU_{n}: {{protocol: {p}}}" for n, p in zip(stations, cycle(PROTOCOLS), strict=False))


def shortened(stations: str = "", *, name: str = "flisr_cigre_mv", changes: Mapping[str, str] | None = None) -> str:
    """A shipped scenario, its texts changed; its expectations reach further and are left out."""
    text = (SCENARIOS / f"{name}.yaml").read_text(encoding="utf-8")
    for old, new in (changes or {"duration: 10 min": "duration: 90 s"}).items():
        assert old in text
        text = text.replace(old, new)
    head, _, rest = text.partition("expect:")
    report = rest[rest.index("report:") :]
    return (head + report).replace("latency: 80 ms}\n", f"latency: 80 ms}}\n{stations}\n")


def flisr(stations: str, folder: Path) -> str:
    """The shipped scenario until everything is restored."""
    return shortened(stations)


def return_to_normal(stations: str, folder: Path) -> str:
    """The shipped scenario, repaired after 80 s: the loop closed, then opened."""
    changes = {"duration: 12 min": "duration: 130 s", "at: 9 min": "at: 80 s", "at: 10 min": "at: 85 s"}
    return shortened(stations, name="flisr_return_cigre_mv", changes=changes)


def load_shedding(stations: str, folder: Path) -> str:
    """The shipped scenario, sooner: stages are armed, a machine trips, feeders come back; then it is time to shed."""
    changes = {
        "networks/island_mv.json": str(SCENARIOS / "networks" / "island_mv.json"),
        "duration: 12 min": "duration: 150 s",
        "at: 120 s": "at: 20 s",
        "for: 3 min": "for: 20 s",
        "least_off: 60 s, hold: 20 s": "least_off: 20 s, hold: 10 s",
        "block: 20 %": "block: 20 %, stop_at: 49.4 Hz, windows: [{begin: 18 h 85 s, end: 18 h 100 s, share: 10 %}]",
    }
    return shortened(stations, name="ufls_island_mv", changes=changes)


def volt_var(stations: str, folder: Path) -> str:
    """A transformer that cannot do all of it, a capacitor bank and an inverter: the demand goes and comes."""
    network, derived = folder / "regulated.json", folder / "derived"
    _regulated(network)
    derivation = derive(load_network(str(network)), DeriveOptions(inverters=True))
    quick = tuple(unit.model_copy(update={"response_s": 0.5}) for unit in derivation.devices.inverters)
    devices = derivation.devices.model_copy(update={"inverters": quick})
    write(replace(derivation, devices=devices), derived, force=True)
    return f"""
scenario: 1
name: volt-var-over-every-protocol
network: {network}
derived: {derived}
start: 2026-06-15T10:00:00Z
duration: 150 s
step: 1 s
seed: 5
applications:
  volt_var: {{mode: automatic, v_min: 0.97 pu, v_max: 1.03 pu, period: 10 s, delay: 10 s, pause: 20 s}}
stations:
  default: {{latency: 80 ms}}
{stations}
events:
  - {{at: 45 s, load: {{consumer: all, scale: 20 %}}}}
  - {{at: 85 s, load: {{consumer: all, scale: 130 %}}}}
"""


def _regulated(file: Path) -> None:
    """``grid - 0 (110) - TR - 1 (20) --- 2 --- 3``: loads and a bank at 2 and 3, an inverter at 3."""
    net = pp.create_empty_network()
    pp.create_bus(net, 110.0)
    for _ in range(3):
        pp.create_bus(net, 20.0)
    pp.create_ext_grid(net, 0, s_sc_max_mva=1000.0, rx_max=0.2)
    pp.create_transformer_from_parameters(
        net, 0, 1, sn_mva=16.0, vn_hv_kv=110.0, vn_lv_kv=20.0, vkr_percent=0.5, vk_percent=12.0, pfe_kw=0.0,
        i0_percent=0.0, tap_side="hv", tap_neutral=0, tap_min=-2, tap_max=1, tap_step_percent=1.25, tap_pos=0,
    )  # fmt: skip
    for a, b in ((1, 2), (2, 3)):
        pp.create_line_from_parameters(
            net, a, b, length_km=6.0, r_ohm_per_km=0.3, x_ohm_per_km=0.35, c_nf_per_km=10.0, max_i_ka=0.4
        )
    pp.create_load(net, 2, p_mw=2.0, q_mvar=0.8)
    pp.create_load(net, 3, p_mw=2.0, q_mvar=0.8)
    pp.create_shunt(net, 2, q_mvar=-0.3, step=0, max_step=3, name="C1")
    pp.create_sgen(net, 3, p_mw=2.0, q_mvar=0.0, sn_mva=2.5, type="PV", name="PV1")
    pp.to_json(net, str(file))


@dataclass(frozen=True)
class Case:
    """A scenario, the stations of a mixture, and the actions that its log must hold to mean something."""

    text: Callable[[str, Path], str]
    stations: Iterable[int]
    actions: frozenset[str]


CASES = {
    "flisr": Case(flisr, range(1, 12), frozenset({"open", "close"})),
    "return": Case(return_to_normal, range(1, 12), frozenset({"open", "close"})),
    "load_shedding": Case(load_shedding, range(25), frozenset({"set to 1", "open", "close"})),
    "volt_var": Case(volt_var, (3, 1, 2), frozenset({"step higher", "step lower", "set to"})),
}


def command_log(ran: Ran) -> list[tuple[str, str, str]]:
    """(equipment, action, phase) of every command, in order."""
    return [(row["switch"], row["action"], row["phase"]) for row in ran.of("command") if row["phase"] != "activated"]


def of(case: str, folder: Path, stations: str = "", *, name: str = "run", **options: Any) -> Ran:
    """A run of a case in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    return run(folder, CASES[case].text(stations, folder), name=name, **options)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """The run of a case over the in-process link."""
    return cache(lambda case: of(case, tmp_path_factory.mktemp(case), protocol="in_process"))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "in_process"])
def test_protocol__gives_the_command_log_of_the_in_process_link(
    protocol: str, case: str, references: Callable[[str], Ran], tmp_path: Path
) -> None:
    reference, ran = references(case), of(case, tmp_path, protocol=protocol)
    assert command_log(ran) == command_log(reference)
    assert ran.commanded() == reference.commanded()
    assert ran.of("plan", outcome="done")
    done = {action for _, action in ran.commanded()}
    assert all(any(action.startswith(wanted) for action in done) for wanted in CASES[case].actions)


@pytest.mark.parametrize("case", CASES)
def test_mixture__gives_the_command_log_and_the_same_journal_twice(
    case: str, references: Callable[[str], Ran], tmp_path: Path
) -> None:
    stations = one_of_each(CASES[case].stations)
    mixed = [of(case, tmp_path, stations, name=name) for name in ("one", "two")]
    assert command_log(mixed[0]) == command_log(references(case))
    assert mixed[0].journal == mixed[1].journal


def test_modbus__same_seed_same_journal_with_jitter_and_loss(tmp_path: Path) -> None:
    stations = "\n".join(f"RTU_{n}: {{protocol: modbus}}" for n in (1, 3, 8))
    default = "protocol: in_process, latency: 80 ms, jitter: 60 ms, loss: 5 %"
    text = scenario(FAULT, default=default, stations=stations, duration="20 s")
    runs = [run(tmp_path, text, name=name) for name in ("one", "two")]
    assert runs[0].journal == runs[1].journal
    assert runs[0].of("plan", outcome="done")


def test_modbus__continues_from_a_snapshot_with_the_rest_of_the_journal(tmp_path: Path) -> None:
    whole = of("flisr", tmp_path, name="whole", protocol="modbus", snapshot_at=(61_000, 66_500))
    for moment in (61_000, 66_500):
        snapshot = whole.result.snapshots[moment]
        rest = of("flisr", tmp_path, name=str(moment), protocol="modbus", continue_from=snapshot)
        assert rest.journal
        assert whole.journal.endswith(rest.journal)
