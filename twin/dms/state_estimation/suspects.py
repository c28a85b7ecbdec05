"""Topology error suspicion: would the measurements make more sense if a switch stood the other way round?

Candidates near contradicting points are each tried by an estimate with nothing left out; those that fit best go
through the search for wrong points. One switch reported wrong is accepted as the explanation only where it stands for
at least two points that would have to be wrong at once otherwise. Then the next one is looked for, with the first the
other way round. Where no single switch helps, the best ones are tried in pairs: a load that moved from one feeder to
another without a report is one opened and one closed switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from twin.dms.state_estimation.fit import Fit
from twin.dms.state_estimation.frame import Frame, names_of
from twin.dms.state_estimation.inputs import Inputs
from twin.dms.state_estimation.model import SuspectSwitch
from twin.dms.state_estimation.telemetry import MeasuredPoints
from twin.dms.state_estimation.trial import Trial
from twin.dms.topology import SupplyState
from twin.network.model import Bools, Network
from twin.network.topology import Topology
from twin.solvers.state_estimation import BadDataSettings

LEAST_POINTS = 2
"""Fewer contradicting points are taken for wrong measurements without further ado."""

_BORDER = 100.0
"""How much likelier a switch between life and death is than any other one to explain a contradiction."""

_AT_ONCE = 4
"""So many of the likeliest switches are tried before looking whether one of them explains everything."""

_FULL_TRIALS = 4
"""So many of the switches that fit best go through the search for wrong points."""

_CLOSED = 2
"""So many of the open switches that fit best closed are tried with an opened one in the loop they make."""

_SILENT = 4.0
"""P, Q and I below so many sigmas may be nothing at all."""

_PARTNERS = 4
"""So many of the switches without any flow are tried with each."""

_PAIRED = 4
"""So many of the switches that fit best are tried in pairs where none helps alone."""


@dataclass(frozen=True)
class Explanation:
    """The network with some switches the other way round, and its fit."""

    suspects: tuple[SuspectSwitch, ...]
    frame: Frame
    fit: Fit


@dataclass(frozen=True)
class _Choice:
    """The trial that explains best, and the names of those that explain as much."""

    trial: Trial
    fit: Fit
    as_well: tuple[str, ...]


@dataclass(frozen=True)
class Suspicion:
    """Tries switches; ``passive`` are the nodes without injection."""

    network: Network
    points: MeasuredPoints
    passive: Bools
    bad_data: BadDataSettings
    most: int

    def explain(self, frame: Frame, inputs: Inputs, found: Fit) -> Explanation | None:
        """The switches that explain what contradicts; None if there is none, or nothing to explain."""
        explained: Explanation | None = None
        told: tuple[SuspectSwitch, ...] = ()
        while found.wrong >= LEAST_POINTS and self.most:
            now = self._trial((), frame, inputs)
            choice = self._choose(now, found, {suspect.switch for suspect in told})
            if choice is None:
                break
            told += tuple(self._suspect(row, choice, now, found) for row in choice.trial.switches)
            frame, found = choice.trial.frame, choice.fit
            explained = Explanation(told, frame, found)
        return explained

    def _choose(self, now: Trial, found: Fit, told: set[int]) -> _Choice | None:
        """The next switch that explains at least two points, or the next two together."""
        candidates = [row for row in self.candidates(now.frame, found) if row not in told]
        trials: list[Trial] = []
        choice = None
        for first in range(0, len(candidates), _AT_ONCE):
            trials += self._trials([(row,) for row in candidates[first : first + _AT_ONCE]], now)
            choice = self._best(trials, now, found)
            if choice is not None and choice.fit.wrong == 0:
                return choice
        if found.wrong <= LEAST_POINTS:
            return choice
        pairs = self._best(self._trials(self._pairs(trials, now), now), now, found)
        return min((c for c in (choice, pairs) if c is not None), key=lambda c: c.trial.order, default=None)

    def _pairs(self, trials: Sequence[Trial], now: Trial) -> list[tuple[int, ...]]:
        """Switches worth trying together: a load moved from one feeder to another without a report is one closed
        and one opened switch, and nothing flows through the opened one."""
        likely = [trial.switches[0] for trial in _by_misfit(trials)]
        pairs = [
            (row, partner)
            for row in [row for row in likely if not now.frame.closed[row]][:_CLOSED]
            for partner in self._silent_in_loop(row, now)
        ]
        return list(dict.fromkeys([*pairs, *combinations(likely[:_PAIRED], 2)]))

    def _silent_in_loop(self, tie: int, now: Trial) -> list[int]:
        """Closed switches without any flow in the loop that a tie would close, those nearest to nothing first."""
        s, m, n = self.network.switches, now.inputs.whole, self.points.n
        telemetered = np.flatnonzero(np.isfinite(m.value[:n]) & (self.points.switch >= 0))
        flow = np.full(s.n, np.inf)
        flow[self.points.switch[telemetered]] = 0.0
        np.maximum.at(flow, self.points.switch[telemetered], np.abs(m.value / m.sigma)[telemetered])
        edge = np.where(s.branch >= 0, s.branch, self.network.n_branches + np.arange(s.n))
        inside = np.isin(edge, self._loop(tie, now)) & now.frame.closed & (edge != edge[tie])
        silent = np.flatnonzero(inside & (flow < _SILENT))
        return [int(row) for row in silent[np.argsort(flow[silent], kind="stable")][:_PARTNERS]]

    def _loop(self, tie: int, now: Trial) -> tuple[int, ...]:
        """The edges of the loop that a tie would close; none if it closes none."""
        topology, branch = Topology(self.network), int(self.network.switches.branch[tie])
        own = branch if branch >= 0 else self.network.n_branches + tie
        loops = topology.loops(topology.state(now.frame.flipped(tie).closed))
        return next((loop.edges for loop in loops if own in loop.edges), ())

    def _best(self, trials: Sequence[Trial], now: Trial, found: Fit) -> _Choice | None:
        """The trial that needs the fewest wrong points and switches and fits best."""
        good: list[Trial] = []
        for trial in _by_misfit(trials)[:_FULL_TRIALS]:
            if trial.misfit >= now.misfit or (good and good[0].wrong == 1 and not trial.rivals(good[0])):
                break
            if trial.wrong < found.wrong:
                good.append(trial)
        good.sort(key=lambda trial: trial.order)
        if not good or good[0].fit is None:
            return None
        same = [trial for trial in good[1:] if trial.wrong == good[0].wrong and trial.rivals(good[0])]
        as_well = tuple(" with ".join(names_of(self.network, trial.switches)) for trial in same)
        return _Choice(good[0], good[0].fit, as_well)

    def _trials(self, groups: Iterable[tuple[int, ...]], now: Trial) -> list[Trial]:
        return [self._trial(switches, now.frame, now.inputs) for switches in groups]

    def _trial(self, switches: tuple[int, ...], frame: Frame, inputs: Inputs) -> Trial:
        return Trial.of(switches, frame, inputs, self.network, self.passive, self.bad_data)

    def _borders_supply(self, frame: Frame, found: Fit) -> Bools:
        """Switches between what seems alive and what seems dead: by voltages that contradict, else by topology."""
        s, network = self.network.switches, self.network
        live = frame.node == SupplyState.ENERGISED
        contradicting = found.outside[self.points.switch[found.outside] < 0]
        live[self.points.place[contradicting]] ^= True
        at_branch = s.branch >= 0
        branch = np.where(at_branch, s.branch, 0)
        far = np.where(at_branch, np.where(s.side == 0, network.branch_to[branch], network.branch_from[branch]), s.node)
        far = np.where(s.other_node >= 0, s.other_node, far)
        border: Bools = live[s.node] != live[far]
        return border

    def candidates(self, frame: Frame, found: Fit) -> list[int]:
        """Known switches at and around the contradicting points, those with the strongest contradictions first."""
        s, network = self.network.switches, self.network
        weight = np.zeros(s.n)
        sigmas = {bad.measurement: bad.normalised_residual for bad in found.removed}
        sigmas.update(zip(found.outside.tolist(), found.sigmas.tolist(), strict=True))
        for row, size in ((row, min(abs(far), 100.0)) for row, far in sigmas.items()):
            place, own = int(self.points.place[row]), int(self.points.switch[row])
            if own < 0:
                nodes: list[int] = [place]
            else:
                weight[s.branch == place] += size
                weight[own] += size
                nodes = [int(network.branch_from[place]), int(network.branch_to[place])]
            near = np.isin(s.node, nodes) | ((s.other_node >= 0) & np.isin(s.other_node, nodes))
            weight[near] += 0.1 * size
        weight[self._borders_supply(frame, found)] *= _BORDER
        order = np.argsort(-weight, kind="stable")
        known = [int(row) for row in order if weight[row] > 0 and row not in frame.unknown]
        return known[: self.most]

    def _suspect(self, switch: int, choice: _Choice, now: Trial, found: Fit) -> SuspectSwitch:
        name, closed = self.network.switches.names[switch], bool(now.frame.closed[switch])
        contradicting = tuple(self.points.names[row] for row in found.rows)
        told, other = ("closed", "open") if closed else ("open", "closed")
        few = ", ".join(contradicting[:4]) + (f" and {len(contradicting) - 4} more" if len(contradicting) > 4 else "")
        partners = names_of(self.network, [row for row in choice.trial.switches if row != switch])
        together = f" and {partners[0]} the other way round too" if partners else ""
        wrong = choice.fit.wrong
        more = "no point" if not wrong else f"only {wrong} of them"
        why = (
            f"{name} is reported {told}, but {found.wrong} points contradict that ({few}); were it {other}{together}, "
            f"{more} would have to be wrong and the misfit would be {choice.trial.misfit:.3g} instead of "
            f"{now.misfit:.3g}."
        )
        if choice.as_well:
            why += f" {' or '.join(choice.as_well)} would explain it as well."
        return SuspectSwitch(
            switch, name, closed, now.misfit, choice.trial.misfit, found.wrong, wrong, contradicting, why
        )


def _by_misfit(trials: Iterable[Trial]) -> list[Trial]:
    """Those that fit best first."""
    return sorted(trials, key=lambda trial: (trial.misfit, trial.switches))
