"""Stations that do not answer, and telecontrol paths that fail: the control room notices and the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import FAULT, Ran, run, scenario

from twin.errors import ExitCode
from twin.transport import SocketWire
from twin.transport.sockets import _AcceptedWire

FAULT_AT_9 = FAULT.replace("L3-8", "L8-9")
PROTOCOLS = ("iec104", "in_process")
T1_MS, T3_MS, BACK_OFF_MS = 15_000, 20_000, 5_000

# -- a station that takes the connection and says nothing ---------------------------------------------------------

SILENT = scenario(
    FAULT_AT_9,
    duration="45 s",
    stations="RTU_9: {answers: false}",
    extra="\n".join(
        [
            "expect:",
            '  - {id: unknown, never: "scada.LBS_9-8.position == closed"}',
            '  - {id: restored, within: 30 s of fault1, that: "customers_interrupted <= 415"}',
            '  - {id: on-fault, never: "closed_onto_fault"}',
        ]
    ),
)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """The same run over both protocols."""
    folder = tmp_path_factory.mktemp("silent")
    return {protocol: run(folder, SILENT, name=protocol, protocol=protocol) for protocol in PROTOCOLS}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_silent_station__lost_after_t1_and_dialled_again(silent: dict[str, Ran], protocol: str) -> None:
    told = [(row["t_ms"], row["state"]) for row in silent[protocol].of("session", "RTU_9")]
    period = T1_MS + BACK_OFF_MS
    expected = [(n * period + late, state) for n in range(3) for late, state in ((0, "connected"), (T1_MS, "lost"))]
    assert told == [row for row in expected if row[0] <= 45_000]


def test_silent_station__reason_of_the_loss(silent: dict[str, Ran]) -> None:
    reasons = {p: {row["detail"] for row in ran.of("session", "RTU_9", state="lost")} for p, ran in silent.items()}
    assert reasons == {
        "iec104": {"t1 expired: STARTDT act not acknowledged within 15000 ms"},
        "in_process": {"no answer to start within 15000 ms"},
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_silent_station__alarm_stands_once(silent: dict[str, Ran], protocol: str) -> None:
    alarms = silent[protocol].of("alarm", "RTU_9")
    assert [(row["t_ms"], row["state"], row["text"]) for row in alarms] == [(T1_MS, "raised", "RTU_9: connection lost")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_silent_station__flisr_goes_around_its_switches(silent: dict[str, Ran], protocol: str) -> None:
    ran = silent[protocol]
    assert ran.code == ExitCode.PASSED, ran.passed()
    switches = {step["switch"] for plan in ran.plans() for step in plan["steps"]}
    assert not switches & {"LBS_9-8", "LBS_9-10"}
    assert {("LBS_8-9", "open"), ("LBS_10-9", "open"), ("CB_1", "close")} <= set(ran.commanded())
    others = {row["subject"] for row in ran.of("session", state="interrogated")}
    assert "RTU_9" not in others
    assert len(others) > 10


def test_silent_station__same_over_both_protocols(silent: dict[str, Ran]) -> None:
    assert silent["iec104"].without("session") == silent["in_process"].without("session")


def test_silent_station__world_continues_from_a_snapshot(tmp_path: Path) -> None:
    whole = run(tmp_path, SILENT, name="whole", snapshot_at=(12_000, 17_000))
    for t_ms, snapshot in whole.result.snapshots.items():
        rest = run(tmp_path, SILENT, name=f"rest-{t_ms}", continue_from=snapshot)
        assert whole.journal.endswith(rest.journal)
        assert rest.rows[0]["t_ms"] > t_ms


# -- connections that stand and do not deliver --------------------------------------------------------------------


def test_announced_and_never_delivered__ends_the_run_with_the_station_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write_some(wire: SocketWire, payload: bytes) -> None:
        written.append(payload)
        if len(written) < 80:
            SocketWire.write(wire, payload)

    monkeypatch.setattr(_AcceptedWire, "write", write_some)
    ran = run(tmp_path, scenario(FAULT), barrier_limit_s=0.3, report=True)
    assert ran.code == ExitCode.BROKEN
    assert ran.result.message.startswith("station RTU_")
    assert f" does not answer: {len(written[79])} octets were announced, 0 came within 0.3 s" in ran.result.message
    assert ran.result.wall_s < 10.0
    assert ran.of("session", state="interrogated")
    assert "does not answer" in (ran.folder / "report.html").read_text()


def test_connection_cut_by_the_machine__ends_the_run_with_the_station_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write_some(wire: SocketWire, payload: bytes) -> None:
        written.append(payload)
        if len(written) < 80:
            SocketWire.write(wire, payload)
        else:
            SocketWire.write(wire, payload[:3])
            wire.close()

    monkeypatch.setattr(_AcceptedWire, "write", write_some)
    ran = run(tmp_path, scenario(FAULT))
    assert ran.code == ExitCode.BROKEN
    assert ran.result.message.startswith("station RTU_")
    assert ran.result.message.endswith(" octets were announced, 3 came before the end")
    assert ran.result.wall_s < 10.0


# -- a telecontrol path that is cut -------------------------------------------------------------------------------


def cut_for(seconds: int, duration_s: int) -> str:
    """A fault whose isolation needs RTU_9, which cannot be reached from just after the trip."""
    return scenario(
        FAULT_AT_9,
        f"{{at: 5500 ms, id: cut, comms loss: {{station: RTU_9, for: {seconds} s}}}}",
        duration=f"{duration_s} s",
        extra="\n".join(
            [
                "expect:",
                "  - {id: back, at: " + f"{duration_s} s" + ', that: "scada.LBS_9-10.position == closed"}',
                '  - {id: restored, within: 30 s of fault1, that: "customers_interrupted <= 415"}',
                '  - {id: on-fault, never: "closed_onto_fault"}',
            ]
        ),
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("seconds", "duration_s"), [(20, 40), (50, 75)], ids=["20s", "longer-than-t1-and-t3"])
def test_path_cut_during_flisr__lost_reconnected_interrogated(
    tmp_path: Path, protocol: str, seconds: int, duration_s: int
) -> None:
    text = cut_for(seconds, duration_s)
    ran = run(tmp_path, text, name="first", protocol=protocol)
    assert ran.code == ExitCode.PASSED, ran.passed()
    states = [row["state"] for row in ran.of("session", "RTU_9")]
    up = ["connected", "started", "interrogated"]
    if "lost" in states:
        assert states == [*up, "lost", *up]
        lost, again = ran.of("session", "RTU_9", state="lost")[0], ran.of("session", "RTU_9", state="connected")[1]
        assert lost["points"] > 0
        assert 5_500 < lost["t_ms"] <= 5_500 + T1_MS + T3_MS
        assert again["t_ms"] >= max(5_500 + seconds * 1_000, lost["t_ms"] + BACK_OFF_MS)
        assert [row["state"] for row in ran.of("alarm", "RTU_9")] == ["raised", "cleared"]
    else:
        assert seconds == 20
    assert ("LBS_10-9", "open") in ran.commanded()
    again = run(tmp_path, text, name="second", protocol=protocol)
    assert again.journal == ran.journal
