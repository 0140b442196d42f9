"""Real series of several vendors and transfer syntaxes become the volumes that dicom2nifti's authors published."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from swinunet.client.dicom import Series, VerdictKind, read_volume, scan_folder, select_series
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import Volume

DATA = Path(os.environ.get("SWINUNET_DATA", Path(__file__).parents[4] / "shared" / "data")) / "dicom_reference"
AFFINE_TOLERANCE_MM = 1e-3

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no reference series at {DATA} (set SWINUNET_DATA)")

WITH_TRUTH = {
    "ge/anatomical/001": ("int16", None),
    "ge/anatomical/001_implicit": ("int16", None),
    "ge/anatomical/001_single_slice": ("int16", None),
    "siemens/anatomical/001": ("uint16", None),
    "philips_enhanced/anatomical/001": ("float32", 1),
    "generic/anatomical/001": ("uint16", None),
    "generic/compressed/001": ("uint16", None),
    "generic/compressed_j2k/001": ("uint16", None),
    "generic/compressed_jpeg/001": ("uint16", None),
    "generic/compressed_jpegls/001": ("uint16", None),
    "generic/compressed_rle/001": ("uint16", None),
    "failing/slicecount/001": ("uint16", None),
}
REFUSED = {
    "generic/rgb/001": (VerdictKind.COLOUR, InputError, "RGB, 3 samples per pixel"),
    "failing/notavolume/001": (VerdictKind.NOT_A_VOLUME, GeometryError, "4 slices at one position"),
    "failing/gantrytilting/001": (VerdictKind.TILTED, GeometryError, "14.0 degrees"),
}


def only_series(name: str) -> Series:
    """The one series of a reference folder, whatever its verdict."""
    (series,) = scan_folder(DATA / name).series
    return series


def canonical(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and RAS affine with the axes nearest to R, A, S."""
    return canonical_nifti(nib.Nifti1Image(volume.voxels, np.diag([-1, -1, 1, 1]) @ volume.affine))


def canonical_nifti(image: nib.Nifti1Image) -> tuple[np.ndarray, np.ndarray]:
    """The same for a NIfTI image; a fourth axis of length 1 is dropped."""
    turned = nib.as_closest_canonical(image)
    voxels = np.asarray(turned.dataobj)
    return voxels.reshape(voxels.shape[:3]), turned.affine


def test_every_reference_series_is_covered() -> None:
    truths = {
        str(path.relative_to(DATA)).removesuffix("_ground_truth.nii.gz") for path in DATA.rglob("*_ground_truth.nii.gz")
    }
    assert truths == set(WITH_TRUTH) | {"generic/rgb/001"}


@pytest.mark.parametrize("name", WITH_TRUTH)
def test_series_becomes_its_ground_truth(name: str) -> None:
    dtype, first_frame = WITH_TRUTH[name]
    dicom = read_volume(select_series(scan_folder(DATA / name)))
    voxels, affine = canonical(dicom.volume)
    truth, truth_affine = canonical_nifti(nib.load(DATA / f"{name}_ground_truth.nii.gz"))
    assert dicom.volume.voxels.dtype == dtype
    if dtype == "float32":
        np.testing.assert_allclose(voxels, truth, rtol=1e-6)
    else:
        np.testing.assert_array_equal(voxels, truth)
    np.testing.assert_allclose(affine, truth_affine, rtol=0, atol=AFFINE_TOLERANCE_MM)
    corner = np.array([*voxels.shape, 1]) - [1, 1, 1, 0]
    np.testing.assert_allclose(affine @ corner, truth_affine @ corner, rtol=0, atol=AFFINE_TOLERANCE_MM)
    assert {dicom.source.references[k][1] is None for k in range(dicom.volume.shape[2])} == {first_frame is None}


@pytest.mark.parametrize("name", REFUSED)
def test_trap_is_refused_by_name(name: str) -> None:
    kind, error, numbers = REFUSED[name]
    series = only_series(name)
    assert series.verdict.kind is kind
    for refused in (lambda: select_series(scan_folder(DATA / name)), lambda: read_volume(series)):
        with pytest.raises(error, match=f"{kind}: .*{numbers}"):
            refused()


def test_single_slice_says_where_its_thickness_comes_from() -> None:
    verdict = only_series("ge/anatomical/001_single_slice").verdict
    assert verdict.kind is VerdictKind.SINGLE_SLICE
    assert "1 mm thick (assumed" in verdict.sentence


def test_enhanced_frames_keep_their_numbers() -> None:
    dicom = read_volume(only_series("philips_enhanced/anatomical/001"))
    numbers = [dicom.source.references[k][1] for k in range(8)]
    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8]
    (header,) = dicom.source.headers
    assert "PixelData" not in header
    for k, number in enumerate(numbers):
        assert number is not None
        position = header.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose((dicom.volume.affine @ [0, 0, k, 1])[:3], position, atol=AFFINE_TOLERANCE_MM)


@pytest.mark.parametrize("name", ["ge/anatomical/001", "siemens/anatomical/001", "generic/compressed_jpeg/001"])
def test_simpleitk_reads_the_same_volume(name: str) -> None:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(DATA / name)))
    image = reader.Execute()
    itk_affine = np.eye(4)
    itk_affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    itk_affine[:3, 3] = image.GetOrigin()
    itk = canonical(Volume(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), itk_affine))
    ours = canonical(read_volume(only_series(name)).volume)
    np.testing.assert_array_equal(ours[0], itk[0])
    np.testing.assert_allclose(ours[1], itk[1], rtol=0, atol=AFFINE_TOLERANCE_MM)
