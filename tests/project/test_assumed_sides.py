"""NIfTI files that do not say where left is: train, evaluate and export refuse them, and take them when told to."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from command_line import run_here
from labelled_folders import make_cases, write_plain
from small_model import SMALL_SPEC
from tiny_version import tiny_checkpoint

from swinunet.export import pipeline
from swinunet.export.gate.evidence import gather_evidence
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.training.data.folders import DataFolder


def without_forms(root: Path) -> Path:
    """The folder, every NIfTI file of it without qform and sform, as ANALYZE converters leave them."""
    for path in root.rglob("*.nii*"):
        image = nib.load(path)
        bare = nib.Nifti1Image(np.asarray(image.dataobj), None)
        bare.set_qform(None, 0)
        bare.set_sform(None, 0)
        bare.header["pixdim"][0] = 1
        bare.header.set_zooms(image.header.get_zooms())
        path.unlink()
        nib.save(bare, path)
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_forms(write_plain(tmp_path_factory.mktemp("cases") / "blob", make_cases(4)))


@pytest.mark.parametrize("assume_ras", [False, True])
def test_a_case_has_the_axes_that_are_assumed(data: Path, assume_ras: bool) -> None:
    for case in DataFolder.open(data, assume_ras=assume_ras).cases:
        if not assume_ras:
            with pytest.raises(GeometryError, match="left and right are unknown"):
                case.read_images()
            continue
        for volume in (*case.read_images(), case.read_labels()):
            np.testing.assert_array_equal(volume.affine, np.diag([-1.0, -1.0, 1.0, 1.0]))
            assert volume.space == "unknown"


def test_training_looks_the_data_over_as_told_and_a_run_that_goes_on_remembers(data: Path, tmp_path: Path) -> None:
    check = run_here("train", data, "--check")
    assert check.returncode == 1
    assert "left and right are unknown" in check.stderr
    assert run_here("train", data, "--check", "--assume-ras").returncode == 0
    run = tmp_path / "run"
    done = run_here("train", data, "-o", run, "--recipe", "tiny", "--epochs", "1", "--assume-ras")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "settings.json").read_text())["settings"]["assume_ras"] is True
    resumed = run_here("train", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr


def test_evaluation_takes_references_and_predictions_as_told(data: Path, tmp_path: Path) -> None:
    refused = run_here("evaluate", data / "labels", data, "-o", tmp_path / "refused")
    assert refused.returncode == 1
    assert "left and right are unknown" in refused.stderr
    done = run_here("evaluate", data / "labels", data, "-o", tmp_path / "judged", "--assume-ras")
    assert done.returncode == 0, done.stderr
    assert all(score["dice"] == 1 for case in json.loads((tmp_path / "judged" / "evaluation.json").read_text())["cases"]
               for score in case["classes"])  # fmt: skip


def test_the_gate_judges_on_them_as_told(data: Path, tmp_path: Path) -> None:
    for folder in (data, data / "images"):
        with pytest.raises(GeometryError, match="left and right are unknown"):
            list(gather_evidence(SMALL_SPEC, folder, tmp_path / "split.json").cases())
        assert len(list(gather_evidence(SMALL_SPEC, folder, tmp_path / "split.json", assume_ras=True).cases())) == 4


@pytest.mark.parametrize("told", [False, True])
def test_export_hands_on_what_it_is_told(
    told: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the evidence, whose sides the test above looks at."""

    def gathered(*_: object, assume_ras: bool) -> None:
        raise InputError(f"assumed: {assume_ras}")

    monkeypatch.setattr(pipeline, "gather_evidence", gathered)
    command = ("export", tiny_checkpoint(tmp_path), "--repository", tmp_path / "models", "--data", data)
    assert run_here(*command, *["--assume-ras"][: int(told)]).stderr == f"swinunet: assumed: {told}\n"
