"""Load shedding: which feeders are armed for it, which are shed for a limit or a schedule, and how they come back."""

from twin.dms.load_shedding.arming import Arming, arm
from twin.dms.load_shedding.model import APPLICATION, Feeder, LoadSheddingSettings, Violation, Window
from twin.dms.load_shedding.relief import Relief, relieve, scheduled_kw
from twin.dms.load_shedding.restoration import Restoration, restore

__all__ = [
    "APPLICATION",
    "Arming",
    "Feeder",
    "LoadSheddingSettings",
    "Relief",
    "Restoration",
    "Violation",
    "Window",
    "arm",
    "relieve",
    "restore",
    "scheduled_kw",
]
