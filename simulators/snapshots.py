"""What a snapshot of a world is made of, and which scenario it fits to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from simulators.preparation import Preparation
from twin.errors import Blame, TwinError
from twin.scenario import PlantState

SNAPSHOT_VERSION = 2
FREE_IN_A_BRANCH = {"description", "duration", "report"}
"""What a run that continues from a snapshot may have other than the run that left it."""


class SnapshotError(TwinError):
    """A snapshot cannot be continued from."""

    blame = Blame.SCENARIO


def made_of(preparation: Preparation, protocol: str | None) -> dict[str, str]:
    """What a snapshot fits to: the name of the scenario, and a digest of each part that a continued run must share.

    The end of the run and what the report shows are free.
    """
    scenario = preparation.scenario.model_dump(mode="json", by_alias=True, exclude=FREE_IN_A_BRANCH)
    stations = [station.name for station in preparation.derivation.remote_stations]
    protocols = {name: protocol or preparation.scenario.station(name).protocol for name in stations}
    parts = {**scenario, "protocols": protocols}
    digests = {name: _digest(part) for name, part in parts.items() if name != "name"}
    return {"name": preparation.scenario.name, **digests}


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]


def read_snapshot(snapshot: bytes, preparation: Preparation, protocol: str | None) -> dict[str, Any]:
    """The data of a snapshot that fits to a scenario and, if given, the protocol of every station.

    Raises:
        SnapshotError: it is none, or was made of another scenario.
    """
    try:
        data = json.loads(snapshot)
    except ValueError as error:
        raise SnapshotError("this is no snapshot of a world: it is not JSON") from error
    if not isinstance(data, dict) or not {"version", "made_of", "simulators"} <= data.keys():
        raise SnapshotError("this is no snapshot of a world: it holds something else")
    if data["version"] != SNAPSHOT_VERSION:
        raise SnapshotError("the snapshot was made by another version of the twin")
    there, here = data["made_of"], made_of(preparation, protocol)
    if there["name"] != here["name"]:
        raise SnapshotError(f"the snapshot is of the scenario {there['name']}, not of {here['name']}")
    if other := [part for part in here if here[part] != there.get(part)]:
        raise SnapshotError(f"the snapshot does not fit: since it was made, the scenario has other {', '.join(other)}")
    return data


def to_json(value: Any) -> Any:
    """An array as a list, anything else as it is."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def state_to_json(state: PlantState) -> dict[str, Any]:
    """The plant's state as plain data."""
    plain = {name: to_json(value) for name, value in asdict(state).items()}
    return {name: None if value != value else value for name, value in plain.items()}


def state_from_json(data: Mapping[str, Any]) -> PlantState:
    """The inverse of :func:`state_to_json`."""
    values = {f.name: data[f.name] for f in fields(PlantState)}
    arrays = {name: np.array(value) for name, value in values.items() if isinstance(value, list)}
    missing = {name: float("nan") for name, value in values.items() if value is None}
    return PlantState(**{**values, **arrays, **missing})
