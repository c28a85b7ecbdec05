"""How property tests draw their cases: always the same ones in a test run, new ones in a hunt (``make hunt``).

Networks that tests load are kept below ``build/``, not in the user's cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings

os.environ.setdefault("TWIN_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "cache"))

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("hunt", derandomize=False, deadline=None, database=None, print_blob=True)
settings.load_profile("steady")
