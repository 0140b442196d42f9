"""NIfTI files of two to five axes, labels at their bounds, sheared affines, units; nibabel writes and reads."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import Volume, read_nifti, write_nifti
from swinunet.imaging.nifti import read_nifti_labels, read_nifti_modalities
from swinunet.imaging.volume import VOXEL_MM

RNG = np.random.default_rng(0)


def save(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    voxels = RNG.random(shape).astype(np.float32)
    image = nib.Nifti1Image(voxels, np.eye(4))
    image.header["dim"][0] = len(shape)
    nib.save(image, path)
    return voxels


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6), (4, 5, 1), (4, 5, 6, 1), (4, 1, 6, 1, 1), (1, 1, 3)], ids=str)
def test_one_volume_however_many_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    voxels = save(tmp_path / "v.nii", shape)
    found = read_nifti(tmp_path / "v.nii")
    assert found.voxels.dtype == np.float32
    assert found.shape == (*shape, 1)[:3]
    np.testing.assert_array_equal(found.voxels.ravel(), voxels.ravel())


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (4, 5, 6, 1, 3), (4, 5, 1, 2), (4, 5, 6, 2, 1)], ids=str)
def test_more_than_one_volume_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save(tmp_path / "v.nii", shape)
    with pytest.raises(InputError, match=r"v\.nii: found \d axes .*expected one volume of three axes"):
        read_nifti(tmp_path / "v.nii")


@pytest.mark.parametrize(
    ("shape", "count"),
    [((4, 5), 1), ((4, 5, 6), 1), ((4, 5, 6, 1), 1), ((4, 5, 6, 3), 3), ((4, 5, 1, 7), 7), ((4, 5, 6, 1, 3), 3)],
    ids=str,
)
def test_the_last_axis_is_the_modality(tmp_path: Path, shape: tuple[int, ...], count: int) -> None:
    voxels = save(tmp_path / "v.nii", shape)
    found = read_nifti_modalities(tmp_path / "v.nii")
    assert len(found) == count
    stacked = np.stack([each.voxels for each in found], axis=-1)
    np.testing.assert_array_equal(stacked.ravel(), voxels.ravel())
    assert all(each.shape == (*shape, 1)[:3] for each in found)


@pytest.mark.parametrize("shape", [(4, 5, 6, 2, 3), (4, 5, 6, 2, 1)], ids=str)
def test_two_more_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save(tmp_path / "v.nii", shape)
    with pytest.raises(InputError, match="expected three, or four with the modality as the last"):
        read_nifti_modalities(tmp_path / "v.nii")


@pytest.mark.parametrize(
    ("values", "fits"),
    [((0, 255), True), ((0, 256), False), ((-1, 3), False), ((0, 0.5), False), ((0, 0), True), ((1, 2), True)],
)
def test_labels_are_whole_numbers_of_one_byte(tmp_path: Path, values: tuple[float, float], fits: bool) -> None:
    nib.save(nib.Nifti1Image(np.array(values, np.float32).reshape(2, 1, 1), np.eye(4)), tmp_path / "l.nii")
    if fits:
        assert read_nifti_labels(tmp_path / "l.nii").voxels.ravel().tolist() == list(values)
    else:
        with pytest.raises(InputError, match=r"l\.nii: labels must be whole numbers from 0 to 255"):
            read_nifti_labels(tmp_path / "l.nii")


def write(tmp_path: Path, affine: np.ndarray) -> nib.Nifti1Image:
    write_nifti(Volume(np.zeros((3, 4, 5), np.uint8), affine), tmp_path / "v.nii")
    return nib.load(tmp_path / "v.nii")


@pytest.mark.parametrize(("tilt", "code"), [(0.0, 1), (5e-4, 1), (2e-3, 0), (0.3, 0)])
@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_a_qform_is_marked_unknown_where_axes_are_not_perpendicular(
    tmp_path: Path, tilt: float, code: int, axes: tuple[int, int]
) -> None:
    affine = np.diag([0.8, 1.5, 3.0, 1.0])
    affine[axes[0], axes[1]] = tilt * affine[axes[1], axes[1]]
    affine[:3, 3] = 500, -40, 7  # where the volume lies has no say
    image = write(tmp_path, affine)
    assert int(image.header["qform_code"]) == code
    assert int(image.header["sform_code"]) == 1
    np.testing.assert_allclose(image.header.get_sform(), np.diag([-1, -1, 1, 1]) @ affine, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


@given(
    angle=st.floats(-3, 3), spacing=st.tuples(*[st.floats(0.2, 6)] * 3), origin=st.tuples(*[st.floats(-300, 300)] * 3)
)
@settings(max_examples=30, deadline=None)
def test_the_affine_comes_back(
    tmp_path_factory: pytest.TempPathFactory, angle: float, spacing: tuple[float, ...], origin: tuple[float, ...]
) -> None:
    """nibabel's RAS affine of what we write, turned to LPS by hand, is the volume's; and so is what we read."""
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, origin
    folder = tmp_path_factory.mktemp("affine")
    ras = write(folder, affine).affine
    lps = ras * np.array([[-1], [-1], [1], [1]])
    np.testing.assert_allclose(lps, affine, atol=1e-4)
    np.testing.assert_allclose(read_nifti(folder / "v.nii").affine, affine, atol=1e-4)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_a_file_that_holds_just_enough_is_read(tmp_path: Path, suffix: str) -> None:
    """Zeros shrink a thousandfold when packed: within what zlib can do."""
    path = tmp_path / f"v{suffix}"
    image = nib.Nifti1Image(np.zeros((64, 64, 64), np.int16), np.eye(4))
    nib.save(image, tmp_path / f"v{suffix.lower()}")
    (tmp_path / f"v{suffix.lower()}").rename(path)
    assert read_nifti(path).shape == (64, 64, 64)


def test_what_memory_must_hold_is_the_file_and_its_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """int16: 2 + 4 bytes a voxel, 384 for 64 of them."""
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "v.nii")
    for pages, fits in ((383, False), (384, True)):
        monkeypatch.setattr("os.sysconf", lambda name, pages=pages: pages if name == "SC_PHYS_PAGES" else 1)
        if fits:
            read_nifti(tmp_path / "v.nii")
        else:
            with pytest.raises(InputError, match="do not fit into memory"):
                read_nifti(tmp_path / "v.nii")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("mm", "fits"), [(0.0009, False), (0.0011, True), (999.0, True), (1001.0, False)])
def test_voxels_have_a_size_between_a_micrometre_and_a_metre(tmp_path: Path, axis: int, mm: float, fits: bool) -> None:
    assert VOXEL_MM == (0.001, 1000.0)
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = mm
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([*spacing, 1.0])), tmp_path / "v.nii")
    if fits:
        assert read_nifti(tmp_path / "v.nii").spacing_mm[axis] == pytest.approx(mm, rel=1e-5)
    else:
        with pytest.raises(GeometryError, match=r"v\.nii: a voxel of .* mm, expected 0.001 to 1000 mm"):
            read_nifti(tmp_path / "v.nii")
