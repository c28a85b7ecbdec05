"""How property tests draw their cases: always the same ones in a test run, new ones in a hunt (``make hunt``).

Networks that tests load are kept below ``build/``, not in the user's cache.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).parents[1]
os.environ.setdefault("TWIN_CACHE_DIR", str(ROOT / "build" / "cache"))
sys.path.append(str(ROOT))  # for the benchmarks that have tests

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("hunt", derandomize=False, deadline=None, database=None, print_blob=True)
settings.load_profile("steady")
