"""The device profile says what the station does."""

from __future__ import annotations

from collections.abc import Callable

from twin.outstations.dnp3 import Dnp3Outstation
from twin.outstations.dnp3_profile import device_profile
from twin.protocols.dnp3 import LinkSettings


def test_profile__names_settings_functions_and_every_point(station: Callable[..., Dnp3Outstation]) -> None:
    there = station(masters=(1, 7), unsolicited=False, link=LinkSettings(max_fragment=1_024))
    page = device_profile(there)
    for line in (
        "# DNP3 device profile of RTU_1",
        "| link address | 1024 |",
        "| masters | 1, 7 |",
        "| unsolicited responses | not supported |",
        "| largest fragment, sent and received | 1024 octets |",
        "| 4 | operate | yes |",
        "| 6 | direct operate nr | no |",
        "| 247 | user-assigned name | RTU_1 |",
        "| 0 | position | 2 | 2 | 1 | 0 |",
        "| 300 | far | 1 | 3 | 3 | 0 |",
        "| 2 | i_2 | 5 | 7 | 2 | 0.5 |",
        "| 0 | operate | 2 | 2 | none | 0 |",
    ):
        assert line in page.splitlines()
    assert "Static variations: 1, 2, 3, 4, 5, 6." in page
    listed = [int(line.split("|")[1]) for line in page.split("## Functions")[1].split("##")[0].splitlines()[4:] if line]
    assert set(listed) == {0, *there.services}
