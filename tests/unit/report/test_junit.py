"""The JUnit file, against the shape that Jenkins' schema (junit-10.xsd) demands."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from xml.etree.ElementTree import Element, parse

import pytest

from twin.report import write_junit

# element: (attributes allowed, attributes required, children allowed)
SHAPE = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped"},
        {"name", "tests", "failures", "errors"},
        {"properties", "testcase"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"name", "classname"}, {"skipped", "error", "failure"}),
    "skipped": ({"message", "type"}, set(), set()),
    "error": ({"message", "type"}, set(), set()),
    "failure": ({"message", "type"}, set(), set()),
}


def checked(path: Path) -> Element:
    root = parse(path).getroot()
    assert root.tag == "testsuites"
    for element in root.iter():
        allowed, required, children = SHAPE[element.tag]
        assert required <= set(element.attrib) <= allowed
        assert {child.tag for child in element} <= children
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == sum(case.find(tag) is not None for case in cases)
    return root


def test_junit__has_one_case_for_each_expectation(cigre_run: Path) -> None:
    root = checked(write_junit(cigre_run))
    cases = {case.attrib["name"]: case for case in root.iter("testcase")}
    assert list(cases) == ["trip", "restored", "loading", "on-fault", "voltage"]
    assert [name for name, case in cases.items() if case.find("failure") is not None] == ["voltage"]
    failure = cases["voltage"].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "v_min_pu fell to 0.971 at 4:21, 0.004 below the limit"
    assert "expected: always: v_min_pu >= 0.975" in (failure.text or "")


@pytest.mark.parametrize("status", ["broken", "interrupted"])
def test_junit__run_that_did_not_complete_is_an_error(fake: ModuleType, tmp_path: Path, status: str) -> None:
    folder = fake.write_cigre_run(tmp_path, status=status, message="RTU_3 did not answer", verdicts=[
        {"id": "later", "text": "x", "passed": None}])  # fmt: skip
    root = checked(write_junit(folder))
    error = root.find(".//testcase[@name='run']/error")
    assert error is not None
    assert error.attrib == {"type": status, "message": "RTU_3 did not answer"}


def test_junit__unjudged_expectation_is_skipped(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_cigre_run(tmp_path, verdicts=[{"id": "later", "text": "x", "passed": None}])
    skipped = checked(write_junit(folder)).find(".//skipped")
    assert skipped is not None
    assert "before this was judged" in skipped.attrib["message"]


def test_junit__characters_that_xml_forbids_are_replaced(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.write_cigre_run(tmp_path, scenario="a\u0000b<\u001b>&\ud800")
    assert checked(write_junit(folder)).attrib["name"] == "a�b<�>&�"


def test_junit__folder_with_a_journal_alone_is_an_error_case(cigre_run: Path) -> None:
    for name in ("run.json", "grid.json", "samples.parquet", "scenario.yaml"):
        (cigre_run / name).unlink()
    root = checked(write_junit(cigre_run))
    assert root.attrib["errors"] == "1"
    assert root.attrib["failures"] == "1"
