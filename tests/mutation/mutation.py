"""Breaks the code on purpose, one change at a time, and counts the changes that no test notices.

    make mutation                                   # every target, a sample of each file; goes on where it stopped
    python tests/mutation/mutation.py --only imaging --per-file 100000 --seconds 600

cosmic-ray makes the mutants. Its own runner starts pytest anew for each, which here costs more than the tests: this
one imports the libraries once and forks. Of the tests it runs those that reach the changed line, until one fails.
Left out are changes of type annotations, which nothing evaluates, and those of `equivalent.json`, each with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/mutation")]

from mutants import Mutant, draw_mutants  # noqa: E402
from mutation_runs import measure_baseline, preload, run_mutant  # noqa: E402
from mutation_targets import TARGETS, Target  # noqa: E402

SEED = 20261125


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: killed, survived, timeout (which counts as killed) or equivalent, and how we know."""

    outcome: str
    source: str  # SHA-256 of the file that was mutated
    tests: str  # SHA-256 of the tests that could have noticed


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a target, or the files whose path holds this")
    parser.add_argument("--per-file", type=int, default=40, help="mutants drawn of each file (seed %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long; run again to go on")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--output", type=Path, default=ROOT / "mutation_output")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    record, stop = Record(asked.output / "verdicts.json"), time.monotonic() + asked.seconds
    os.chdir(ROOT)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    named = {target.name for target in TARGETS if target.name == asked.only}
    for target in TARGETS:
        files = [path for path in target.files() if target.name in named or (not named and asked.only in path)]
        drawn = {path: draw_mutants(path, asked.per_file, f"{SEED} {path}") for path in files}
        _run(target, [mutant for mutants, _ in drawn.values() for mutant in mutants], record, stop, asked.workers)
        _print_table(drawn, record)


class Record:
    """The verdicts so far, in a file that is written after each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self._verdicts = {name: Verdict(**each) for name, each in stored.items()}
        equivalent = json.loads((ROOT / "tests/mutation/equivalent.json").read_text())
        self._equivalent = {(each["file"], each["before"], each["after"]) for each in equivalent}

    def outcome(self, mutant: Mutant) -> str | None:
        """What became of a mutant, None where it has not run on this source yet."""
        if (mutant.path, mutant.before, mutant.after) in self._equivalent:
            return "equivalent"
        known = self._verdicts.get(mutant.name)
        return known.outcome if known and known.source == mutant.source_sha256 else None

    def is_due(self, mutant: Mutant, tests: str) -> bool:
        """A killed mutant stays killed; a survivor is tried again when tests have changed."""
        outcome = self.outcome(mutant)
        return outcome is None or (outcome == "survived" and self._verdicts[mutant.name].tests != tests)

    def add(self, mutant: Mutant, outcome: str, tests: str) -> None:
        """Store a verdict."""
        self._verdicts[mutant.name] = Verdict(outcome, mutant.source_sha256, tests)
        aside = self._path.with_suffix(".tmp")
        aside.write_text(json.dumps({name: asdict(each) for name, each in self._verdicts.items()}, indent=1))
        aside.replace(self._path)


def _run(target: Target, mutants: list[Mutant], record: Record, stop: float, workers: int) -> None:
    """Run those of a target's mutants that are due, in a process of its own that holds the target's libraries."""
    tests = _hash(target.test_files())
    due = [mutant for mutant in mutants if record.is_due(mutant, tests)]
    if not due or time.monotonic() > stop:
        return
    random.Random(SEED).shuffle(due)  # so that a run that was cut short has some of every file
    preload(target.libraries)
    baseline = measure_baseline(target)
    print(f"{target.name}: {len(due)} mutants, {len(baseline.seconds)} tests in {baseline.total:.0f} s")

    def one(mutant: Mutant) -> None:
        if time.monotonic() < stop:
            outcome = run_mutant(mutant, target, baseline)
            record.add(mutant, outcome, tests)
            if outcome == "survived":
                print(f"  survived {mutant.path}:{mutant.line}\n    - {mutant.before}\n    + {mutant.after}")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, due))


def _hash(paths: Iterable[Path]) -> str:
    return sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()


def _print_table(drawn: dict[str, tuple[list[Mutant], int]], record: Record) -> None:
    for path, (mutants, changes) in drawn.items():
        outcomes = [record.outcome(mutant) for mutant in mutants]
        killed = sum(each in ("killed", "timeout") for each in outcomes)
        survived, equivalent = outcomes.count("survived"), outcomes.count("equivalent")
        share = f"{killed / (killed + survived):6.1%}" if killed + survived else "     -"
        print(
            f"{path:40} {changes:5} changes {len(mutants):4} drawn {killed:4} killed {survived:3} survived "
            f"{equivalent:3} equivalent {outcomes.count(None):4} to do {share}",
        )


if __name__ == "__main__":
    main()
