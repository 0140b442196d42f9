"""What a NIfTI header says of the patient: its unit of length, and what its millimetres count from, if anything."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from swinunet.foundation.errors import GeometryError
from swinunet.imaging import read_labels, read_nifti, read_nifti_modalities, read_study, write_nifti

VOXELS = np.random.default_rng(0).integers(0, 9, (20, 12, 10)).astype(np.int16)


def save(path: Path, side: float, *, unit: int = 2, sform: int = 1, qform: int = 1) -> Path:
    """A file whose axes run Right, Anterior, Superior, with these codes."""
    image = nib.Nifti1Image(VOXELS, np.diag([side, side, side, 1.0]))
    image.set_sform(image.affine, sform)
    image.set_qform(image.affine, qform)
    image.header["xyzt_units"] = unit
    if not sform and not qform:
        image.header["pixdim"][0] = 1
    path.write_bytes(image.to_bytes())
    return path


@pytest.mark.parametrize(("unit", "side", "mm"), [(3, 300, 0.3), (1, 0.003, 3), (2, 0.3, 0.3), (0, 0.3, 0.3)])
@pytest.mark.parametrize("of_time", [0, 8, 16])
def test_lengths_are_converted_from_the_headers_unit(
    unit: int, side: float, mm: float, of_time: int, tmp_path: Path
) -> None:
    path = save(tmp_path / "v.nii", side, unit=unit + of_time)
    for volume in (read_nifti(path), *read_nifti_modalities(path), read_labels(path), *read_study([path])):
        assert volume.spacing_mm == pytest.approx((mm, mm, mm))
        assert volume.voxel_ml == pytest.approx(mm**3 / 1000)


def test_the_place_is_converted_as_the_voxel_is(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.array([[300, 0, 0, 6e4], [0, 300, 0, -9e4], [0, 0, 300, 3e3], [0, 0, 0, 1.0]]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "v.nii.gz")
    np.testing.assert_allclose(read_nifti(tmp_path / "v.nii.gz").affine[:3, 3], [-60, 90, 3], rtol=1e-6)


def test_what_was_read_in_micrometres_is_written_in_millimetres(tmp_path: Path) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", 300, unit=3))
    write_nifti(volume, tmp_path / "out.nii")
    header = nib.load(tmp_path / "out.nii").header
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(header.get_zooms(), 0.3, rtol=1e-6)


def test_a_unit_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"v\.nii: its xyzt_units name no unit of length \(5\)"):
        read_nifti(save(tmp_path / "v.nii", 1, unit=5))
    with pytest.raises(GeometryError, match=r"by its header \(xyzt_units: metres\) it is 20 m long; correct the unit"):
        read_nifti(save(tmp_path / "v.nii", 1, unit=1))


def test_a_file_that_says_nothing_of_the_patient_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", 2, sform=0, qform=0)
    for read in (read_nifti, read_nifti_modalities, read_labels, lambda one: read_study([one])):
        with pytest.raises(GeometryError, match=r"v\.nii: .*neither qform nor sform.*left and right are unknown"):
            read(path)


def test_assumed_axes_run_right_anterior_superior(tmp_path: Path) -> None:
    """Method 1 of nifti1.h, where nibabel's own fall-back runs to the left; a file with a form is not touched by it."""
    path = save(tmp_path / "v.nii", 2, sform=0, qform=0)
    assert nib.load(path).affine[0, 0] < 0
    volume = read_nifti(path, assume_ras=True)
    np.testing.assert_array_equal(volume.affine, np.diag([-2.0, -2.0, 2.0, 1.0]))
    assert volume.space == "unknown"
    assert [one.space for one in read_study([path], assume_ras=True)] == ["unknown"]
    assert read_labels(path, assume_ras=True).space == "unknown"
    placed = save(tmp_path / "placed.nii", 2, qform=0)
    np.testing.assert_array_equal(read_nifti(placed, assume_ras=True).affine, read_nifti(placed).affine)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_an_assumption_is_never_written_as_a_fact(suffix: str, tmp_path: Path) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", 2, sform=0, qform=0), assume_ras=True)
    mask = volume.crop((slice(2, 9), slice(0, 5), slice(1, 4)))
    out = tmp_path / f"out.{suffix}"
    write_nifti(mask.with_voxels(mask.voxels.astype(np.uint8)), out)
    header = nib.load(out).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    np.testing.assert_allclose(header.get_zooms(), 2)
    with pytest.raises(GeometryError, match="neither qform nor sform"):
        read_nifti(out)


@pytest.mark.parametrize("code", [1, 2, 3, 4])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_a_mask_counts_from_what_its_image_counts_from(code: int, form: str, tmp_path: Path) -> None:
    codes = {"sform": 0, "qform": 0} | {form: code}
    volume = read_nifti(save(tmp_path / "v.nii", 2, sform=codes["sform"], qform=codes["qform"]))
    write_nifti(volume.lps_view().with_voxels(volume.lps_view().voxels.astype(np.uint8)), tmp_path / "out.nii")
    header = nib.load(tmp_path / "out.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (code, code)
