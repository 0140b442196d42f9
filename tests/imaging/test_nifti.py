"""swinunet.imaging.nifti: files as volumes and back, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from placed_volumes import axis_orders, place

from swinunet.foundation.errors import InputError, OutputError
from swinunet.imaging import Volume, read_nifti, write_nifti
from swinunet.imaging.nifti import read_nifti_labels


@pytest.mark.parametrize("matrix", axis_orders()[::7])
def test_nifti_round_trip_and_its_world(matrix: np.ndarray, tmp_path: Path) -> None:
    volume = place(matrix)
    write_nifti(Volume(volume.voxels.astype(np.float32), volume.affine), tmp_path / "v.nii.gz")
    again = read_nifti(tmp_path / "v.nii.gz")
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-5)
    np.testing.assert_array_equal(again.voxels, volume.voxels.astype(np.float32))
    ras = nib.load(tmp_path / "v.nii.gz").affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(ras[:3], [-3, 4, 5], atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["v.nii.gz"]


def test_unreadable_nifti_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.nii.gz"
    write_nifti(Volume(np.random.rand(20, 20, 20).astype(np.float32), np.eye(4)), whole)
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "text.nii").write_text("hello")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / "four.nii")
    for name, says in {
        "cut.nii.gz": "not a readable NIfTI",
        "text.nii": "not a readable NIfTI",
        "none.nii": "no such file",
        "four.nii": "expected one volume",
    }.items():
        with pytest.raises(InputError, match=says):
            read_nifti(tmp_path / name)


def test_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    write_nifti(Volume(np.full((3, 3, 3), 0.5, np.float32), np.eye(4)), tmp_path / "half.nii")
    with pytest.raises(InputError, match="whole numbers"):
        read_nifti_labels(tmp_path / "half.nii")


def test_nifti_into_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_nifti(Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "none" / "v.nii.gz")
