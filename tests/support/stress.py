"""The tests as busy, small and oddly ordered machines run them: no test may fail by chance or under load.

    stress.py [--seed N] [TESTS...]

Three runs, each in another random order: beside a process for each core that computes all the time; on one core; and
with one thread for matrix products. Prints how each run is repeated; the exit status is 1 if any failed.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BURNER = "while True: pass"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main(arguments: list[str]) -> int:
    """Run all three, whatever becomes of the first; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=["tests"])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args(arguments)
    core = min(os.sched_getaffinity(0))
    with burners(len(os.sched_getaffinity(0))):
        failed = [run("beside burners", asked.tests, asked.seed)]
    failed.append(run("on one core", asked.tests, asked.seed + 1, before=["taskset", "-c", str(core)]))
    failed.append(run("with one BLAS thread", asked.tests, asked.seed + 2, environment=ONE_THREAD))
    return int(any(failed))


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Keep `count` processes computing while the block runs."""
    started = [subprocess.Popen([sys.executable, "-I", "-S", "-c", BURNER]) for _ in range(count)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def run(
    how: str, tests: list[str], seed: int, *, before: list[str] | None = None, environment: dict[str, str] | None = None
) -> bool:
    """Whether a run of the tests, in the order that follows from `seed`, failed."""
    order = ["--random-order-bucket=module", f"--random-order-seed={seed}"]
    command = [*(before or ()), sys.executable, "-m", "pytest", *order, *tests]
    settings = [f"{name}={value}" for name, value in (environment or {}).items()]
    print(f"{how}: {shlex.join([*settings, *command])}", flush=True)
    failed = subprocess.run(command, env={**os.environ, **(environment or {})}, check=False).returncode != 0
    print(f"{how}: {'FAILED' if failed else 'passed'}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
