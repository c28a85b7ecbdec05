"""What the fuzzers of the three protocols share: common mutations, the run over all inputs, the command line."""

from __future__ import annotations

import argparse
import gc
import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from twin.outstations.model import StationCommand


class AnyDevice:
    """Takes everything and ends nothing."""

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        return "" if command.value else "refused"

    def cancel(self, command: StationCommand, now: int) -> None:
        pass


@dataclass(slots=True)
class Outcome:
    """What became of the inputs; ``slowest_s``: the longest that one took, ``growth_kb``: that of the second half."""

    inputs: int = 0
    decoded: int = 0
    malformed: int = 0
    sessions_closed: int = 0
    answers: int = 0
    slowest_s: float = 0.0
    growth_kb: int = 0
    elapsed_s: float = 0.0


def mutate(kind: int, at: int, rng: random.Random, octets: bytearray, seeds: list[bytes]) -> None:
    """One of the five mutations that any octets can take: replace, cut, insert, flip a bit, splice another seed."""
    if kind == 0:
        octets[at : at + 1] = bytes((rng.randrange(256),))
    elif kind == 1:
        del octets[at:]
    elif kind == 2:
        octets[at:at] = rng.randbytes(rng.randint(1, 8))
    elif kind == 3:
        octets[at] ^= 1 << rng.randrange(8)
    else:
        other = rng.choice(seeds)
        octets[at:] = other[rng.randrange(len(other)) :]


def run(
    draw: Callable[[], bytes], throw: Callable[[bytes], None], outcome: Outcome, inputs: int, report: int
) -> Outcome:
    """Throw ``inputs`` drawn inputs, the drawing not timed; ``report`` prints a line each so many, 0: none."""
    started, settled_kb = time.perf_counter(), 0
    while outcome.inputs < inputs:
        octets = draw()
        before = time.perf_counter()
        outcome.inputs += 1
        throw(octets)
        outcome.slowest_s = max(outcome.slowest_s, time.perf_counter() - before)
        if outcome.inputs == inputs // 2:
            gc.collect()
            settled_kb = _resident_kb()
        if report and outcome.inputs % report == 0:
            print(f"{outcome.inputs:>12,} inputs  {outcome.decoded:,} decoded  {_resident_kb():,} kB", flush=True)
    gc.collect()
    outcome.growth_kb = _resident_kb() - settled_kb
    outcome.elapsed_s = time.perf_counter() - started
    return outcome


def _resident_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(fuzz: Callable[[int, int, int], Outcome], about: str | None) -> None:
    """The command line of a fuzzer."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(fuzz(arguments.inputs, arguments.seed, max(arguments.inputs // 20, 1)))
