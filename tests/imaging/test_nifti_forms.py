"""qform and sform of a NIfTI file that contradict each other are refused; those that differ for a reason are read."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swinunet.foundation.errors import GeometryError
from swinunet.imaging import read_labels, read_nifti, read_nifti_modalities, read_study
from swinunet.imaging.nifti import read_nifti_grid

VOXELS = np.random.default_rng(0).integers(0, 9, (20, 12, 10)).astype(np.int16)
PLAIN = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
FLIPPED = np.diag([-1.0, 1, 1, 1]) @ PLAIN  # the first axis to the left


def save(path: Path, qform: np.ndarray, sform: np.ndarray, qform_code: int = 1, sform_code: int = 1) -> Path:
    """A file with these forms, RAS, in mm."""
    image = nib.Nifti1Image(VOXELS, None)
    image.set_qform(qform, qform_code)
    image.set_sform(sform, sform_code)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def moved(mm: float) -> np.ndarray:
    """PLAIN, `mm` further to the head."""
    affine = PLAIN.copy()
    affine[2, 3] += mm
    return affine


def turned(degrees: float, axis: int = 2) -> np.ndarray:
    """PLAIN turned about an axis of the patient."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.eye(4)
    one, other = ((1, 2), (0, 2), (0, 1))[axis]
    rotation[one, one], rotation[one, other], rotation[other, one], rotation[other, other] = cosine, -sine, sine, cosine
    return rotation @ PLAIN


@pytest.mark.parametrize(
    ("qform", "says"),
    [
        (moved(3), r"qform \(RAS from -90, -126, -69, code 1\) and sform \(RAS from -90, -126, -72, code 1\)"),
        (
            moved(3),
            r"put voxels up to 3\.0 mm apart; convert it from DICOM again, or copy the right one",
        ),
        (turned(90), r"qform \(ALS from 126, -90, -72, code 1\).* mm apart"),
        (turned(5), "mm apart"),
        (np.diag([1, 1, 1.2, 1]) @ PLAIN, "mm apart"),  # pixdim that was edited and the sform was not
        (FLIPPED, r"qform \(LAS from 90, -126, -72.*mirror images of each other, so that left and right are unknown"),
    ],
)
def test_two_places_for_one_voxel_are_refused(qform: np.ndarray, says: str, tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", qform, PLAIN)
    for read in (read_nifti, read_nifti_modalities, read_labels, read_nifti_grid, lambda one: read_study([one])):
        with pytest.raises(GeometryError, match=rf"v\.nii: its .*{says}") as refused:
            read(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("assume_ras", [False, True])
def test_left_and_right_cannot_differ_between_spaces_either(assume_ras: bool, tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", PLAIN, FLIPPED, 1, 4)
    with pytest.raises(GeometryError, match=r"sform \(LAS from 90, -126, -72, code 4\) are mirror images"):
        read_nifti(path, assume_ras=assume_ras)


@pytest.mark.parametrize(("codes", "space"), [((1, 4), "mni"), ((1, 2), "aligned"), ((2, 1), "scanner")])
def test_forms_of_different_spaces_may_differ_and_the_sform_counts(
    codes: tuple[int, int], space: str, tmp_path: Path
) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", turned(20), moved(15), *codes))
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ volume.affine, moved(15), atol=1e-4)
    assert volume.space == space


def test_a_form_that_is_not_set_contradicts_nothing(tmp_path: Path) -> None:
    for codes, expected in (((0, 1), PLAIN), ((1, 0), FLIPPED)):
        volume = read_nifti(save(tmp_path / "v.nii", FLIPPED, PLAIN, *codes))
        np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ volume.affine, expected, atol=1e-4)


def test_the_distance_is_in_millimetres_whatever_the_header_counts_in(tmp_path: Path) -> None:
    to_micrometres = np.diag([1000.0, 1000, 1000, 1])
    path = save(tmp_path / "v.nii", to_micrometres @ moved(3), to_micrometres @ PLAIN)
    image = nib.load(path)
    image.header["xyzt_units"] = 3
    (tmp_path / "micrometres.nii").write_bytes(image.to_bytes())
    with pytest.raises(GeometryError, match=r"put voxels up to 3\.0 mm apart"):
        read_nifti(tmp_path / "micrometres.nii")


@pytest.mark.parametrize("degrees", [5, 25])
def test_a_tilted_gantrys_sform_beside_the_nearest_qform_is_read(degrees: float, tmp_path: Path) -> None:
    """nibabel, as other writers, puts the nearest rotation beside a sform that no quaternion can hold."""
    sheared = PLAIN.copy()
    sheared[1, 2] = 3 * np.tan(np.radians(degrees))
    path = save(tmp_path / "v.nii", sheared, sheared)
    assert not np.allclose(nib.load(path).get_qform(), sheared, atol=0.1)
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ read_nifti(path).affine, sheared, atol=1e-4)
    elsewhere = sheared.copy()
    elsewhere[0, 3] += 40
    with pytest.raises(GeometryError, match=r"up to 40\.0 mm apart"):
        read_nifti(save(tmp_path / "v.nii", elsewhere, sheared))


def test_a_quaternion_that_is_no_rotation_contradicts_nothing(tmp_path: Path) -> None:
    image = nib.load(save(tmp_path / "v.nii", PLAIN, PLAIN))
    for name in ("quatern_b", "quatern_c", "quatern_d"):
        image.header[name] = 1
    (tmp_path / "broken.nii").write_bytes(image.to_bytes())
    np.testing.assert_allclose(read_nifti(tmp_path / "broken.nii").affine, read_nifti(tmp_path / "v.nii").affine)


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    sides=st.tuples(*[st.floats(0.2, 5)] * 3),
    place=st.tuples(*[st.floats(-500, 500)] * 3),
    mirrored=st.booleans(),
)
def test_one_affine_in_both_forms_is_always_read(
    angles: tuple[float, ...],
    sides: tuple[float, ...],
    place: tuple[float, ...],
    mirrored: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever float32 quaternions lose, near half a turn most of all."""
    affine = np.eye(4)
    for axis, angle in enumerate(angles):
        affine = turned(angle, axis) @ np.linalg.inv(PLAIN) @ affine
    affine = affine @ np.diag([*sides, 1.0]) @ np.diag([-1.0 if mirrored else 1.0, 1, 1, 1])
    affine[:3, 3] = place
    volume = read_nifti(save(tmp_path_factory.mktemp("forms") / "v.nii", affine, affine))
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ volume.affine, affine, atol=1e-3)
