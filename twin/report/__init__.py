"""The report of a run: one self-contained page and a JUnit file, built from a results folder alone.

Not for running anything and not for deciding anything: what the page says was recorded by the run.
"""

from twin.report.html import write_report
from twin.report.junit import write_junit
from twin.report.results import (
    Results,
    ResultsError,
    ResultsGarbledError,
    ResultsMissingError,
    read_results,
)

__all__ = [
    "Results",
    "ResultsError",
    "ResultsGarbledError",
    "ResultsMissingError",
    "read_results",
    "write_junit",
    "write_report",
]
