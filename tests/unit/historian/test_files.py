"""Files of a results folder, on a disk that takes them and on one that does not."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from twin.errors import Blame, ExitCode
from twin.historian import JournalFile, ResultsWriteError, SampleFile, write_json, write_text
from twin.historian.files import ROW_GROUP
from twin.journal import JournalEntry

Disk = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def disk_of() -> Disk:
    """A disk on which no file gets larger than so many octets, within a ``with`` block."""

    @contextmanager
    def limited(octets: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


def entry(n: int) -> JournalEntry:
    return JournalEntry(n, "grid", "supply", "Süd", {"n": n})


class TestJournal:
    def test_journal__is_readable_after_every_batch(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.jsonl"
        journal = JournalFile(path)
        journal.write([entry(1), entry(2)])
        assert path.read_text(encoding="utf-8") == f"{entry(1).to_json()}\n{entry(2).to_json()}\n"
        journal.write([])
        journal.write([entry(3)])
        assert len(path.read_bytes().splitlines()) == 3
        journal.close()
        assert path.read_bytes().endswith(entry(3).to_json().encode() + b"\n")

    def test_journal__replaces_an_old_one(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.jsonl"
        path.write_text("old\n" * 100)
        JournalFile(path).close()
        assert path.read_bytes() == b""

    @pytest.mark.parametrize("room", range(40, 160, 7))
    def test_journal__on_a_full_disk_ends_with_a_whole_line(self, tmp_path: Path, disk_of: Disk, room: int) -> None:
        path = tmp_path / "journal.jsonl"
        journal = JournalFile(path)
        lines = [entry(n).to_json().encode() + b"\n" for n in range(1, 4)]
        with disk_of(room), pytest.raises(ResultsWriteError):
            journal.write([entry(1), entry(2), entry(3)])
        journal.close()
        kept = path.read_bytes()
        assert kept in (b"", *(b"".join(lines[:n]) for n in range(1, 4)))
        assert len(kept) + len(lines[0]) > room

    def test_journal__error_names_the_file_and_blames_the_machine(self, tmp_path: Path, disk_of: Disk) -> None:
        path = tmp_path / "journal.jsonl"
        journal = JournalFile(path)
        with disk_of(10), pytest.raises(ResultsWriteError) as failed:
            journal.write([entry(1)])
        journal.close()
        assert str(failed.value) == f"cannot write {path}: file too large; what was recorded until then is kept"
        assert (failed.value.path, failed.value.blame) == (path, Blame.MACHINE)
        assert failed.value.exit_code is ExitCode.BROKEN

    def test_journal__in_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ResultsWriteError, match="no such file or directory"):
            JournalFile(tmp_path / "nowhere" / "journal.jsonl")


class TestSamples:
    @pytest.mark.parametrize("rows", [0, 1, ROW_GROUP - 1, ROW_GROUP, ROW_GROUP + 1, 2 * ROW_GROUP + 5])
    def test_samples__come_back_in_full(self, tmp_path: Path, rows: int) -> None:
        path = tmp_path / "samples.parquet"
        samples = SampleFile(path, ["N8.v_pu", "CB_1.i_a"])
        for n in range(rows):
            samples.append(100 * n, [1.0 + n, -float(n)])
        samples.close()
        table = pq.read_table(path)
        assert table.column_names == ["t_ms", "N8.v_pu", "CB_1.i_a"]
        assert table["t_ms"].to_pylist() == [100 * n for n in range(rows)]
        assert table["N8.v_pu"].to_pylist() == [1.0 + n for n in range(rows)]
        assert table["CB_1.i_a"].to_pylist() == [-float(n) for n in range(rows)]

    def test_samples__keep_what_is_no_number_as_such(self, tmp_path: Path) -> None:
        samples = SampleFile(tmp_path / "samples.parquet", ["v_min_pu"])
        samples.append(0, [math.nan])
        samples.append(1, [math.inf])
        samples.close()
        first, second = pq.read_table(tmp_path / "samples.parquet")["v_min_pu"].to_pylist()
        assert math.isnan(first)
        assert second == math.inf

    def test_samples__without_columns_keep_the_times(self, tmp_path: Path) -> None:
        samples = SampleFile(tmp_path / "samples.parquet", [])
        samples.append(7, [])
        samples.close()
        assert pq.read_table(tmp_path / "samples.parquet")["t_ms"].to_pylist() == [7]

    def test_samples__on_a_full_disk_fail_with_the_row_group(self, tmp_path: Path, disk_of: Disk) -> None:
        path = tmp_path / "samples.parquet"
        samples = SampleFile(path, ["i_a"])
        for n in range(ROW_GROUP - 1):
            samples.append(n, [math.sin(n)])
        with disk_of(100):
            with pytest.raises(ResultsWriteError, match=r"samples\.parquet: file too large"):
                samples.append(ROW_GROUP, [0.0])
            for n in range(ROW_GROUP + 1):
                samples.append(n, [0.0])
            samples.close()  # it was said once


class TestWhole:
    def test_text__is_written_as_utf8(self, tmp_path: Path) -> None:
        write_text(tmp_path / "a.txt", "Übergabe\n")
        assert (tmp_path / "a.txt").read_bytes() == "Übergabe\n".encode()
        assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]

    def test_text__replaces_the_old_file_as_a_whole_or_not_at_all(self, tmp_path: Path, disk_of: Disk) -> None:
        path = tmp_path / "a.txt"
        write_text(path, "old")
        with disk_of(10), pytest.raises(ResultsWriteError, match="file too large"):
            write_text(path, "new " * 100)
        assert path.read_text() == "old"
        assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
        write_text(path, "new")
        assert path.read_text() == "new"

    @pytest.mark.parametrize("parent", ["a file", "nowhere"])
    def test_text__where_no_folder_is(self, tmp_path: Path, parent: str) -> None:
        (tmp_path / "a file").touch()
        with pytest.raises(ResultsWriteError, match="cannot write"):
            write_text(tmp_path / parent / "a.txt", "text")

    def test_json__is_legible_and_strict(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"name": "Süd", "x": None})
        text = (tmp_path / "a.json").read_text(encoding="utf-8")
        assert json.loads(text) == {"name": "Süd", "x": None}
        assert "Süd" in text
        assert text.endswith("}\n")
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(tmp_path / "a.json", {"x": math.nan})
