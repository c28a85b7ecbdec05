"""Makes a changed copy of a compiled network: what a control room believes, where it is not what stands outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from twin.network.model import Network


class NetworkEdit:
    """Collects changes to a network by name; :meth:`result` is the changed copy. Names must exist."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def result(self) -> Network:
        """The copy with all changes so far."""
        return self._network

    def normal_position(self, switch: str, *, closed: bool) -> None:
        """The switch is drawn as normally closed, or normally open."""
        switches = self._network.switches
        changed = _with(switches.normally_closed, switches.names.index(switch), closed)
        self._network = replace(self._network, switches=replace(switches, normally_closed=changed))

    def rating(self, line: str, i_max_a: float) -> None:
        """The line is believed to carry ``i_max_a`` A."""
        lines = self._network.lines
        changed = _with(lines.i_max_a, lines.names.index(line), i_max_a)
        self._network = replace(self._network, lines=replace(lines, i_max_a=changed))

    def demand(self, consumer: str, p_kw: float) -> None:
        """The consumer is believed to be rated ``p_kw`` kW, at its power factor."""
        consumers = self._network.consumers
        row = consumers.names.index(consumer)
        ratio = p_kw / consumers.p_kw[row] if consumers.p_kw[row] else 0.0
        self._network = replace(
            self._network,
            consumers=replace(
                consumers,
                p_kw=_with(consumers.p_kw, row, p_kw),
                q_kvar=_with(consumers.q_kvar, row, consumers.q_kvar[row] * ratio),
            ),
        )

    def remove_line(self, line: str) -> None:
        """The line and the switches at its ends are not in the drawing."""
        network = self._network
        row = network.lines.names.index(line)
        keep_lines = np.arange(network.lines.n) != row
        switches = _rows(network.switches, network.switches.branch != row)
        branch = np.where(switches.branch > row, switches.branch - 1, switches.branch).astype(np.int32)
        self._network = replace(
            network, lines=_rows(network.lines, keep_lines), switches=replace(switches, branch=branch)
        )


def _with(column: Any, row: int, value: float) -> Any:
    changed = column.copy()
    changed[row] = value
    return changed


def _rows(table: Any, keep: Any) -> Any:
    """The rows of a table of a network where ``keep`` is True."""
    columns = {
        name: column[keep]
        if isinstance(column, np.ndarray)
        else tuple(value for value, kept in zip(column, keep, strict=True) if kept)
        for name, column in vars(table).items()
    }
    return type(table)(**columns)
