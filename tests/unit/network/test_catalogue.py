"""Networks by name and by file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandapower as pp
import pandapower.networks as published
import pytest

from twin.errors import ExitCode
from twin.network import UnknownNetworkError, load_network
from twin.network.catalogue import NetworkFileError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ring.json"
    pp.to_json(published.simple_mv_open_ring_net(), str(path))
    return path


def test_load_network__reads_a_pandapower_file_like_the_net_itself(file: Path) -> None:
    from_file = load_network("ring.json", base_dir=file.parent)
    direct = load_network("pandapower:simple_mv_open_ring_net")
    assert from_file.name == "ring"
    for table in ("nodes", "lines", "transformers", "switches", "consumers", "sources"):
        for key, value in vars(getattr(direct, table)).items():
            np.testing.assert_array_equal(getattr(getattr(from_file, table), key), value, err_msg=f"{table}.{key}")


def test_load_network__takes_an_absolute_path(file: Path) -> None:
    assert load_network(str(file)).name == "ring"


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        ("cigre_vm", "cigre_mv"),
        ("mv_oberrein", "mv_oberrhein"),
        ("pandapower:case33", "pandapower:case33bw"),
        ("rnig.json", "ring.json"),
    ],
)
def test_load_network__suggests_the_nearest_name(file: Path, spec: str, nearest: str) -> None:
    with pytest.raises(UnknownNetworkError, match=f"there is no network {spec}; did you mean {nearest}") as caught:
        load_network(spec, base_dir=file.parent)
    assert caught.value.nearest == nearest
    assert caught.value.exit_code is ExitCode.USAGE


def test_load_network__lists_what_is_known_if_nothing_is_near(tmp_path: Path) -> None:
    with pytest.raises(UnknownNetworkError, match="known are cigre_mv, mv_oberrhein and pandapower JSON or CIM files"):
        load_network("zzz", base_dir=tmp_path / "nowhere")


def test_load_network__takes_generators_that_hold_a_voltage() -> None:
    generators = load_network("pandapower:case9").generators
    assert generators.v_set_pu.tolist() == [1.0, 1.0]
    assert generators.p_kw.tolist() == [163_000.0, 85_000.0]
    assert generators.q_max_kvar.tolist() == [300_000.0, 300_000.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1,\n oops}', "line 2, column 2"),
        ('{"a": 1}', "not a pandapowerNet"),
        ("[1, 2]", "not a pandapowerNet"),
    ],
)
def test_load_network__says_what_is_wrong_with_a_file(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(NetworkFileError, match=reason):
        load_network("bad.json", base_dir=tmp_path)


def test_load_network__does_not_import_what_a_file_asks_for(file: Path) -> None:
    data = json.loads(file.read_text())
    data["_object"]["extra"] = {"_module": "subprocess", "_class": "Popen", "_object": "{}"}
    file.write_text(json.dumps(data))
    with pytest.raises(NetworkFileError, match="asks for the module subprocess"):
        load_network(str(file))
