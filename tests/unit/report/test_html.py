"""The page: well formed, self-contained, safe, and there for broken runs too."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from twin.report import write_report
from twin.report.html import overall, render, worth_showing
from twin.report.plots import Plot, nobody_without_supply, plots_of
from twin.report.results import GridState, Results, RunSummary, Samples, Verdict, read_results

VOID = {"meta", "link", "input", "br", "hr", "img"}


class Page(HTMLParser):
    """Checks the nesting of a page and gathers its tags, ids and texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> without a start"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("script", "style"):
            self.text += data


def page_of(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_report__is_well_formed_and_tells_every_section(cigre_run: Path) -> None:
    page = page_of(cigre_run)
    for said in ("4 of 5 expectations hold", "1:00.410", "Before the first event", "Isolate L3-8 and restore both",
                 "CB_1 locked out after 1 reclosing shot", "no answer to TESTFR within 3 s", "crew_dispatched",
                 "75.9 × real time", "mosaik 3.6.1", "319 customer-minutes"):  # fmt: skip
        assert said in re.sub(r"(?<=×)(?=real)|(?<=319)(?=customer)", " ", page.text), said
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value for name, value in page.attributes if name == "href" and value and value[0] == "#"} <= {
        f"#{name}" for name in ids
    }


def test_report__loads_nothing(cigre_run: Path) -> None:
    html = write_report(cigre_run).read_text(encoding="utf-8")
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert "url(" not in html
    loading = [(name, value) for name, value in Page(html).attributes if name in ("src", "href", "xlink:href", "data")]
    assert all(value and (value.startswith("#") or value == "data:,") for _, value in loading)


def test_report__is_small(cigre_run: Path, oberrhein_run: Path) -> None:
    assert write_report(cigre_run).stat().st_size < 800_000
    assert write_report(oberrhein_run).stat().st_size < 1_500_000


def test_report__is_the_same_every_time(cigre_run: Path) -> None:
    assert write_report(cigre_run).read_bytes() == write_report(cigre_run).read_bytes()


HOSTILE = '<script>alert("x")</script></title></svg>&\'"{{ 7*7 }}'


def test_report__escapes_hostile_names_everywhere(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_cigre_run(
        tmp_path / "run",
        scenario=HOSTILE, description=HOSTILE, network=HOSTILE, message=HOSTILE, status="broken", seed=HOSTILE,
        versions={HOSTILE: HOSTILE}, shares={HOSTILE: 1.0}, protocols={HOSTILE: HOSTILE},
        verdicts=[{"id": HOSTILE, "text": HOSTILE, "passed": False, "t_ms": 1, "reason": HOSTILE}],
    )  # fmt: skip
    for name in ("journal.jsonl", "grid.json", "scenario.yaml"):
        path = folder / name
        quoted = HOSTILE if name == "scenario.yaml" else json.dumps(HOSTILE)[1:-1]
        path.write_text(path.read_text(encoding="utf-8").replace("L3-8", quoted).replace("CB_1", quoted + "1"), "utf-8")
    plain = len([tag for tag in page_of(fake.write_cigre_run(tmp_path / "plain")).tags if tag == "script"])
    page = page_of(folder)
    assert len([tag for tag in page.tags if tag == "script"]) == plain
    assert page.text.count(HOSTILE) > 30
    assert "49" not in {word for word in page.text.split() if word == "49"}


@pytest.mark.parametrize("status", ["interrupted", "broken"])
def test_report__says_on_top_that_a_run_did_not_complete(fake: ModuleType, tmp_path: Path, status: str) -> None:
    folder = fake.write_cigre_run(tmp_path, status=status, message="the session of RTU_3 broke", simulated_ms=90_000)
    page = page_of(folder)
    top = page.text.split("Scenario run on")[0]
    assert "the session of RTU_3 broke" in top
    assert {"interrupted": "was interrupted", "broken": "was broken off"}[status] in top
    assert "passed" not in overall(read_results(folder).run)["word"]


def test_report__rebuilds_from_a_truncated_journal(cigre_run: Path) -> None:
    path = cigre_run / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.6 * len(whole))])
    (cigre_run / "run.json").unlink()
    (cigre_run / "samples.parquet").write_bytes(b"PAR1")
    page = page_of(cigre_run)
    top = page.text.split("Scenario run")[0]
    assert "run.json is missing" in top
    assert re.search(r"journal\.jsonl, line \d+ is cut or not JSON", top)
    assert "samples.parquet is cut or not Parquet" in top
    assert "Permanent phase-to-phase fault on L3-8" in page.text


@pytest.mark.parametrize("step", range(12))
def test_report__rebuilds_from_a_journal_cut_anywhere(cigre_run: Path, step: int) -> None:
    path = cigre_run / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[: step * len(lines) // 12]), encoding="utf-8")
    page_of(cigre_run)


def test_report__empty_run_says_in_words_what_is_not_there() -> None:
    page = Page(render(Results(RunSummary(scenario="nothing"))))
    for said in ("The scenario expects nothing", "No picture of the grid was recorded", "No fault was applied",
                 "No application made a plan", "No samples were recorded", "No alarm was raised",
                 "No telecontrol session was recorded", "The journal is empty"):  # fmt: skip
        assert said in page.text


@pytest.mark.parametrize(
    ("passed", "word"),
    [((True, True), "passed"), ((True, False), "failed"), ((True, None), "not judged"), ((), "completed")],
)
def test_overall__is_what_the_verdicts_say(passed: tuple[bool | None, ...], word: str) -> None:
    run = RunSummary(verdicts=tuple(Verdict(str(i), "", p) for i, p in enumerate(passed)))
    assert overall(run)["word"] == word


def test_report__several_faults_are_told_one_by_one(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_cigre_run(tmp_path)
    fault = {"source": "director", "kind": "fault", "fault_kind": "three-phase", "permanent": True}
    more = [json.dumps({"t_ms": 300_000 + 1000 * i, **fault, "subject": f"f{i}", "line": f"L{i}"}) for i in range(14)]
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write("\n".join(more))
    text = page_of(folder).text
    assert "Permanent three-phase fault on L10" in text
    assert "3 later faults are not drawn" in text


def test_report__crowd_is_one_row_with_every_hop_below_it(fake: ModuleType, tmp_path: Path) -> None:
    html = write_report(fake.write_crowded_run(tmp_path / "run")).read_text(encoding="utf-8")
    page = Page(html)
    assert html.count('<input type="checkbox"> 44 alarms: no voltage at N40 …') == 1
    assert page.text.count("alarm: RTU_77: no voltage at N77") == 1
    assert "<details open" not in html


def test_report__legend_names_overload_only_where_there_is_one(cigre_run: Path) -> None:
    assert "overloaded" not in page_of(cigre_run).text
    path = cigre_run / "grid.json"
    grid = json.loads(path.read_text(encoding="utf-8"))
    grid["states"][-1]["branch_loading"][0] = 1.3
    path.write_text(json.dumps(grid), encoding="utf-8")
    assert "overloaded" in page_of(cigre_run).text


def test_report__many_alarms_scroll_and_can_be_searched(fake: ModuleType, tmp_path: Path) -> None:
    page = page_of(fake.write_crowded_run(tmp_path / "run"))
    assert ("class", "scroll") in page.attributes
    assert ("data-searches", "alarm-rows") in page.attributes
    assert "44 × no voltage (44 still standing), 16 × fault passage forward" in page.text


def test_report__says_on_top_of_the_plan_that_nobody_was_restored(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_cigre_run(tmp_path)
    refused = {
        "t_ms": 64_100, "source": "control_room", "kind": "plan", "subject": "P1", "plan_id": "P1",
        "why": ["CB_2 tripped.", "Not taken: closing TIE_1 would load L2-3 to 112 %."],
        "customers_interrupted": 112, "customers_restored": 0, "customers_not_restored": 112,
    }  # fmt: skip
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(refused) + "\n")
    text = page_of(folder).text
    said = "Nobody was restored. 112 customers stay without supply: closing TIE_1 would load L2-3 to 112 %."
    assert said in text
    assert text.index(said) < text.index("Checked beforehand by power flow")
    assert "Closing TIE_1 would load L2-3 to 112 %." in text.split("Not taken")[1]


def states_of(*rows: tuple[tuple[bool, ...], tuple[str, ...]]) -> list[GridState]:
    return [GridState(str(i), i, closed, (True,), (1.0,), (), (), faulted) for i, (closed, faulted) in enumerate(rows)]


def test_pictures__run_that_ends_as_it_began_shows_the_fault() -> None:
    normal, tripped = ((True, True), ()), ((False, True), ("L1",))
    assert worth_showing(states_of(normal, tripped, normal)) == {0, 1}
    assert worth_showing(states_of(normal, tripped, ((True, False), ()))) == {0, 2}
    assert worth_showing(states_of(normal)) == {0}


def test_plots__line_of_nobody_without_supply_is_left_out() -> None:
    def plots(customers: list[float]) -> list[Plot]:
        columns = {"customers_interrupted": np.array(customers), "v_min_pu": np.array([1.0, 0.99])}
        return list(plots_of(Samples(np.array([0, 1_000]), columns), (0, 1_000)))

    assert [nobody_without_supply(plot) for plot in plots([0.0, 0.0])] == [True, False]
    assert [nobody_without_supply(plot) for plot in plots([0.0, 3.0])] == [False, False]
