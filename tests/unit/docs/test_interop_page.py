"""The page that says which test proves which cell names only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_interop_page__names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "protocols" / "interop.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)?test_\w+)`", page))
    assert len(named) > 20
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert [name for name in sorted(named) if not any(f.endswith(f"/{name}.py") for f in files)] == []
