"""tshark on the loopback while something happens there, and what it reads afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest

LIMIT_S = 60.0
PROBES = 240
"""Half a second each: on a busy machine tshark takes long to begin; where it may not capture it ends at once."""


class Capture:
    """tshark on the loopback. A probe is an attempt to connect, answered or not, that the capture shows."""

    def __init__(self, port: int, file: Path) -> None:
        self._port = port
        command = ["tshark", "-i", "lo", "-f", f"tcp port {port}", "-w", str(file), "-P", "-l"]
        show = ["-T", "fields", "-e", "tcp.srcport"]
        self._process = subprocess.Popen(
            [*command, *show], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._seen: Queue[str] = Queue()
        self._told: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_frames, daemon=True),
            threading.Thread(target=self._read_messages, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_frames(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._seen.put(line.strip())
        self._seen.put("end")

    def _read_messages(self) -> None:
        assert self._process.stderr is not None
        self._told.extend(self._process.stderr)

    def probe(self, limit_s: float) -> bool:
        """True when everything sent before this call is in the file; False if the capture shows nothing in time."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            source = str(probe.getsockname()[1])
            probe.connect_ex(("127.0.0.1", self._port))
        while True:
            try:
                seen = self._seen.get(timeout=limit_s)
            except Empty:
                return False
            if seen == "end":
                pytest.skip(f"tshark may not capture on the loopback here: {self.messages()}")
            if seen == source:
                return True

    def wait_until_ready(self) -> None:
        """Probe until the capture shows a probe."""
        if not any(self.probe(0.5) for _ in range(PROBES)):
            pytest.skip(f"tshark shows nothing of the loopback here: {self.messages()}")

    def stop(self) -> None:
        """End tshark and its threads."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def messages(self) -> str:
        """What tshark said."""
        if self._process.poll() is not None:
            self._readers[1].join(LIMIT_S)
        return " ".join(line.strip() for line in self._told)


@contextmanager
def capturing(port: int, file: Path) -> Iterator[Capture]:
    """A capture that has begun."""
    capture = Capture(port, file)
    try:
        capture.wait_until_ready()
        yield capture
    finally:
        capture.stop()


def free_port(hosts: Iterable[str] = tuple(f"127.10.0.{station}" for station in range(1, 16))) -> int:
    """A port below the ephemeral ones that is free at every one of the addresses."""
    wanted = list(hosts)
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with ExitStack() as bound:
            try:
                for host in wanted:
                    bound.enter_context(socket.socket()).bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port is free at {wanted}")
