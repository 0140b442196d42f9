"""`swinunet.segment`: every kind of image gives the same result, in its own library's form, with a picture."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from breakable_triton import small_study
from small_model import SMALL_SPEC

import swinunet
from swinunet.foundation.errors import InputError
from swinunet.imaging import Volume, write_nifti
from swinunet.notebook import volume_of
from swinunet.serving import TritonServer

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def study() -> Volume:
    affine = np.array([[0, 0, 1.5, -20], [1, 0, 0, 7], [0, -1, 0, 30], [0, 0, 0, 1.0]])  # sagittal slices, as stored
    return Volume(small_study(6).voxels.transpose(2, 1, 0), affine)


def as_simpleitk(volume: Volume) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(volume.voxels.transpose(2, 1, 0))
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(volume.affine[:3, 3].tolist())
    image.SetDirection((volume.affine[:3, :3] / volume.spacing_mm).ravel().tolist())
    return image


def test_every_kind_of_image_gives_the_same(small_triton: TritonServer, study: Volume, tmp_path: Path) -> None:
    write_nifti(study, tmp_path / "case.nii.gz")
    ras = LPS_TO_RAS @ study.affine
    found = [
        swinunet.segment(tmp_path / "case.nii.gz", url=small_triton.url),
        swinunet.segment(nibabel.Nifti1Image(study.voxels, ras), url=small_triton.url),
        swinunet.segment(as_simpleitk(study), url=small_triton.url),
        swinunet.segment(study.voxels, affine=ras, url=small_triton.url),
    ]
    first = found[0]
    assert set(np.unique(first.mask)) == {0, 1, 2}
    for each in found:
        np.testing.assert_array_equal(each.mask, first.mask)
        np.testing.assert_allclose(each.affine, ras, atol=1e-4)
        assert each.volumes_ml == pytest.approx({"Above 0.5": (first.mask == 1).sum() * 0.0015,
                                                 "Above 1.5": (first.mask == 2).sum() * 0.0015})  # fmt: skip
    mask, image = first.to_simpleitk(), as_simpleitk(study)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask).transpose(2, 1, 0), first.mask)
    for at in ((0, 0, 0), (3, 4, 5)):
        there = image.TransformIndexToPhysicalPoint(at)
        assert mask.TransformIndexToPhysicalPoint(at) == pytest.approx(there, abs=1e-3)
    np.testing.assert_array_equal(np.asanyarray(first.to_nibabel().dataobj), first.mask)


def test_a_notebook_shows_the_picture_and_the_volumes(small_triton: TritonServer, study: Volume) -> None:
    found = swinunet.segment(study.voxels, affine=LPS_TO_RAS @ study.affine, url=small_triton.url)
    page = found._repr_html_()
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    for row, label in zip(found.table(), SMALL_SPEC.labels, strict=True):
        assert str(row["structure"]).lower() == label.name
        assert f"<td>{row['volume_ml']:.2f}</td>" in page
        assert "touches" in str(row["flags"])


@pytest.mark.parametrize(
    ("image", "affine", "says"),
    [
        (np.zeros((4, 4, 4)), None, "expected an affine"),
        (np.zeros((4, 4, 4)), np.eye(3), "expected 4 x 4"),
        (np.zeros((4, 4)), np.eye(4), "three axes"),
        (SimpleITK.Image(4, 4, SimpleITK.sitkUInt8), None, "2 dimensions"),
        (nibabel.Nifti1Image(np.zeros((4, 4, 4)), None), None, "no affine"),
    ],
)
def test_what_has_no_place_is_refused(image: object, affine: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        volume_of(image, affine)


def test_a_path_that_is_not_there_is_refused_before_a_server_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        swinunet.segment(tmp_path / "nothing")
