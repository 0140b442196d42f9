"""What a person meant who made a slip of the pen."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinunet.foundation.nearest import did_you_mean, nearest_name, nearest_path

VERBS = ("train", "tune", "segment", "serve")


@pytest.mark.parametrize(
    ("typed", "meant"), [("trian", "train"), ("SEGMENT", "segment"), ("segmnet", "segment"), ("xyz", None), ("", None)]
)
def test_the_nearest_name(typed: str, meant: str | None) -> None:
    assert nearest_name(typed, VERBS) == meant
    assert did_you_mean(typed, VERBS) == (f"; did you mean {meant!r}?" if meant else "")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("case.nii", "case.nii.gz"),
        ("Case.nii.gz", "case.nii.gz"),
        ("stduy", "study"),
        ("stduy/series/1.dcm", "study/series/1.dcm"),
        ("stduy/series/2.dcm", "study"),  # what lies behind the first part that is missing is not guessed
        ("study/seires/1.dcm", "study/series/1.dcm"),
        ("study/series", None),  # it is there
        ("quite/else", None),
        ("case.nii.gz/inside", None),  # a file is no folder
    ],
)
def test_the_nearest_path(typed: str, meant: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study" / "series").mkdir(parents=True)
    (tmp_path / "study" / "series" / "1.dcm").touch()
    (tmp_path / "case.nii.gz").touch()
    assert nearest_path(tmp_path / typed) == (tmp_path / meant if meant else None)
    monkeypatch.chdir(tmp_path)
    assert nearest_path(Path(typed)) == (Path(meant) if meant else None)
