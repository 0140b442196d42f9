"""Real values of images that have no rescale attributes, but a real world value mapping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_enhanced, make_series, read, save, verdict_of
from pydicom.dataset import Dataset

from swinunet.client.dicom import VerdictKind

STORED = np.arange(60, dtype=np.uint16).reshape(5, 4, 3)


def mapping(slope: float | None, intercept: float, ends: tuple[int, int] = (0, 65535)) -> Dataset:
    item = Dataset()
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = ends
    if slope is None:
        item.RealWorldValueLUTData = [1.0, 4.0, 9.0]
    else:
        item.RealWorldValueSlope, item.RealWorldValueIntercept = float(slope), float(intercept)
    return item


def test_each_slice_has_its_own_mapping(tmp_path: Path) -> None:
    slices = make_series(STORED)
    for k, ds in enumerate(slices):
        ds.RealWorldValueMappingSequence = [mapping(0.5 * (k + 1), 10 * k)]
    expected = np.stack([STORED[k] * 0.5 * (k + 1) + 10 * k for k in range(5)])
    np.testing.assert_allclose(read(save(tmp_path, slices)).volume.voxels, expected.transpose(2, 1, 0))


@pytest.mark.parametrize("place", ["frame", "shared", "top"])
def test_mappings_of_multi_frame_images(place: str, tmp_path: Path) -> None:
    ds = make_enhanced([2, 0, 1])
    for at, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        del group.PixelValueTransformationSequence
        if place == "frame":
            group.RealWorldValueMappingSequence = [mapping(3, 100 * [2, 0, 1][at])]
    if place != "frame":
        target = ds if place == "top" else ds.SharedFunctionalGroupsSequence[0]
        target.RealWorldValueMappingSequence = [mapping(3, 0)]
    voxels = read(save(tmp_path, [ds])).volume.voxels
    for k in range(3):
        expected = 3 * (10 * k + np.arange(3)) + (100 * k if place == "frame" else 0)
        np.testing.assert_array_equal(voxels[:, 0, k], expected)


@pytest.mark.parametrize("rescaled", [{"RescaleSlope": "2", "RescaleIntercept": "1"}, {"RescaleIntercept": "1"}])
def test_a_rescale_comes_first(rescaled: dict[str, str], tmp_path: Path) -> None:
    save(tmp_path, make_series(STORED, RealWorldValueMappingSequence=[mapping(7, 7)], **rescaled))
    expected = STORED * int(rescaled.get("RescaleSlope", 1)) + 1
    np.testing.assert_array_equal(read(tmp_path).volume.voxels, expected.transpose(2, 1, 0))


def test_the_first_of_several_units_counts(tmp_path: Path) -> None:
    save(tmp_path, make_series(STORED, RealWorldValueMappingSequence=[mapping(2, 0), mapping(0.1, 3)]))
    np.testing.assert_array_equal(read(tmp_path).volume.voxels, 2 * STORED.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([mapping(None, 0)], "RealWorldValueLUTData"),
        ([mapping(0, 5)], "its RealWorldValueSlope is 0"),
        ([mapping(1, 0, (0, 9)), mapping(2, 0, (10, 99))], "several slopes, each for a part of its values"),
        ([mapping(float("nan"), 0)], "its RealWorldValueSlope is not 1 finite numbers"),
    ],
)
def test_what_is_no_straight_line_is_refused_by_name(items: list[Dataset], says: str, tmp_path: Path) -> None:
    kind, sentence = verdict_of(save(tmp_path, make_series(STORED, RealWorldValueMappingSequence=items)))
    assert kind is VerdictKind.UNREADABLE
    assert says in sentence
