"""Operate times against the formulae of IEC 60255-151 and IEEE C37.112, tolerance 1e-3 s."""

import json
from pathlib import Path

import pytest

from simulators.field.kernel import DeviceKernel
from simulators.field.overcurrent import OvercurrentStage, StageSettings, operate_time_s
from twin.derive.settings import Curve, curve_time_ms

TOLERANCE_S = 1e-3
MULTIPLES = (2, 5, 10, 20)
NAMES = {
    ("IEC60255-151 t=TMS*k/((I/Is)^a-1)", "SI"): "standard_inverse",
    ("IEC60255-151 t=TMS*k/((I/Is)^a-1)", "VI"): "very_inverse",
    ("IEC60255-151 t=TMS*k/((I/Is)^a-1)", "EI"): "extremely_inverse",
    ("IEC60255-151 t=TMS*k/((I/Is)^a-1)", "LTI"): "long_time_inverse",
    ("IEEE_C37.112 t=TD*(A/(M^p-1)+B)", "MI"): "ieee_moderately_inverse",
    ("IEEE_C37.112 t=TD*(A/(M^p-1)+B)", "VI"): "ieee_very_inverse",
    ("IEEE_C37.112 t=TD*(A/(M^p-1)+B)", "EI"): "ieee_extremely_inverse",
}


def _published():
    tables = json.loads((Path(__file__).parent / "idmt_reference.json").read_text())
    for (standard, short), curve in NAMES.items():
        row = tables[standard][short]
        times = next(values for key, values in row.items() if key.startswith("t("))
        yield from ((curve, multiple, t_s) for multiple, t_s in zip(MULTIPLES, times, strict=True))


class _Trips:
    def __init__(self):
        self.t_ms = []

    def picked_up(self, function, i_a, now):
        pass

    def tripped(self, function, i_a, now):
        self.t_ms.append(now)


@pytest.mark.parametrize(("curve", "multiple", "published_s"), list(_published()))
def test_operate_time__agrees_with_the_published_value(curve, multiple, published_s):
    assert operate_time_s(curve, multiple) == pytest.approx(published_s, abs=TOLERANCE_S)


@pytest.mark.parametrize(("curve", "multiple", "published_s"), list(_published()))
def test_overcurrent_stage__trips_in_the_millisecond_of_the_published_time(curve, multiple, published_s):
    kernel, trips = DeviceKernel(), _Trips()
    stage = OvercurrentStage("relay", StageSettings("51", 400.0, curve), kernel, trips)
    stage.update(400.0 * multiple, 0)
    kernel.advance(200_000)
    # the table is rounded to 0.1 ms, the trip is rounded up to the next ms
    assert len(trips.t_ms) == 1
    assert -0.05 <= trips.t_ms[0] - 1000 * published_s <= 1.05


@pytest.mark.parametrize("curve", [Curve.STANDARD_INVERSE, Curve.VERY_INVERSE, Curve.EXTREMELY_INVERSE])
@pytest.mark.parametrize("multiple", [1.05, 1.5, 3.0, 12.0, 20.0, 35.0])
def test_operate_time__is_the_one_the_settings_promise(curve, multiple):
    assert 1000 * operate_time_s(curve.value, multiple) == pytest.approx(curve_time_ms(curve, multiple), rel=1e-12)
