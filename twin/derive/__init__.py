"""From a network alone to a telecontrolled one: stations, points, addresses, zones and device settings."""

from twin.derive.derivation import Derivation, derive
from twin.derive.files import EditedFilesError, write
from twin.derive.options import DeriveOptions
from twin.derive.reading import DerivationFileError, FileFinding, read
from twin.derive.settings import (
    BreakerSettings,
    Curve,
    DeviceSettings,
    IndicatorSettings,
    LoadBreakSwitchSettings,
    RecloserSettings,
    RelaySettings,
    Station,
)

__all__ = [
    "BreakerSettings",
    "Curve",
    "Derivation",
    "DerivationFileError",
    "DeriveOptions",
    "DeviceSettings",
    "EditedFilesError",
    "FileFinding",
    "IndicatorSettings",
    "LoadBreakSwitchSettings",
    "RecloserSettings",
    "RelaySettings",
    "Station",
    "derive",
    "read",
    "write",
]
