"""The control room as one: operator, journal, snapshot in the middle of it all."""

from __future__ import annotations

import json

import pytest
from control_room_bench import CLOSED, OPEN, Bench, network

from twin.control_room import ControlRoom, ControlRoomSettings
from twin.derive import derive
from twin.links.in_process import InProcessMasterSession
from twin.network.edit import NetworkEdit
from twin.scada.alarms import AlarmState


def journal(bench: Bench) -> list[str]:
    return [entry.to_json() for entry in bench.journal]


class TestOperator:
    def test_operator__opens_a_switch(self, bench: Bench) -> None:
        number = bench.room.operate("S2", False, bench.now)
        bench.run(5_000)
        assert bench.operated == [("S2", "open")]
        phases = [entry.data["phase"] for entry in bench.lines("command") if entry.data["command_id"] == number]
        assert phases == ["requested", "selected", "executing", "activated", "confirmed"]
        assert bench.lines("command")[0].data["by"] == "dispatcher"
        assert bench.room.positions()[3] == OPEN

    def test_operator__acknowledges_alarms(self, bench: Bench) -> None:
        bench.tell("CB_1.trip", 1.0)
        bench.tell("CB_2.trip", 1.0)
        bench.run(2_000)
        alarms = bench.room.front_end.alarms
        assert bench.room.counts()["alarms_active"] >= 2
        subject = next(alarm.subject for alarm in alarms.display() if "CB_1" in alarm.subject)
        bench.room.operator({"acknowledge": subject}, bench.now)
        assert {alarm.subject for alarm in alarms.display() if alarm.state is AlarmState.ACKNOWLEDGED} == {subject}
        bench.room.operator({"acknowledge": "all"}, bench.now)
        assert alarms.unacknowledged == 0

    def test_customer__call_is_journalled(self, bench: Bench) -> None:
        bench.room.call("N3", "no supply", 1_500)
        [entry] = bench.room.take_journal()
        assert entry.to_json() == (
            '{"t_ms":1500,"source":"control_room","kind":"call","subject":"N3","text":"no supply"}'
        )


class TestCycle:
    def test_step__with_nothing_due_does_nothing(self, bench: Bench) -> None:
        before = bench.snapshot()
        bench.run(bench.now + 5_000)
        state, now = json.loads(bench.snapshot()), json.loads(before)
        state.pop("now")
        now.pop("now")
        assert state["room"]["watch"] == now["room"]["watch"]
        assert state["room"]["plans"] == now["room"]["plans"]
        assert bench.journal == []

    def test_step__wants_a_cycle_at_the_limit_of_a_command(self, bench: Bench) -> None:
        bench.mute = {bench.point["S2.position"].station}
        bench.room.operate("S2", False, bench.now)
        bench.cycle()
        assert bench.room.next_wanted() == bench.now + 5_000

    def test_counts__start_at_nothing(self, bench: Bench) -> None:
        assert bench.room.counts() == {
            "alarms_active": 0, "plans_made": 0, "plans_done": 0, "plans_rejected": 0,
        }  # fmt: skip

    def test_journal__is_taken_once(self, bench: Bench) -> None:
        bench.room.call("N1", "hm", 0)
        assert len(bench.room.take_journal()) == 1
        assert bench.room.take_journal() == []


def test_room__leaves_out_points_of_what_its_network_lacks() -> None:
    plant = network()
    edit = NetworkEdit(plant)
    edit.remove_line("L2")
    points = list(derive(plant).points)
    sessions = {name: InProcessMasterSession(name) for name in {point.station for point in points}}
    room = ControlRoom(edit.result(), points, sessions)
    assert "S1" not in room.network.switches.names
    assert not room.front_end.database.has("RTU_1", "S1.position")
    assert room.front_end.database.has("RTU_2", "S3.position")
    assert len(room.positions()) == 4


def test_settings__are_bounded() -> None:
    for wrong in (
        {"flisr": {"mode": "on"}},
        {"flisr": {"settle_ms": -1}},
        {"flisr": {"max_replans": 21}},
        {"unknown": {}},
    ):
        with pytest.raises(ValueError):
            ControlRoomSettings(**wrong)


class TestSnapshot:
    @pytest.mark.parametrize("jammed", [(), ("S2",)])
    @pytest.mark.parametrize("mode", ["automatic", "advisory"])
    def test_restore__after_any_cycle_gives_the_same_journal(self, mode: str, jammed: tuple[str, ...]) -> None:
        whole = Bench(flisr_mode=mode).start()
        whole.jammed = set(jammed)
        whole.run(2_000)
        whole.trip("CB_1", "S1")
        saved: list[tuple[int, str]] = []
        while whole.now < 12_000:
            whole.run(whole.now + 100)
            if whole.now == 8_000:
                whole.room.operator({"approve_plan": "all"}, whole.now)
            saved.append((len(whole.journal), whole.snapshot()))
        assert whole.plans()[0].data["verdict"] == "full restoration"
        told = journal(whole)
        for told_before, snapshot in saved[::8]:
            again = Bench(flisr_mode=mode)
            again.jammed = set(jammed)
            again.restore(snapshot)
            while again.now < 12_000:
                again.run(again.now + 100)
                if again.now == 8_000:
                    again.room.operator({"approve_plan": "all"}, again.now)
            assert journal(again) == told[told_before:]
            assert again.snapshot() == whole.snapshot()

    def test_snapshot__in_mid_plan_is_plain_json_and_stays_as_taken(self, bench: Bench) -> None:
        bench.run(2_000)
        bench.trip("CB_1", "S1")
        bench.run(7_500)
        taken = bench.room.snapshot()
        text = json.dumps(taken, allow_nan=False)
        assert bench.plans() != []
        bench.run(20_000)
        assert json.dumps(taken) == text
        assert json.dumps(bench.room.snapshot()) != text
        assert bench.room.positions()[5] == CLOSED
