"""The scenario language: schema, loader, conditions and expectations."""

from twin.scenario.expression import Expression, Namespace, Quantity, parse
from twin.scenario.findings import Finding, ScenarioError
from twin.scenario.loader import load_scenario, read_scenario, resolved_yaml, schema
from twin.scenario.model import Scenario
from twin.scenario.namespace import PlantNamespace, PlantState
from twin.scenario.resolve import resolve
from twin.scenario.syntax import ExpressionError

__all__ = [
    "Expression",
    "ExpressionError",
    "Finding",
    "Namespace",
    "PlantNamespace",
    "PlantState",
    "Quantity",
    "Scenario",
    "ScenarioError",
    "load_scenario",
    "parse",
    "read_scenario",
    "resolve",
    "resolved_yaml",
    "schema",
]
