"""The choice of one volume among many: by the model's spec, by UID, by what is allowed; each told why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_series import CORONAL, SAGITTAL, lean, make_series, save
from pydicom.dataset import Dataset

from swinunet.client.dicom import choose, read_volume, scan_folder, select_series
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import Code, Label, ModelSpec, ZScore


def spec(**attributes: object) -> ModelSpec:
    return ModelSpec(
        **{
            "name": "m", "version": 1, "modality": "MR", "body_part": "BRAIN", "plane": "axial", "context_slices": 1,
            "context_step_mm": 1.0, "input_size": (64, 64), "spacing_mm": None, "intensity": ZScore(),
            "labels": (Label(1, "a", (1, 2, 3), Code("1", "SCT", "a")),),
        }
        | attributes  # type: ignore[arg-type]
    )  # fmt: skip


RULES: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "words": (
        {"SeriesDescription": "Ax T1 MPRAGE"},
        {"SeriesDescription": "t2"},
        "its description does not say t1 or flair",
    ),
    "slices": ({}, {"stored": np.ones((3, 4, 3), np.uint16)}, "fewer than 4 slices"),
    "modality": ({}, {"Modality": "CT"}, "its modality is CT, the model reads MR"),
    "body part": ({"BodyPartExamined": "BRAIN"}, {"BodyPartExamined": "KNEE"}, "not of BRAIN"),
    "body part not said": ({"BodyPartExamined": "BRAIN"}, {}, "it does not say that it is of BRAIN"),
    "description": ({}, {"SeriesDescription": "3-plane Scout"}, "a localizer"),
    "image type": ({}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
    "slice count": ({}, {"stored": np.ones((1, 4, 3), np.uint16)}, "a single slice"),
    "plane": ({}, {"orientation": CORONAL, "step_mm": (0, 2, 0)}, "its slices are not axial"),
    "verdict": ({}, {"step_mm": (0, 0.8, 2)}, "tilted"),
}


@pytest.mark.parametrize("name", RULES)
def test_the_spec_chooses_and_says_why(name: str, tmp_path: Path) -> None:
    wanted, other, reason = RULES[name]
    good, bad = make_series(**wanted), make_series(**other)  # type: ignore[arg-type]
    save(tmp_path / "a", good)
    save(tmp_path / "b", bad)
    scan = scan_folder(tmp_path)
    model = spec(descriptions=("t1", "flair") if name == "words" else (), min_slices=4)
    choice = choose(scan, spec=model)
    assert choice.taken is scan.series[0] is select_series(scan, spec=model)
    assert choice.reasons[0] == "taken: the only one that fits"
    assert choice.reasons[1].startswith(f"not taken: {reason}")
    if name not in ("modality", "verdict"):
        assert select_series(scan, bad[0].SeriesInstanceUID, spec=model) is scan.series[1]


def test_a_model_of_several_planes_takes_slices_along_any(tmp_path: Path) -> None:
    save(tmp_path / "a", make_series(orientation=CORONAL, step_mm=(0, 2, 0)))
    save(tmp_path / "b", make_series(orientation=SAGITTAL, step_mm=(2, 0, 0)))
    choice = choose(scan_folder(tmp_path), spec=spec(further_planes=("coronal",)))
    assert choice.reasons == ("taken: the only one that fits", "not taken: its slices are not axial or coronal")


def test_a_rule_that_nothing_meets_leaves_all(tmp_path: Path) -> None:
    save(tmp_path, make_series(orientation=CORONAL, step_mm=(0, 2, 0), BodyPartExamined="HEAD"))
    assert select_series(scan_folder(tmp_path), spec=spec()).body_part == "HEAD"
    save(tmp_path / "b", make_series(orientation=SAGITTAL, step_mm=(2, 0, 0)))
    save(tmp_path / "c", make_series(orientation=SAGITTAL, step_mm=(2, 0, 0)))
    choice = choose(scan_folder(tmp_path), spec=spec())
    assert (choice.taken, len(choice.candidates)) == (None, 2)
    assert all(f"choose with --series {one.uid}" in "".join(choice.reasons) for one in choice.candidates)


def gapped(slices: list[Dataset]) -> None:
    slices.pop(2)


def gapped_and_lean(slices: list[Dataset]) -> None:
    lean(slices)
    slices.pop(2)


@pytest.mark.parametrize(
    ("edit", "needs"), [(lean, ["tilted"]), (gapped, ["gap"]), (gapped_and_lean, ["gap", "tilted"])]
)
def test_allowances_overrule_exactly_their_verdicts(
    edit: Callable[[list[Dataset]], object], needs: list[str], tmp_path: Path
) -> None:
    slices = make_series()
    edit(slices)
    scan = scan_folder(save(tmp_path, slices))
    assert sorted(scan.series[0].verdict.needs) == needs
    for allow in ([], ["gap"], ["tilted"], ["gap", "tilted"]):
        if set(needs) <= set(allow):
            dicom = read_volume(select_series(scan, allow=allow), allow)
            last = dicom.volume.affine @ [0, 0, len(slices) - 1, 1]
            np.testing.assert_allclose(last[:3], np.array(slices[-1].ImagePositionPatient, float), atol=1e-6)
        else:
            with pytest.raises(GeometryError, match=f"{needs[0]}"):
                select_series(scan, allow=allow)
            with pytest.raises(GeometryError, match=f"{needs[0]}"):
                read_volume(scan.series[0], allow)


def test_an_unknown_allowance_is_refused(tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, make_series()))
    with pytest.raises(InputError, match="--allow duplicates: there is no such allowance; expected gap or tilted"):
        select_series(scan, allow=["duplicates"])


def test_the_spec_of_the_shipped_model_is_read_by_inspect(tmp_path: Path, repository: Path) -> None:
    from typer.testing import CliRunner

    from swinunet.cli import app

    save(tmp_path / "a", make_series(BodyPartExamined="BRAIN"))
    save(tmp_path / "b", make_series(BodyPartExamined="KNEE"))
    path = Path(__file__).parents[3] / "training" / "specs" / "hippocampus.json"
    done = CliRunner().invoke(app, ["inspect", str(tmp_path), "--json", "--spec", str(path)])
    assert done.exit_code == 0, done.output
    assert [one["taken"] for one in json.loads(done.stdout)["series"]] == [True, False]
