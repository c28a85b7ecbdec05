"""What makes the data of a three-phase network unsolvable, found before anything is calculated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twin.network.model import Bools
from twin.network.three_phase import ThreePhaseNetwork
from twin.solvers.grid_model_mapping import UnsolvableNetworkError


def check(network: ThreePhaseNetwork) -> None:
    """Refuse a network without a model.

    Raises:
        UnsolvableNetworkError: with all findings.
    """
    findings = tuple(_findings(network))
    if findings:
        raise UnsolvableNetworkError(network.name, findings)


def _findings(network: ThreePhaseNetwork) -> Iterator[str]:
    if not network.sources.n:
        yield "it has no source"
    nodes, lines, t, c = network.nodes, network.lines, network.transformers, network.consumers
    yield from _named(nodes.names, ~(nodes.v_nominal_kv > 0), "node {} has no positive nominal voltage")
    numbers = np.isfinite(lines.z_ohm) & np.isfinite(lines.y_s)
    finite: Bools = np.asarray(numbers.all(axis=(1, 2)))
    padded = np.where(numbers, lines.z_ohm, 0.0) + np.eye(3) * ~lines.phases[:, :, np.newaxis]
    singular = np.linalg.matrix_rank(padded) < 3 if lines.n else finite
    yield from _named(lines.names, ~finite, "line {} has an impedance or admittance that is no number")
    yield from _named(lines.names, finite & singular, "line {} has no impedance; it would have to be a switch")
    leakage = np.hypot(t.r_pu, t.x_pu)
    yield from _named(t.names, ~(leakage > 0), "transformer {} has no leakage impedance")
    rated = (t.v_from_kv > 0) & (t.v_to_kv > 0) & (t.s_kva > 0)
    yield from _named(t.names, ~rated, "transformer {} has no positive rating")
    yield from _named(c.names, ~(c.v_nominal_kv > 0), "consumer {} has no positive nominal voltage")
    shunts = network.shunts
    yield from _named(shunts.names, ~(shunts.v_nominal_kv > 0), "shunt {} has no positive nominal voltage")


def _named(names: tuple[str, ...], wrong: Bools, text: str) -> Iterator[str]:
    return (text.format(names[row]) for row in np.flatnonzero(wrong))
