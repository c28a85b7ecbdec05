"""Two network namespaces joined by a veth pair: the station in one, the control room in the other.

What the wire between them does is the kernel's work: nftables loses packets, tbf slows them, a link goes down. Every
test has namespaces of its own and leaves none behind.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

FIELD_ADDRESS, CONTROL_ADDRESS = "10.104.0.1", "10.104.0.2"
CLONE_NEWNET = 0x40000000
LIMIT_S = 60.0
_numbers = itertools.count()
T = TypeVar("T")


class NotPermittedError(Exception):
    """This machine does not let us make the network; the message says what it refused."""


def command(*words: str) -> str:
    """Run a command of the kernel's tools."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        raise NotPermittedError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Network:
    """The namespaces of field and control room."""

    def __init__(self) -> None:
        mark = f"twin-{os.getpid()}-{next(_numbers)}"
        self.field, self.control = f"{mark}-field", f"{mark}-control"

    def make(self) -> None:
        for name in (self.field, self.control):
            command("ip", "netns", "add", name)
        peer = ("type", "veth", "peer", "name", "wire", "netns", self.control)
        command("ip", "-n", self.field, "link", "add", "wire", *peer)
        for name, address in ((self.field, FIELD_ADDRESS), (self.control, CONTROL_ADDRESS)):
            command("ip", "-n", name, "address", "add", f"{address}/24", "dev", "wire")
            for device in ("lo", "wire"):
                command("ip", "-n", name, "link", "set", device, "up")

    def remove(self) -> None:
        for name in (self.field, self.control):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=LIMIT_S)

    # what the wire does

    def carrier(self, up: bool) -> None:
        """The field's end of the wire goes up or down."""
        command("ip", "-n", self.field, "link", "set", "wire", "up" if up else "down")

    def lose(self, rule: str) -> None:
        """Both ends drop what the rule matches of the packets that come in, and count it."""
        for name in (self.field, self.control):
            self._nft(name, f"add table inet loss; add chain inet loss in {{ type filter hook input priority 0; }}; "
                            f"add rule inet loss in iifname wire {rule} counter drop")  # fmt: skip

    def lose_nothing(self) -> None:
        for name in (self.field, self.control):
            self._nft(name, "delete table inet loss")

    def lost(self) -> int:
        """How many packets were dropped."""
        shown = "".join(self._nft(name, "list table inet loss") for name in (self.field, self.control))
        return sum(int(count) for count in re.findall(r"counter packets (\d+)", shown))

    def slow(self, rate: str) -> None:
        """A token bucket in both directions."""
        for name in (self.field, self.control):
            bucket = ("tbf", "rate", rate, "burst", "1600", "limit", "60000")
            command("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "wire", "root", *bucket)

    def held_back(self) -> int:
        """How often a packet had to wait for tokens, at either end."""
        show = ("tc", "-s", "qdisc", "show", "dev", "wire")
        shown = "".join(command("ip", "netns", "exec", name, *show) for name in (self.field, self.control))
        return sum(int(count) for count in re.findall(r"overlimits (\d+)", shown))

    @staticmethod
    def _nft(name: str, text: str) -> str:
        return command("ip", "netns", "exec", name, "nft", text)


@contextmanager
def network() -> Iterator[Network]:
    """Namespaces, or a skip that says what is missing."""
    for tool in ("ip", "nft", "tc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (packages iproute2, nftables)")
    made = Network()
    try:
        try:
            made.make()
        except NotPermittedError as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield made
    finally:
        made.remove()


def or_skip(does: Callable[[], None], what: str) -> None:
    """Skip where the kernel lacks a module."""
    try:
        does()
    except NotPermittedError as error:
        pytest.skip(f"the kernel has no {what}: {error}")


class Loop:
    """An asyncio loop in a thread that lives in a namespace: its sockets are of that namespace."""

    def __init__(self, namespace: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._namespace = namespace
        self._entered = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name=namespace)

    def __enter__(self) -> Loop:
        self._thread.start()
        self._entered.wait()
        if self._failure is not None:
            self._thread.join()
            self.loop.close()
            pytest.skip(f"a thread may not enter a network namespace here: {self._failure}")
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(LIMIT_S)
        self.loop.close()

    def _run(self) -> None:
        try:
            _enter(self._namespace)
        except OSError as error:
            self._failure = error
        self._entered.set()
        if self._failure is None:
            self.loop.run_forever()

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the loop and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, LIMIT_S), self.loop).result(LIMIT_S + 5)

    def do(self, action: Callable[[], T]) -> T:
        """Call it in the loop's thread."""

        async def called() -> T:
            return action()

        return self.wait_for(called())


def _enter(namespace: str) -> None:
    """Take this thread alone into a namespace (setns(2))."""
    with Path("/run/netns", namespace).open("rb") as handle:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
