"""Cases of one patient fall on one side of the split, and the split of an earlier run is taken over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swinunet.foundation.errors import InputError
from swinunet.training.data.cases import split_cases
from swinunet.training.data.folders import CasePaths
from swinunet.training.data.given_split import split_as_given
from swinunet.training.data.groups import count_groups, group_of

PATIENT = ".+(?=_)"


def cases_of(patients: int, slices: int) -> tuple[CasePaths, ...]:
    names = [f"SC-N-{patient:02d}_{number:04d}" for patient in range(patients) for number in range(slices)]
    return tuple(CasePaths(name, (Path(f"{name}.png"),), Path(f"{name}.png")) for name in names)


def names_of(part: list[CasePaths]) -> list[str]:
    return [case.name for case in part]


@pytest.mark.parametrize(
    ("name", "pattern", "group"),
    [
        ("SC-HF-I-07_0048", PATIENT, "SC-HF-I-07"),
        ("a_b_12", PATIENT, "a_b"),
        ("a_b_12", "([a-z])_", "a"),
        ("a_b_12", "", "a_b_12"),
    ],
)
def test_group_is_what_the_pattern_finds(name: str, pattern: str, group: str) -> None:
    assert group_of(name, pattern) == group


@pytest.mark.parametrize(
    ("pattern", "said"), [("(", "no regular expression"), ("x", "does not match"), ("x*", "does not")]
)
def test_pattern_that_names_no_group_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        group_of("SC-N-02_0001", pattern)


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_on_both_sides(seed: int) -> None:
    training, validation = split_cases(cases_of(10, 7), 0.2, seed, PATIENT)
    patients = [{name.split("_")[0] for name in names_of(part)} for part in (training, validation)]
    assert not patients[0] & patients[1]
    assert [len(part) for part in patients] == [8, 2]
    assert len(training) + len(validation) == 70
    assert count_groups(names_of(validation), PATIENT) == 2
    assert names_of(training) == sorted(names_of(training))


def test_without_a_pattern_the_split_is_by_case() -> None:
    training, validation = split_cases(cases_of(5, 2), 0.2, 0)
    assert (len(training), len(validation)) == (8, 2)
    assert names_of(validation) != names_of(split_cases(cases_of(5, 2), 0.2, 0, PATIENT)[1])


def test_one_patient_cannot_be_split() -> None:
    with pytest.raises(InputError, match="one group"):
        split_cases(cases_of(1, 9), 0.2, 0, PATIENT)


def test_split_of_an_earlier_run_is_taken_over(tmp_path: Path) -> None:
    cases = cases_of(3, 2)
    first = {"training": names_of(list(cases[:2])), "validation": names_of(list(cases[2:4]))}
    (tmp_path / "split.json").write_text(json.dumps(first))
    training, validation = split_as_given(cases, tmp_path / "split.json")
    assert names_of(validation) == first["validation"]
    assert names_of(training) == names_of([*cases[:2], *cases[4:]])  # the last two came later


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no split"),
        ('{"training": []}', "no split"),
        ('{"training": [], "validation": ["gone"]}', "not in the data, as gone"),
        ('{"training": ["SC-N-00_0000"], "validation": ["SC-N-00_0000"]}', "both in training and in validation"),
        ('{"training": [], "validation": []}', "2 training and 0 validation"),
    ],
)
def test_a_split_that_cannot_be_taken_over_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(InputError, match=said):
        split_as_given(cases_of(1, 2), tmp_path / "split.json")
