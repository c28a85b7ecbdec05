"""Writes the verdicts of a run as JUnit XML, for the build server: one test case for each expectation.

Not for judging: the verdicts are the run's.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from twin.report.results import Results, RunSummary, Verdict, read_results

JUNIT_FILE = "junit.xml"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(results: Path) -> Path:
    """Write ``junit.xml`` into the results folder and return its path.

    Raises:
        ResultsMissingError: the folder is not there or holds nothing of a run.
    """
    target = results / JUNIT_FILE
    tree = ElementTree(junit(read_results(results)))
    indent(tree)
    tree.write(target, encoding="utf-8", xml_declaration=True)
    return target


def junit(results: Results) -> Element:
    """``<testsuites>`` with one suite; a run that did not complete adds a case ``run`` with an error."""
    run = results.run
    cases = [_case(run, verdict) for verdict in run.verdicts]
    if not run.completed:
        cases.append(_broken_case(run))
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
    }
    root = Element("testsuites", {"name": _clean(run.scenario), "time": f"{run.wall_s:.3f}", **counts})
    skipped = str(sum(case.find("skipped") is not None for case in cases))
    head = {"name": _clean(run.scenario), "time": f"{run.wall_s:.3f}", **counts, "skipped": skipped}
    suite = SubElement(root, "testsuite", head)
    properties = SubElement(suite, "properties")
    facts = {"network": run.network, "seed": run.seed, "start": run.start, "status": run.status}
    for name, value in (facts | {f"version.{part}": v for part, v in run.versions.items()}).items():
        SubElement(properties, "property", {"name": _clean(name), "value": _clean(value)})
    suite.extend(cases)
    return root


def _case(run: RunSummary, verdict: Verdict) -> Element:
    seconds = (verdict.t_ms or 0) / 1000
    case = Element(
        "testcase", {"name": _clean(verdict.id), "classname": _clean(run.scenario), "time": f"{seconds:.3f}"}
    )
    if verdict.passed is None:
        SubElement(case, "skipped", {"message": _clean(verdict.reason or "the run ended before this was judged")})
    elif not verdict.passed:
        message = verdict.reason or "the expectation did not hold"
        failure = SubElement(case, "failure", {"type": "expectation", "message": _clean(message)})
        failure.text = _clean(f"expected: {verdict.text}\nfound: {message}")
    return case


def _broken_case(run: RunSummary) -> Element:
    case = Element("testcase", {"name": "run", "classname": _clean(run.scenario), "time": f"{run.wall_s:.3f}"})
    message = _clean(run.message or f"the run is {run.status}")
    SubElement(case, "error", {"type": _clean(run.status), "message": message}).text = message
    return case


def _clean(words: str) -> str:
    """``words`` without the control characters that XML 1.0 has no way to write."""
    return _FORBIDDEN.sub("�", words)
