"""The clock of an emulated station: what it shows, and how far off a master found it."""

from __future__ import annotations

from typing import Any

from twin.outstations.iec104_settings import StationClockSettings
from twin.timebase import SimTime


class StationClock:
    """Shows ``t + error + drift x (t - reference)``, all in milliseconds of simulation time.

    ``offset_ms`` is what the last synchronisation commanded minus what the clock showed; None before the first.
    """

    def __init__(self, settings: StationClockSettings) -> None:
        self.settings = settings
        self.offset_ms: int | None = None
        self._error_ms = float(settings.error_ms)
        self._drift = settings.drift_ppm / 1e6
        self._reference: SimTime = 0
        self.exact = not (settings.error_ms or settings.drift_ppm or settings.set_by_master)

    @property
    def valid(self) -> bool:
        """Whether its time tags may be believed."""
        return not self.settings.set_by_master or self.offset_ms is not None

    def reading(self, t_ms: SimTime) -> SimTime:
        """What the clock shows at ``t_ms``."""
        if self.exact:
            return t_ms
        return t_ms + round(self._error_ms + self._drift * (t_ms - self._reference))

    def synchronize(self, commanded_ms: SimTime, now: SimTime) -> None:
        """A master says what time it is."""
        self.offset_ms = commanded_ms - self.reading(now)
        if self.settings.set_by_master:
            self._error_ms = float(commanded_ms - now)
            self._reference = now

    def snapshot(self) -> list[Any]:
        """State as JSON-able values."""
        return [self.offset_ms, self._error_ms, self._reference]

    def restore(self, state: list[Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self.offset_ms, self._error_ms, self._reference = state
