"""The device profile of one DNP3 outstation (IEEE 1815, annex D, in short): a page made from what it is set to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twin.outstations.dnp3 import Dnp3Outstation
from twin.protocols.dnp3.application import NO_RESPONSE, Function
from twin.protocols.dnp3.attributes import NAMES
from twin.protocols.dnp3.objects import EVENT_OF_STATIC, SPECS

_TITLES = {
    1: "Binary input",
    3: "Double-bit binary input",
    10: "Binary output status",
    20: "Counter",
    21: "Frozen counter",
    30: "Analogue input",
    31: "Frozen analogue input",
    40: "Analogue output status",
    110: "Octet string",
}
_CONTROLS = {10: "g12v1", 40: "g41v1 to v4"}


def device_profile(station: Dnp3Outstation) -> str:
    """The profile as Markdown: identity, link, application, functions, objects, and one table of points a group."""
    return "\n".join(_lines(station)) + "\n"


def _lines(station: Dnp3Outstation) -> Iterator[str]:
    yield f"# DNP3 device profile of {station.station}"
    yield ""
    yield from _table(("item", "setting"), _settings(station))
    yield "\n## Functions\n"
    yield from _table(("code", "function", "answered"), _functions(station))
    yield "\n## Device attributes (g0)\n"
    rows = ((number, NAMES[number], value) for number, value in station.attributes.items())
    yield from _table(("variation", "attribute", "value"), rows)
    for group, rows_of_group in station.database.groups.items():
        events = EVENT_OF_STATIC[group]
        yield f"\n## {_TITLES[group]} (g{group}, events g{events})\n"
        yield f"Static variations: {_variations(group)}. Event variations: {_variations(events)}."
        if group in _CONTROLS:
            yield f"Controls: {_CONTROLS[group]}, by select and operate or directly, as the point says."
        yield ""
        columns = ("index", "point", "static variation", "event variation", "class", "dead band")
        yield from _table(
            columns,
            (
                (
                    row.index,
                    row.point,
                    row.variation,
                    row.event_variation,
                    row.event_class or "none",
                    f"{row.dead_band:g}",
                )
                for row in rows_of_group.values()
            ),
        )


def _settings(station: Dnp3Outstation) -> Iterator[tuple[str, object]]:
    s = station.settings
    yield "DNP3 level", "2, with parts of 3 and 4"
    yield "link address", station.address
    yield "masters", ", ".join(str(master) for master in s.masters)
    yield "self address", "answered" if s.self_address else "not answered"
    yield "link confirmation of user data", "always" if s.link.confirmed else "never"
    yield "link status asked for after", f"{s.link.keep_alive_ms} ms without a frame"
    yield "largest fragment, sent and received", f"{s.link.max_fragment} octets"
    yield "application confirmation awaited for", f"{s.confirm_timeout_ms} ms"
    yield "unsolicited responses", _unsolicited(station)
    yield "controls in a request", f"at most {s.max_controls}"
    yield "select stands for", f"{s.select_timeout_ms} ms"
    yield "events kept for a master", f"{s.event_limit}; the oldest are dropped"
    yield "time synchronisation", "LAN and non-LAN; asked for after the start" if s.need_time else "LAN and non-LAN"
    yield "file transfer, secure authentication", "not supported"


def _unsolicited(station: Dnp3Outstation) -> str:
    s = station.settings
    if not s.unsolicited:
        return "not supported"
    return f"{s.unsolicited_retries} repetitions, then again after {s.unsolicited_retry_ms} ms"


def _functions(station: Dnp3Outstation) -> Iterator[tuple[object, ...]]:
    for code in sorted({Function.CONFIRM, *station.services}):
        function = Function(code)
        yield int(function), function.name.lower().replace("_", " "), "no" if function in NO_RESPONSE else "yes"


def _variations(group: int) -> str:
    return ", ".join(str(variation) for found, variation in sorted(SPECS) if found == group)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
