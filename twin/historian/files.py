"""The files of a results folder, written as the run goes.

The journal is flushed with every cycle and the samples in row groups, so that an interrupted or broken run keeps
what was recorded. A disk that takes no more is reported as such, once, with the file it happened to.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twin.errors import Blame, TwinError
from twin.journal import JournalEntry
from twin.timebase import SimTime

ROW_GROUP = 600


class ResultsWriteError(TwinError):
    """The results folder cannot be written, for example because the disk is full."""

    blame = Blame.MACHINE

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot write {path}: {reason[:1].lower()}{reason[1:]}; what was recorded until then is kept")


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultsWriteError(path, os.strerror(error.errno) if error.errno else str(error)) from error


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all.

    Raises:
        ResultsWriteError: the disk does not take it.
    """
    part = path.with_name(path.name + ".part")
    with _guarded(path):
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write a file of JSON; see :func:`write_text`."""
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


class JournalFile:
    """``journal.jsonl``, written with every batch; it ends with a whole line even where the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        with _guarded(path):
            self._file: io.FileIO = io.FileIO(path, "w")

    def write(self, entries: Iterable[JournalEntry]) -> None:
        """Append entries.

        Raises:
            ResultsWriteError: the disk does not take them.
        """
        batch = "".join(entry.to_json() + "\n" for entry in entries).encode()
        if batch:
            with _guarded(self._path):
                self._append(batch)

    def _append(self, batch: bytes) -> None:
        written = 0
        try:
            while written < len(batch):
                written += self._file.write(batch[written:])
        except OSError:
            self._file.truncate(self._size + batch.rfind(b"\n", 0, written) + 1)
            raise
        self._size += written

    def close(self) -> None:
        """Close the file; what a full disk refused stays unwritten."""
        with _guarded(self._path):
            self._file.close()


class SampleFile:
    """``samples.parquet``: one row a cycle, ``t_ms`` and a float column for each recorded quantity."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._schema = pa.schema([("t_ms", pa.int64()), *((name, pa.float64()) for name in columns)])
        self._times = np.empty(ROW_GROUP, dtype=np.int64)
        self._rows = np.empty((ROW_GROUP, len(columns)))
        self._count = 0
        self._full = False
        with _guarded(path):
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def append(self, t_ms: SimTime, values: Sequence[float]) -> None:
        """Add the row of one cycle.

        Raises:
            ResultsWriteError: the disk does not take the full row group; later ones are not tried.
        """
        self._times[self._count] = t_ms
        self._rows[self._count] = values
        self._count += 1
        if self._count == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        n, self._count = self._count, 0
        if self._full:
            return
        columns = [pa.array(self._times[:n]), *(pa.array(column[:n]) for column in self._rows.T)]
        self._full = True  # unless it succeeds
        with _guarded(self._path):
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._full = False

    def close(self) -> None:
        """Write what is left and the footer."""
        if self._count:
            self._flush()
        with _guarded(self._path):
            self._writer.close()
