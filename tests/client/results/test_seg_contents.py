"""What DICOM SEG and SR say beside the mask, and the word for each difference that is found on reading back."""

from __future__ import annotations

import dataclasses
import hashlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from result_samples import LABELS, SEGMENTS, SPEC, blobs, classic_series, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.dicom_sr_writer import write_sr
from swinunet.client.results.quality import judge_quality
from swinunet.client.results.seg_frames import MaskFrames
from swinunet.client.results.seg_readback import verify_seg
from swinunet.client.segments import make_segments, measure
from swinunet.foundation.errors import OutputError

SHAPE = (12, 10, 6)


def series() -> list[Dataset]:
    return classic_series("oblique", SHAPE, (0.9, 0.8, 1.2))


def seg_of(path: Path, mask: np.ndarray, headers: list[Dataset], **said: str) -> pydicom.Dataset:
    source = SourceImages.of_slices(headers)
    description = {"series_description": "Hippocampus (AI)", **said}
    write_seg(path, mask, SEGMENTS, source, identity_of(source), **description)  # type: ignore[arg-type]
    return pydicom.dcmread(path)


def test_a_seg_says_who_made_it_and_what_it_is_called(tmp_path: Path) -> None:
    seg = seg_of(tmp_path / "seg.dcm", blobs(SHAPE, 1), series(), series_description="x" * 70)
    assert (seg.SeriesNumber, seg.InstanceNumber) == (1004, 1)
    assert (seg.Manufacturer, seg.ManufacturerModelName) == ("Swin-UNet project", "swinunet")
    assert seg.SoftwareVersions == version("swinunet")
    assert seg.DeviceSerialNumber == "5e" * 8
    assert (seg.ContentLabel, seg.ContentDescription) == ("HIPPOCAMPUS", "Model hippocampus, version 3")
    assert seg.SeriesDescription == "x" * 64
    assert (seg.Rows, seg.Columns) == (10, 12)
    item = seg.SegmentSequence[1]
    assert (item.SegmentNumber, item.SegmentAlgorithmType) == (2, "AUTOMATIC")
    assert item.TrackingID == "hippocampus: Left posterior hippocampus"
    assert item.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    assert algorithm.AlgorithmSource == "Swin-UNet project"
    organizations = [each.DimensionOrganizationUID for each in seg.DimensionOrganizationSequence]
    assert {each.DimensionOrganizationUID for each in seg.DimensionIndexSequence} == set(organizations)


def test_long_names_are_cut_to_what_dicom_allows(tmp_path: Path) -> None:
    """PS3.5 6.2: 16 characters of a Code String, 64 of a Long String or a label."""
    headers, mask, path = series(), blobs(SHAPE, 1, values=1), tmp_path / "seg.dcm"
    source, name = SourceImages.of_slices(headers), "Liver-2_" * 8
    identity = dataclasses.replace(identity_of(source), spec=dataclasses.replace(SPEC, name=name))
    segments = make_segments([dataclasses.replace(LABELS[0], name="l" * 70)])
    write_seg(path, mask, segments, source, identity, series_description="")
    seg = pydicom.dcmread(path)
    assert seg.ContentLabel == "LIVER_2_LIVER_2"
    assert seg.ContentDescription == f"Model {name}"[:64]
    (segment,) = seg.SegmentSequence
    assert segment.SegmentLabel == "L" + "l" * 63
    assert segment.TrackingID == name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("liver_tumor_seg_v2", "LIVER_TUMOR_SEG"),
        ("3d-heart", "M3D_HEART"),
        ("_x", "M_X"),
        ("---", "M"),
        ("sixteen_letters_x", "SIXTEEN_LETTERS"),
        ("sixteen_letter16", "SIXTEEN_LETTER16"),
    ],
)
def test_whatever_a_model_is_called_its_seg_can_be_made(tmp_path: Path, name: str, code: str) -> None:
    """highdicom takes no code that begins with a digit or ends with an underscore."""
    source, path = SourceImages.of_slices(series()), tmp_path / "seg.dcm"
    identity = dataclasses.replace(identity_of(source), spec=dataclasses.replace(SPEC, name=name))
    write_seg(path, blobs(SHAPE, 1), SEGMENTS, source, identity, series_description="")
    assert pydicom.dcmread(path).ContentLabel == code


def test_nothing_found_lies_on_the_middle_slices(tmp_path: Path) -> None:
    """On two of them, so that a reader can tell how far slices lie apart."""
    headers = series()
    seg = seg_of(tmp_path / "seg.dcm", np.zeros(SHAPE, np.uint8), headers)
    groups = [frame.PlanePositionSequence[0] for frame in seg.PerFrameFunctionalGroupsSequence]
    at_mm = [[float(value) for value in group.ImagePositionPatient] for group in groups]
    middle = [[float(value) for value in header.ImagePositionPatient] for header in headers[2:5]]
    nearest = [min(middle, key=lambda place: np.abs(np.subtract(place, each)).max()) for each in at_mm]
    np.testing.assert_allclose(at_mm, nearest, atol=1e-6)
    assert middle[1] in nearest
    assert len({tuple(place) for place in nearest}) == 2


def test_a_source_without_a_series_number_counts_as_zero(tmp_path: Path) -> None:
    headers = series()
    for header in headers:
        del header.SeriesNumber
    assert seg_of(tmp_path / "seg.dcm", blobs(SHAPE, 1), headers).SeriesNumber == 1000


def test_segments_of_a_seg_are_numbered_without_a_gap() -> None:
    source = SourceImages.of_slices(series())
    for segments in (SEGMENTS[1:], (SEGMENTS[0], SEGMENTS[2]), SEGMENTS[::-1]):
        with pytest.raises(OutputError, match="segment numbers must run from 1 upwards without a gap"):
            MaskFrames(np.zeros(SHAPE, np.uint8), segments, source)


def test_frames_are_cut_and_counted_by_segment() -> None:
    mask, source = blobs(SHAPE, 3), SourceImages.of_slices(series())
    frames = MaskFrames(mask, SEGMENTS, source)
    assert frames.shape == (10, 12)
    assert frames.voxels.shape == (6, 4)
    outline = frames.outline()
    assert (outline.shape, outline.dtype) == ((6, 1, 8), np.uint8)
    assert not outline[:, :, 4:].any()
    for k in range(6):
        np.testing.assert_array_equal(frames.frame((k, None)), mask[:, :, k].T)
        for number in range(1, 5):
            inside = number == mask[:, :, k].T
            np.testing.assert_array_equal(frames.frame((k, number)), inside)
            assert frames.voxels[k, number - 1] == inside.sum()
            assert outline[k, 0, number - 1] == (number if inside.any() else 0)
    assert frames.digest() == hashlib.sha256(mask.transpose(2, 1, 0).tobytes()).hexdigest()


def rows(seg: Dataset) -> None:
    seg.Rows, seg.Columns = 12, 10


def segments(seg: Dataset) -> None:
    del seg.SegmentSequence[3]


def label(seg: Dataset) -> None:
    seg.SegmentSequence[1].SegmentLabel = "Liver"


def spacing(seg: Dataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.8, 0.90001]


def orientation(seg: Dataset) -> None:
    plane = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [-value for value in plane.ImageOrientationPatient]


def moved(seg: Dataset) -> None:
    plane = seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    x, y, z = map(float, plane.ImagePositionPatient)
    plane.ImagePositionPatient = [x - 0.0002, y, z]


def elsewhere(seg: Dataset) -> None:
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def twice(seg: Dataset) -> None:
    first, second = seg.PerFrameFunctionalGroupsSequence[:2]
    for name in ("DerivationImageSequence", "PlanePositionSequence", "SegmentIdentificationSequence"):
        setattr(second, name, getattr(first, name))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (rows, "found 12 rows and 10 columns, expected (10, 12)"),
        (segments, "found 3 segments, expected 4"),
        (label, "segment 2 is not 'Left posterior hippocampus' with codes ['5366008', '7771000', '255551008']"),
        (orientation, "its orientation is not the source's"),
        (spacing, "its pixel spacing is not the source's"),
        (moved, "a frame lies 0.0002 mm from its source image"),
        (elsewhere, "a frame refers to an image that is not in the source series"),
        (twice, "two frames are of one slice and segment"),
    ],
)
def test_what_differs_in_a_seg_is_named(tmp_path: Path, change, says: str) -> None:
    headers, mask, path = series(), blobs(SHAPE, 6), tmp_path / "seg.dcm"
    seg, source = seg_of(path, mask, headers), SourceImages.of_slices(headers)
    change(seg)
    seg.save_as(path)
    with pytest.raises(OutputError) as caught:
        verify_seg(path, MaskFrames(mask, SEGMENTS, source), source, "other.dcm")
    assert str(caught.value) == (f"other.dcm: the DICOM SEG does not read back as the mask: {says}; do not use it")


@pytest.mark.parametrize(
    ("spacing_mm", "tilt", "says"),
    [
        ("0.9000001", 0.0, None),
        ("0.900002", 0.0, "its pixel spacing is not the source's"),
        ("0.9", 0.000005, None),
        ("0.9", 0.00002, "its orientation is not the source's"),
        ("0.9", 0.5, "its orientation is not the source's"),
    ],
)
def test_spacing_and_orientation_may_differ_by_rounding_alone(
    tmp_path: Path, spacing_mm: str, tilt: float, says: str | None
) -> None:
    headers, mask, path = series(), blobs(SHAPE, 6), tmp_path / "seg.dcm"
    for k, header in enumerate(headers):
        header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, 1.2 * k], [1, 0, 0, 0, 1, 0]
    seg, source = seg_of(path, mask, headers), SourceImages.of_slices(headers)
    shared = seg.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = ["0.8", spacing_mm]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, tilt, 0, 1, 0]
    seg.save_as(path)
    if says is None:
        verify_seg(path, MaskFrames(mask, SEGMENTS, source), source)
    else:
        with pytest.raises(OutputError, match=says):
            verify_seg(path, MaskFrames(mask, SEGMENTS, source), source)


def test_a_position_may_be_a_ten_thousandth_of_a_mm_off_and_no_more(tmp_path: Path) -> None:
    headers, mask, path = series(), blobs(SHAPE, 6), tmp_path / "seg.dcm"
    for k, header in enumerate(headers):
        header.ImagePositionPatient = [0, 0, 1.2 * k]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    seg, source = seg_of(path, mask, headers), SourceImages.of_slices(headers)
    for x_mm, says in (("0.0001", None), ("-0.0001", None), ("0.00011", "a frame lies 0.0001 mm from its source")):
        for frame in seg.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient[0] = x_mm
        seg.save_as(path)
        if says is None:
            verify_seg(path, MaskFrames(mask, SEGMENTS, source), source)
        else:
            with pytest.raises(OutputError, match=says):
                verify_seg(path, MaskFrames(mask, SEGMENTS, source), source)


def test_a_frame_that_is_missing_counts_its_voxels(tmp_path: Path) -> None:
    headers, mask, path = series(), np.zeros(SHAPE, np.uint8), tmp_path / "seg.dcm"
    mask[:3, 0, 1], mask[5, 5, 2] = 1, 2
    seg_of(path, mask, headers)
    meant = mask.copy()
    meant[:7, 0, 4] = 3
    source = SourceImages.of_slices(headers)
    with pytest.raises(OutputError, match=r"seg\.dcm: .*: 7 voxels differ; do not use it"):
        verify_seg(path, MaskFrames(meant, SEGMENTS, source), source)


def test_an_sr_says_who_made_it_and_of_which_series(tmp_path: Path) -> None:
    headers, mask = series(), blobs(SHAPE, 2)
    source = SourceImages.of_slices(headers)
    identity, measurements = identity_of(source, restore="labels"), measure(mask, SEGMENTS, 0.0012345)
    qualities = judge_quality(mask, measurements, [])
    seg = write_seg(tmp_path / "seg.dcm", mask, SEGMENTS, source, identity, series_description="SEG")
    write_sr(tmp_path / "sr.dcm", measurements, qualities, seg, source, identity, series_description="y" * 70)
    sr = pydicom.dcmread(tmp_path / "sr.dcm")
    assert (sr.SeriesNumber, sr.InstanceNumber, sr.SeriesDescription) == (1005, 1, "y" * 64)
    assert (sr.Manufacturer, sr.ManufacturerModelName) == ("Swin-UNet project", "swinunet")
    assert (sr.SoftwareVersions, sr.DeviceSerialNumber) == (version("swinunet"), "5e" * 8)
    assert (sr.CompletionFlag, sr.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert sr.StudyInstanceUID == headers[0].StudyInstanceUID
    schemes = {each.CodingSchemeDesignator: each for each in sr.CodingSchemeIdentificationSequence}
    private = schemes["99SWINUNET"]
    assert private.CodingSchemeName == "swinunet quality flags"
    assert private.CodingSchemeResponsibleOrganization == "Swin-UNet project"
    text = sr.to_json()
    assert str(headers[0].SeriesInstanceUID) in text
    numbers = [f"{round(each.volume_ml, 4)}" for each in measurements]
    assert all(f'"{number}"' in text or number in text for number in numbers)
