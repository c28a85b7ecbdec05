"""How property tests draw their cases: always the same ones in a test run, new ones in a hunt (``make hunt``)."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("hunt", derandomize=False, deadline=None, database=None, print_blob=True)
settings.load_profile("steady")
