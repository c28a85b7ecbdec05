"""Makes a changed copy of a compiled network: what a control room believes, where it is not what stands outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from twin.errors import Blame, TwinError
from twin.network.model import Network


class NothingToChangeError(TwinError):
    """A network is to be changed where it has nothing (any more)."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, kind: str, name: str) -> None:
        self.network, self.kind, self.name = network, kind, name
        super().__init__(f"there is no {kind} {name} to be changed in this copy of network {network}")


class NetworkEdit:
    """Collects changes to a network by name; :meth:`result` is the changed copy.

    Raises:
        NothingToChangeError: what is to be changed is not there, or has been removed.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def result(self) -> Network:
        """The copy with all changes so far."""
        return self._network

    def _row(self, kind: str, names: tuple[str, ...], name: str) -> int:
        if name not in names:
            raise NothingToChangeError(self._network.name, kind, name)
        return names.index(name)

    def normal_position(self, switch: str, *, closed: bool) -> None:
        """The switch is drawn as normally closed, or normally open."""
        switches = self._network.switches
        changed = _with(switches.normally_closed, self._row("switch", switches.names, switch), closed)
        self._network = replace(self._network, switches=replace(switches, normally_closed=changed))

    def rating(self, line: str, i_max_a: float) -> None:
        """The line is believed to carry ``i_max_a`` A."""
        lines = self._network.lines
        changed = _with(lines.i_max_a, self._row("line", lines.names, line), i_max_a)
        self._network = replace(self._network, lines=replace(lines, i_max_a=changed))

    def demand(self, consumer: str, p_kw: float) -> None:
        """The consumer is believed to be rated ``p_kw`` kW, at its power factor."""
        consumers = self._network.consumers
        row = self._row("consumer", consumers.names, consumer)
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
        row = self._row("line", network.lines.names, line)
        keep_lines = np.arange(network.lines.n) != row
        switches = _rows(network.switches, network.switches.branch != row)
        branch = np.where(switches.branch > row, switches.branch - 1, switches.branch).astype(np.int32)
        earthing = _rows(network.earthing, network.earthing.branch != row)
        earthed = np.where(earthing.branch > row, earthing.branch - 1, earthing.branch).astype(np.int32)
        self._network = replace(
            network,
            lines=_rows(network.lines, keep_lines),
            switches=replace(switches, branch=branch),
            earthing=replace(earthing, branch=earthed),
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
