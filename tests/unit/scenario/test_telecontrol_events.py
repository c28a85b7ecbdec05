"""Events that concern stations: what they may say, and what is said of what they may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from twin.scenario.events import Event


def event(**action: Any) -> Event:
    return Event.model_validate({"at": "5 s", **action})


def test_misbehaviour__lie_with_its_settings() -> None:
    action = event(misbehaviour={"station": "S", "kind": "lie", "point": "P.i_a", "scale": 1.1, "for": "20 s"})
    assert action.kind == "misbehaviour"
    assert action.misbehaviour is not None
    assert (action.misbehaviour.scale, action.misbehaviour.for_ms) == (1.1, 20_000)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ({"misbehaviour": {"station": "S", "kind": "lie"}}, "a lie is"),
        ({"misbehaviour": {"station": "S", "kind": "lie", "point": "P"}}, "a lie is"),
        ({"misbehaviour": {"station": "S", "kind": "freeze", "share": "5 %"}}, "share does not go with freeze"),
        ({"misbehaviour": {"station": "S", "kind": "late", "value": 3.0}}, "value does not go with late"),
        ({"misbehaviour": {"station": "S", "kind": "sulk"}}, "kind"),
        ({"telecontrol": {"station": "S", "for": "5 s"}}, "what is worse is missing"),
        ({"telecontrol": {"station": "S", "rate": 0}}, "rate"),
        ({"half open": {}}, "station"),
    ],
)
def test_event__that_says_too_little_or_too_much_is_refused(action: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        event(**action)
