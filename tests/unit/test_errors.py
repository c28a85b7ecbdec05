"""The root error: whose fault a failure is, and the exit code it leads to."""

from __future__ import annotations

import pytest

from twin.errors import Blame, ExitCode, TwinError


@pytest.mark.parametrize(
    ("blame", "code"),
    [
        (Blame.SCENARIO, ExitCode.USAGE),
        (Blame.PEER, ExitCode.BROKEN),
        (Blame.OURS, ExitCode.BROKEN),
        (Blame.MACHINE, ExitCode.BROKEN),
    ],
)
def test_error__leads_to_the_exit_code_of_whose_fault_it_is(blame: Blame, code: ExitCode) -> None:
    class SomeError(TwinError):
        pass

    SomeError.blame = blame
    assert SomeError("a sentence").exit_code is code


def test_error__is_ours_unless_said_otherwise() -> None:
    assert TwinError("a sentence").blame is Blame.OURS
    assert str(TwinError("a sentence")) == "a sentence"


def test_exit_codes__are_those_documented() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "PASSED": 0,
        "EXPECTATION_FAILED": 1,
        "INTERRUPTED": 2,
        "BROKEN": 3,
        "USAGE": 4,
        "DEADLINE_MISSED": 6,
    }
