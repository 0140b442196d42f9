"""The demo's DICOM series is nilearn's MNI152 brain, voxel by voxel, and its boxes lie on the hippocampi."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

pytest.importorskip("nilearn", reason="nilearn (extra: demo) is not installed")

from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, read_mni152, write_mni152_series

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mni152_series(tmp_path_factory.mktemp("mni152"))


def test_series_is_the_template(series: Path) -> None:
    """Read by SimpleITK, it is what nilearn loads: the same intensity at the same point in the patient."""
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    image = reader.Execute()
    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    to_template = np.linalg.inv(_RAS_LPS @ template.affine) @ affine
    assert np.allclose(to_template[:3, :3], np.diag([-1, -1, 1]))
    assert np.allclose(to_template[:3, 3], [voxels.shape[0] - 1, voxels.shape[1] - 1, 0])
    assert np.allclose(voxels[::-1, ::-1] / voxels.max(), template.get_fdata(), atol=1e-6)


def test_reads_as_one_usable_volume(series: Path) -> None:
    from swinunet.client.dicom import read_volume, scan_folder, select_series

    volume = read_volume(select_series(scan_folder(series), modality="MR")).volume
    assert np.array_equal(volume.voxels, read_mni152().voxels)
    assert np.allclose(volume.affine, read_mni152().affine)


def test_same_files_every_time(series: Path, tmp_path: Path) -> None:
    again = write_mni152_series(tmp_path / "again")
    assert len(list(again.iterdir())) == 189
    for name in ("MR0001.dcm", "MR0189.dcm"):
        assert (again / name).read_bytes() == (series / name).read_bytes()


def test_nobody_could_take_it_for_a_patient(series: Path) -> None:
    header = pydicom.dcmread(series / "MR0100.dcm", stop_before_pixels=True)
    assert header.PatientName == "MNI152^TEMPLATE"
    assert "Not a patient" in header.ImageComments


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_series_is_valid_dicom(series: Path) -> None:
    verdict = subprocess.run(["dciodvfy", series / "MR0100.dcm"], capture_output=True, text=True, check=False).stderr
    assert "Error" not in verdict


@pytest.mark.parametrize("side", ["left", "right"])
def test_boxes_hold_a_hippocampus(side: str) -> None:
    """Inside the volume, on the right side (x grows to the patient's left), sized like the training crops."""
    x0, x1, y0, y1, z0, z1 = HIPPOCAMPUS_BOXES[side]
    crop = read_mni152().crop(read_mni152().box_slices(np.array([x0, y0, z0]), np.array([x1, y1, z1])))
    assert ((x0 + x1) > 0) == (side == "left")
    assert all(low <= n <= high for n, low, high in zip(crop.shape, (31, 44, 29), (38, 55, 43), strict=True))
    sign = 1 if side == "left" else -1
    for x, y, z in ((25, 10, -22), (28, 22, -14), (24, 37, 0)):  # head, body and tail of the hippocampus
        at = np.linalg.solve(crop.affine, [sign * x, y, z, 1])[:3]
        assert (at > 4).all()
        assert (at < np.array(crop.shape) - 5).all()
