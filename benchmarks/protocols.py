"""All protocols at scale, one after the other: each part is a module of its own and prints its table.

python -m benchmarks.protocols [--quick] [iec104 dnp3 modbus]
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys

PARTS = ("iec104", "dnp3", "modbus")


def module_of(part: str) -> str:
    """The module that measures a protocol."""
    return f"benchmarks.protocols_{part}"


def present() -> list[str]:
    """The parts that there are."""
    return [part for part in PARTS if importlib.util.find_spec(module_of(part)) is not None]


def run(part: str, *options: str) -> tuple[int, str]:
    """Exit code and table of a part, in a process of its own, so that none weighs on the next."""
    command = [sys.executable, "-m", module_of(part), *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout if ran.returncode == 0 else ran.stdout + ran.stderr


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if left out")
    parser.add_argument("--quick", action="store_true", help="fewer stations for a shorter time")
    options = parser.parse_args()
    parts = options.parts or present()
    if unknown := [part for part in parts if part not in present()]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(present())}")
    worst = 0
    for part in parts:
        code, told = run(part, *(["--quick"] if options.quick else []))
        print(f"== {part} ==\n{told}", flush=True)
        worst = max(worst, code)
    sys.exit(worst)


if __name__ == "__main__":
    main()
