"""Networks kept on disk: equal to the bit, never out of date, never in the way."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

from twin.network import cache, load_network
from twin.network.cache import kept, read_network, write_network
from twin.network.catalogue import UnknownNetworkError
from twin.network.model import Network


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


def assert_same(one: object, other: object) -> None:
    assert type(one) is type(other)
    for each in fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, each.name), getattr(other, each.name)
        if is_dataclass(a):
            assert_same(a, b)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            assert a.tobytes() == b.tobytes(), each.name
            assert not b.flags.writeable
        else:
            assert a == b
            assert type(a) is type(b)


@pytest.mark.parametrize("spec", ["cigre_mv", "mv_oberrhein", "pandapower:case33bw"])
def test_store__network_comes_back_to_the_bit(spec, tmp_path):
    network = load_network(spec)
    write_network(network, tmp_path / "one.npz")
    assert_same(network, read_network(tmp_path / "one.npz"))


def test_cache__second_process_reads_what_the_first_made_without_pandapower(folder):
    program = "import sys, twin.network as n; n.load_network('cigre_mv'); print('pandapower' in sys.modules)"
    said = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in range(2)
    ]
    assert [run.stdout.split() for run in said] == [["True"], ["False"]]
    assert len(list(folder.iterdir())) == 1


def made(network: Network) -> tuple[list[int], object]:
    calls: list[int] = []

    def make() -> Network:
        calls.append(1)
        return network

    return calls, make


def test_cache__other_content_or_options_are_made_anew():
    calls, make = made(load_network("cigre_mv"))
    for parts in [("a", "x"), ("a", "x"), ("a", b"y"), ("ax", ""), ("a", "x")]:
        kept(parts, make)
    assert len(calls) == 3


def test_cache__changed_loader_makes_anew(monkeypatch):
    calls, make = made(load_network("cigre_mv"))
    kept(("a",), make)
    monkeypatch.setattr(cache, "_loaders", lambda: b"other")
    kept(("a",), make)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [b"", b"PK no zip", None])
def test_cache__damaged_entry_is_made_anew(folder, damage):
    calls, make = made(load_network("cigre_mv"))
    before = set(folder.iterdir())
    kept(("a",), make)
    (entry,) = set(folder.iterdir()) - before
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert_same(kept(("a",), make), load_network("cigre_mv"))
    assert len(calls) == 2
    kept(("a",), make)
    assert len(calls) == 2


def test_cache__folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "file"))
    assert load_network("cigre_mv").nodes.n == 15


def test_cache__empty_variable_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER_VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    calls, make = made(load_network("cigre_mv"))
    kept(("a",), make)
    kept(("a",), make)
    assert len(calls) == 2
    assert not list(tmp_path.iterdir())


def test_cache__oldest_entries_make_room(folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_ENTRIES", 3)
    _, make = made(load_network("cigre_mv"))
    for name in "abcdef":
        kept((name,), make)
    assert len(list(folder.iterdir())) == 3


def test_cache__error_is_not_kept(folder):
    for _ in range(2):
        with pytest.raises(UnknownNetworkError):
            load_network("pandapower:nothing")
    assert not folder.exists() or not list(folder.iterdir())
