"""What is checked before a run, with the line of each finding, and what a scenario becomes for the simulators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulators.preparation import Preparation, prepare
from simulators.profiles import ProfileError
from twin.errors import ExitCode, TwinError
from twin.scenario import ScenarioError
from twin.timebase import NEVER

HEAD = (
    "scenario: 1",
    "name: toy",
    "network: cigre_mv",
    "start: 2026-01-15T18:00:00Z",
    "duration: 10 min",
)

Prepare = Callable[..., Preparation]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Prepares a scenario on CIGRE MV with these lines from line 6 on."""

    def run(*lines: str) -> Preparation:
        path = tmp_path / "s.yaml"
        path.write_text("\n".join((*HEAD, *lines)) + "\n", encoding="utf-8")
        return prepare(path)

    return run


def findings(prepared: Prepare, *lines: str) -> list[str]:
    with pytest.raises(ScenarioError) as refused:
        prepared(*lines)
    assert refused.value.exit_code is ExitCode.USAGE
    return [str(finding).rpartition("/")[2] for finding in refused.value.findings]


class TestFindings:
    def test_fault__of_earth_without_zero_sequence_data(self, prepared: Prepare) -> None:
        lines = ("events:", "  - {at: 5 s, fault: {line: L3-8, kind: phase-to-earth}}")
        [finding] = findings(prepared, *lines)
        assert finding.startswith("s.yaml:7: network cigre_mv has no zero-sequence data of L1-2, L2-3,")
        assert finding.endswith("TR_1, so an earth fault cannot be calculated")

    def test_fault__on_an_unknown_line_is_said_once(self, prepared: Prepare) -> None:
        [finding] = findings(prepared, "events: [{at: 5 s, fault: {line: L3-9, kind: phase-to-earth}}]")
        assert finding.startswith("s.yaml:6: there is no line L3-9")

    def test_profile__unknown_suggests_its_neighbour(self, prepared: Prepare) -> None:
        assert findings(prepared, "plant:", "  loads: {profile: winter-weekdy}") == [
            "s.yaml:7: there is no load profile winter-weekdy; did you mean winter-weekday?"
        ]

    def test_findings__of_all_kinds_come_together_in_the_order_of_lines(self, prepared: Prepare) -> None:
        told = findings(
            prepared,
            "plant: {loads: {profile: summer}}",
            "events:",
            "  - {at: 5 s, fault: {line: L3-8, kind: phase-to-earth}}",
            "  - {at: 6 s, operate: {switch: CB_9, to: open}}",
            "stations: {RTU_77: {latency: 1 s}}",
        )
        assert [one.split(":")[1] for one in told] == ["6", "8", "9", "10"]

    def test_copy__that_contradicts_itself_names_the_line(self, prepared: Prepare) -> None:
        told = findings(
            prepared,
            "control_room_network:",
            "  - {line: L3-8, missing: true}",
            "  - {switch: LBS_3-8, normally: open}",
        )
        assert told == ["s.yaml:8: there is no switch LBS_3-8 to be changed in this copy of network cigre_mv"]

    def test_profile_file__that_is_none_is_refused(self, prepared: Prepare, tmp_path: Path) -> None:
        (tmp_path / "day.csv").write_text("hello\n1\n")
        with pytest.raises(ProfileError, match=r"day\.csv is no load profile"):
            prepared("plant: {loads: {profile: day.csv}}")

    def test_network__unknown_is_an_error_of_the_scenario(self, tmp_path: Path) -> None:
        path = tmp_path / "s.yaml"
        path.write_text("\n".join(HEAD).replace("cigre_mv", "nowhere") + "\n")
        with pytest.raises(TwinError) as refused:
            prepare(path)
        assert refused.value.exit_code is ExitCode.USAGE


class TestEvents:
    def test_event__at_a_time(self, prepared: Prepare) -> None:
        [event] = prepared("events: [{at: 60 s, id: f1, fault: {line: L3-8, permanent: false, position: 0.25}}]").events
        assert (event.event_id, event.kind, event.subject, event.at_ms) == ("f1", "fault", "L3-8", 60_000)
        assert event.condition is None
        assert event.data["line"] == "L3-8"
        assert (event.data["permanent"], event.data["position"]) == (False, 0.25)
        assert event.journal == {
            "line": "L3-8", "position": 0.25, "permanent": False, "fault_kind": event.data["kind"],
        }  # fmt: skip

    def test_event__on_a_condition(self, prepared: Prepare) -> None:
        [event] = prepared(
            'events: [{when: "CB_1.position == open", after: 90 s, call: {from: N8, text: no supply}}]'
        ).events
        assert (event.at_ms, event.after_ms, event.subject) == (NEVER, 90_000, "N8")
        assert event.condition is not None
        assert event.data == {"node": "N8", "text": "no supply"}

    @pytest.mark.parametrize(
        ("action", "kind", "subject", "data"),
        [
            ("clear fault: {id: f1}", "clear fault", "f1", {"id": "f1"}),
            (
                "comms loss: {station: RTU_3, for: 20 s}",
                "comms loss",
                "RTU_3",
                {"station": "RTU_3", "for_ms": 20_000},
            ),
            ("comms loss: {station: RTU_3}", "comms loss", "RTU_3", {"station": "RTU_3", "for_ms": 600_000}),
            (
                "operate: {switch: CB_1, to: open, at: plant}",
                "operate",
                "CB_1",
                {"switch": "CB_1", "closed": False, "at": "plant"},
            ),
            ("load: {consumer: all, scale: 120 %}", "load", "all", {"consumer": "all", "scale": 1.2}),
            (
                "device fault: {switch: CB_1, fails to: close}",
                "device fault",
                "CB_1",
                {"switch": "CB_1", "fails_to": "close"},
            ),
            (
                "device fault: {indicator: LBS_3-8, fails: silent}",
                "device fault",
                "LBS_3-8",
                {"indicator": "LBS_3-8", "fails": "silent"},
            ),
            ("local: {switch: CB_1}", "local", "CB_1", {"switch": "CB_1"}),
            ("operator: {acknowledge: all}", "operator", "operator", {"acknowledge": "all"}),
            ("operator: {approve plan: all}", "operator", "operator", {"approve_plan": "all"}),
        ],
    )
    def test_event__of_each_kind_tells_the_simulators_what_they_need(
        self, prepared: Prepare, action: str, kind: str, subject: str, data: dict[str, object]
    ) -> None:
        event = prepared("events:", "  - {at: 1 s, id: f1, fault: {line: L3-8}}", f"  - {{at: 5 s, {action}}}").events[
            1
        ]
        assert (event.kind, event.subject, dict(event.data)) == (kind, subject, data)


class TestWhatIsPrepared:
    def test_columns__are_the_standard_ones_and_those_to_plot_once(self, prepared: Prepare) -> None:
        p = prepared("report: {plot: [N8.v_pu, loading_max]}")
        assert [column.name for column in p.columns] == [
            "customers_interrupted", "loading_max", "v_min_pu", "v_max_pu", "N8.v_pu",
        ]  # fmt: skip

    def test_columns__without_wishes_show_the_feeder_heads(self, prepared: Prepare) -> None:
        p = prepared()
        heads = [
            f"{name}.i_a"
            for name, head in zip(p.plant.switches.names, p.plant.switches.feeder_head, strict=True)
            if head
        ]
        assert [column.name for column in p.columns][4:] == heads[:8]

    def test_copy__of_the_control_room_has_its_errors_and_the_plant_has_not(self, prepared: Prepare) -> None:
        p = prepared(
            "control_room_network:",
            "  - {line: L3-8, rating: 55 A}",
            "  - {switch: TIE_1, normally: closed}",
            "  - {line: L10-11, missing: true}",
        )
        row = p.plant.lines.names.index("L3-8")
        assert p.control_room.lines.i_max_a[p.control_room.lines.names.index("L3-8")] == 55.0
        assert p.plant.lines.i_max_a[row] != 55.0
        assert p.control_room.find("L10-11") is None
        tie = p.control_room.switches.names.index("TIE_1")
        assert p.control_room.switches.normally_closed[tie]
        assert not p.plant.switches.normally_closed[p.plant.switches.names.index("TIE_1")]

    def test_copy__without_errors_is_the_plant(self, prepared: Prepare) -> None:
        p = prepared()
        assert p.control_room is p.plant

    def test_time_base__starts_with_the_scenario(self, prepared: Prepare) -> None:
        assert prepared().time_base.instant(0).isoformat() == "2026-01-15T18:00:00+00:00"

    def test_profile__of_a_file_beside_the_scenario(self, prepared: Prepare, tmp_path: Path) -> None:
        (tmp_path / "day.csv").write_text("residential,commercial,industrial\n1,1,1\n0.5,0.5,0.5\n")
        p = prepared("plant: {loads: {profile: day.csv}}")
        assert np.asarray(p.profile["industrial"]).tolist() == [1.0, 0.5]
