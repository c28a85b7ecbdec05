"""The report in a real browser: opened from disk, no script error, verdicts and pictures there."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from twin.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the browser chromium is not installed on this machine")


def fake_run() -> ModuleType:
    name = "twin_report_fake_run"
    if name not in sys.modules:
        source = Path(__file__).parents[1] / "unit" / "report" / "fake_run.py"
        spec = importlib.util.spec_from_file_location(name, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def browse(page: Path, profile: Path, *flags: str) -> str:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8")


def test_report_page__runs_without_script_error_and_shows_the_verdicts(tmp_path: Path) -> None:
    page = write_report(fake_run().write_cigre_run(tmp_path / "run"))
    dom = browse(page, tmp_path / "profile", "--dump-dom")
    root = re.search(r"<html[^>]*>", dom)
    assert root is not None
    assert 'data-js-errors="0"' in root.group()
    assert 'data-ready="true"' in root.group()
    body = dom[dom.index('<section id="verdicts">') :].split("</section>")[0]
    assert body.count("holds</span>") == 4
    assert body.count("failed</span>") == 1
    assert dom.count('class="oneline" role="img"') == 4
    assert "data-tip=" in dom


def test_report_page__error_in_a_script_would_be_seen(tmp_path: Path) -> None:
    """The collector works: a page whose plot data are damaged counts an error and never gets ready."""
    page = write_report(fake_run().write_cigre_run(tmp_path / "run"))
    html = page.read_text(encoding="utf-8")
    page.write_text(html.replace('id="plotdata">[', 'id="plotdata">!['), encoding="utf-8")
    dom = browse(page, tmp_path / "profile", "--dump-dom")
    assert 'data-js-errors="1"' in dom
    assert 'data-ready="true"' not in dom


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_page__is_drawn_in_light_and_dark(tmp_path: Path, scheme: str) -> None:
    page = write_report(fake_run().write_cigre_run(tmp_path / "run"))
    shot = tmp_path / "page.png"
    flags = ["--force-dark-mode"] if scheme == "dark" else []
    browse(page, tmp_path / "profile", "--window-size=1400,3000", f"--screenshot={shot}", *flags)
    assert shot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert shot.stat().st_size > 100_000


PROBE = """<script>
(function () {
  var member = document.querySelector(".hops .member"), box = member.parentNode.querySelector("input");
  var shown = function () { return getComputedStyle(member).display; };
  var told = [document.querySelector("svg.lanes").getBoundingClientRect().height <= 700 ? "fits" : "too high"];
  told.push(shown()); box.click(); told.push(shown());
  var search = document.getElementById("alarm-search");
  search.value = "no voltage n77"; search.dispatchEvent(new Event("input"));
  told.push(search.parentNode.querySelector("output").textContent);
  document.documentElement.dataset.told = told.join(" | ");
})();
</script></body>"""


def test_report_page__crowded_incident_fits_unfolds_and_is_searched(tmp_path: Path) -> None:
    page = write_report(fake_run().write_crowded_run(tmp_path / "run"))
    html = page.read_text(encoding="utf-8").replace("<details>", "<details open>")
    page.write_text(html.replace("</body>", PROBE), encoding="utf-8")
    dom = browse(page, tmp_path / "profile", "--window-size=1400,900", "--dump-dom")
    assert 'data-told="fits | none | table-row | 1 found"' in dom
    assert 'data-js-errors="0"' in dom
