"""Between the stations and the device bank: tickets of one station are not those of another."""

from __future__ import annotations

import json

from simulators.field.simulator import CommandDesk
from twin.outstations.model import StationCommand


class Bank:
    """Takes down what it is asked, and refuses switches that are local."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, StationCommand]] = []

    def select(self, command: StationCommand, now: int) -> str:
        return self._ask("select", command)

    def operate(self, command: StationCommand, now: int) -> str:
        return self._ask("operate", command)

    def cancel(self, command: StationCommand, now: int) -> None:
        self._ask("cancel", command)

    def _ask(self, verb: str, command: StationCommand) -> str:
        self.asked.append((verb, command))
        return "local" if command.point.startswith("LOCAL") else ""


def desk() -> tuple[CommandDesk, Bank]:
    bank = Bank()
    return CommandDesk(bank), bank  # type: ignore[arg-type]


def order(station: str, ticket: int, point: str = "CB.operate") -> StationCommand:
    return StationCommand(station, point, 1.0, ticket)


def test_desk__passes_commands_on_under_numbers_of_its_own() -> None:
    one, bank = desk()
    one.select(order("A", 1), 0)
    one.operate(order("A", 1), 10)
    one.operate(order("B", 1), 20)
    one.cancel(order("B", 2), 30)
    assert [(verb, c.station, c.point, c.value) for verb, c in bank.asked] == [
        ("select", "A", "CB.operate", 1.0),
        ("operate", "A", "CB.operate", 1.0),
        ("operate", "B", "CB.operate", 1.0),
        ("cancel", "B", "CB.operate", 1.0),
    ]
    assert len({c.ticket for _, c in bank.asked}) == 4


def test_desk__finds_the_owner_of_a_finished_operation_once() -> None:
    one, bank = desk()
    one.operate(order("A", 7), 0)
    one.operate(order("B", 7), 0)
    first, second = (c.ticket for _, c in bank.asked)
    assert one.owner(second) == ("B", 7)
    assert one.owner(first) == ("A", 7)
    assert one.owner(first) is None


def test_desk__hands_refusals_back_and_remembers_none() -> None:
    one, bank = desk()
    assert one.select(order("A", 1, "LOCAL.operate"), 0) == "local"
    assert one.operate(order("A", 1, "LOCAL.operate"), 0) == "local"
    assert all(one.owner(c.ticket) is None for _, c in bank.asked)


def test_desk__selects_and_cancels_own_nothing() -> None:
    one, bank = desk()
    one.select(order("A", 1), 0)
    one.cancel(order("A", 1), 0)
    assert all(one.owner(c.ticket) is None for _, c in bank.asked)


def test_snapshot__keeps_owners_and_goes_on_counting() -> None:
    one, bank = desk()
    one.operate(order("A", 7), 0)
    other, other_bank = desk()
    other.restore(json.loads(json.dumps(one.snapshot())))
    other.operate(order("B", 9), 10)
    [(_, first)], [(_, second)] = bank.asked, other_bank.asked
    assert second.ticket == first.ticket + 1
    assert other.owner(first.ticket) == ("A", 7)
    assert other.owner(second.ticket) == ("B", 9)
