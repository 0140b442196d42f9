"""Hostile files by the thousand: each is read or refused in a sentence, soon, in bounds and in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz_mutations import MUTATIONS, TRUNCATIONS
from fuzz_reading import fuzz, run_case, summary
from fuzz_seeds import seeds

from swinunet.foundation.errors import InputError

CASES = 8  # of each mutation of each seed


def test_hostile_files_are_refused_or_read(tmp_path: Path) -> None:
    cases = fuzz(0, CASES, tmp_path, processes=2)
    failed = [f"{case.name}: {case.what}" for case in cases if case.outcome == "failed"]
    assert not failed, "\n".join(["replay with: make fuzz CASE=NAME", *failed[:20]])
    mutations = [mutation for seed in seeds().values() for mutation in MUTATIONS[seed.kind]]
    expected = len(seeds()) * TRUNCATIONS + CASES * (len(mutations) - len(seeds()))
    assert len({case.name for case in cases}) == len(cases) == expected > 2000
    outcomes = Counter((case.name.split("/")[1], case.outcome) for case in cases)
    assert outcomes["truncate", "refused"] == TRUNCATIONS * len(seeds()), summary(cases, 0)
    assert outcomes["flip-pixels", "read"], "the seeds themselves are refused"


@pytest.mark.parametrize(
    ("raised", "what"),
    [
        (ValueError("oh"), "Traceback"),
        (InputError("of SECRETTEXT"), "patient data"),
        (InputError("a\x1b[2Jb"), "nothing for a person"),
        (InputError("(MemoryError)"), "nothing for a person"),
    ],
)
def test_what_counts_as_a_failure(
    raised: Exception, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> None:
        raise raised

    assert run_case("nifti/truncate/100", tmp_path) == ("read", "")
    monkeypatch.setattr("fuzz_reading.read_nifti", read)
    outcome, why = run_case("nifti/truncate/100", tmp_path)
    assert outcome == "failed"
    assert what in why
