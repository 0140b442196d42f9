"""A DICOM SEG is the mask that was meant: round trips by three readers, sabotage, references, UIDs, validity."""

from __future__ import annotations

import shutil
import subprocess
from copy import deepcopy
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, generate_uid
from result_samples import (
    LABELS,
    ORIENTATIONS,
    SEGMENTS,
    SPEC,
    affine_of,
    blobs,
    classic_series,
    enhanced,
    identity_of,
    mask_by_position,
)

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.options import SegType
from swinunet.client.results.seg_frames import MaskFrames
from swinunet.client.results.seg_readback import verify_seg
from swinunet.client.segments import make_segments
from swinunet.foundation.errors import OutputError

SEG_TYPES = ("binary", "labelmap")


def write(path: Path, mask: np.ndarray, source: SourceImages, seg_type: SegType = "binary", **settings: str) -> Path:
    identity = identity_of(source, **settings)
    write_seg(path, mask, SEGMENTS, source, identity, series_description="Hippocampus (AI)", seg_type=seg_type)
    return path


@pytest.fixture
def headers() -> list[Dataset]:
    return classic_series("sagittal", (12, 10, 6), (0.9, 0.9, 1.2))


@pytest.mark.parametrize("seg_type", SEG_TYPES)
@pytest.mark.parametrize("plane", ORIENTATIONS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(3, 13), st.integers(3, 13), st.integers(1, 7)),
    spacing_mm=st.tuples(*[st.floats(0.3, 6)] * 3),
)
def test_seg_reads_back_as_the_mask(
    tmp_path: Path,
    plane: str,
    seg_type: SegType,
    seed: int,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> None:
    headers, mask = classic_series(plane, shape, spacing_mm), blobs(shape, seed)
    before = [deepcopy(header) for header in headers]
    path = write(tmp_path / "seg.dcm", mask, SourceImages.of_slices(headers), seg_type)
    assert headers == before, "writing changed the source's headers"
    assert np.array_equal(mask_by_position(path, affine_of(headers), shape), mask)
    seg = hd.seg.segread(path)
    uids = [header.SOPInstanceUID for header in headers]
    found = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(found.transpose(2, 1, 0), mask)


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_pixel_data_that_would_be_odd_are_padded(tmp_path: Path, seg_type: SegType) -> None:
    """PS3.5 7.1.1; a PACS refuses another length. One frame of 3 x 7 pixels is 3 bytes, or 21 as a label map."""
    mask = np.zeros((3, 7, 3), np.uint8)
    mask[1, 2, 1] = 1
    path = write(
        tmp_path / "seg.dcm", mask, SourceImages.of_slices(classic_series("axial", mask.shape, (1, 1, 1))), seg_type
    )
    content = path.read_bytes()
    begin = content.rindex(b"\xe0\x7f\x10\x00OB\x00\x00") + 12
    length = int.from_bytes(content[begin - 4 : begin], "little")
    assert length == len(content) - begin == (4 if seg_type == "binary" else 22)


def test_positions_equal_the_source(tmp_path: Path) -> None:
    headers = classic_series("oblique", (6, 7, 9), (0.7, 0.7, 2.5))
    seg = pydicom.dcmread(write(tmp_path / "seg.dcm", blobs((6, 7, 9), 1), SourceImages.of_slices(headers)))
    by_uid = {header.SOPInstanceUID: header for header in headers}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = by_uid[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        at_mm = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.abs(at_mm - np.array(source.ImagePositionPatient, float)).max() < 1e-4
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == headers[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == set(by_uid)


@pytest.mark.parametrize(("seg_type", "frames"), [("binary", 3), ("labelmap", 2)])
def test_only_slices_with_something_in_them(
    tmp_path: Path, headers: list[Dataset], seg_type: SegType, frames: int
) -> None:
    mask = np.zeros((12, 10, 6), np.uint8)
    mask[2, 3, 1], mask[4:6, 3, 4], mask[7, 7, 4] = 1, 1, 4
    seg = pydicom.dcmread(write(tmp_path / "seg.dcm", mask, SourceImages.of_slices(headers), seg_type))
    assert seg.NumberOfFrames == frames


def test_simpleitk_reads_the_frames(tmp_path: Path, headers: list[Dataset]) -> None:
    """Binary only: GDCM, in SimpleITK 2.5, does not know the SOP class of label maps."""
    mask = blobs((12, 10, 6), 11)
    path = write(tmp_path / "seg.dcm", mask, SourceImages.of_slices(headers))
    pixels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    slice_of = {header.SOPInstanceUID: k for k, header in enumerate(headers)}
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    assert len(pixels) == len(frames)
    for found, frame in zip(pixels, frames, strict=True):
        k = slice_of[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert np.array_equal(found > 0, number == mask[:, :, k].T)


@pytest.mark.parametrize("plane", ORIENTATIONS)
@pytest.mark.parametrize(
    ("slices", "where"), [(1, 0), (2, 1), (6, 0), (6, 5), (6, None)], ids=["only", "last of 2", "first", "last", "none"]
)
def test_several_segments_in_one_plane_can_be_read(tmp_path: Path, plane: str, slices: int, where: int | None) -> None:
    """ITK takes the distance of frames for their spacing and refuses one of 0."""
    headers, mask = classic_series(plane, (12, 10, slices), (0.9, 0.8, 1.2)), np.zeros((12, 10, slices), np.uint8)
    if where is not None:
        mask[2:5, 3:8, where], mask[6:9, 3:8, where] = 1, 4
    source = SourceImages.of_slices(headers)
    path = write(tmp_path / "seg.dcm", mask, source)
    image = SimpleITK.ReadImage(str(path))
    read = SimpleITK.GetArrayFromImage(image)
    assert image.GetSpacing() == pytest.approx((0.9, 0.8, 1.0 if slices == 1 else 1.2))  # one slice states no distance
    assert np.count_nonzero(read) == np.count_nonzero(mask)
    assert np.array_equal(mask_by_position(path, affine_of(headers), mask.shape), mask)
    uids = [header.SOPInstanceUID for header in headers]
    found = hd.seg.segread(path).get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(found.transpose(2, 1, 0), mask)


def test_codes_say_side_and_part(tmp_path: Path, headers: list[Dataset]) -> None:
    seg = pydicom.dcmread(write(tmp_path / "seg.dcm", blobs((12, 10, 6), 2), SourceImages.of_slices(headers)))
    assert [item.SegmentLabel for item in seg.SegmentSequence] == [
        "Left anterior hippocampus", "Left posterior hippocampus",
        "Right anterior hippocampus", "Right posterior hippocampus",
    ]  # fmt: skip
    modifiers = []
    for item in seg.SegmentSequence:
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("5366008", "SCT")
        modifiers.append([code.CodeValue for code in kind.SegmentedPropertyTypeModifierCodeSequence])
    left, right, anterior, posterior = "7771000", "24028007", "255549009", "255551008"
    assert modifiers == [[left, anterior], [left, posterior], [right, anterior], [right, posterior]]
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("hippocampus", "3")
    assert SPEC.provenance.checkpoint_sha256 in algorithm.AlgorithmParameters
    assert (seg.SeriesDescription, seg.Modality, seg.SegmentationType) == ("Hippocampus (AI)", "SEG", "BINARY")
    assert seg.PatientName == headers[0].PatientName


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]])
def test_enhanced_multi_frame_source(tmp_path: Path, headers: list[Dataset], order: list[int]) -> None:
    source, mask = enhanced(headers, order), blobs((12, 10, 6), 3)
    path = write(tmp_path / "seg.dcm", mask, source)
    assert np.array_equal(mask_by_position(path, affine_of(headers), mask.shape), mask)
    seg = hd.seg.segread(path)
    uid, numbers = source.references[0][0], [number for _, number in source.references]
    found = seg.get_pixels_by_source_frame(uid, numbers, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(found.transpose(2, 1, 0), mask)
    assert [item.ReferencedSOPInstanceUID for item in seg.SourceImageSequence] == [uid]
    assert seg.SourceImageSequence[0].ReferencedSOPClassUID == EnhancedMRImageStorage


def test_one_class_without_a_side(tmp_path: Path, headers: list[Dataset]) -> None:
    segments = make_segments(LABELS[:1])
    mask = blobs((12, 10, 6), 4, values=1)
    path = tmp_path / "seg.dcm"
    source = SourceImages.of_slices(headers)
    write_seg(path, mask, segments, source, identity_of(source), series_description="")
    verify_seg(path, MaskFrames(mask, segments, source), source)
    assert pydicom.dcmread(path).SegmentSequence[0].SegmentLabel == "Anterior hippocampus"


def test_empty_mask_is_a_result(tmp_path: Path, headers: list[Dataset]) -> None:
    source = SourceImages.of_slices(headers)
    path = write(tmp_path / "seg.dcm", np.zeros((12, 10, 6), np.uint8), source)
    seg = pydicom.dcmread(path)
    assert seg.NumberOfFrames == 2 * len(SEGMENTS), "two planes, for readers that take their distance for the spacing"
    assert not seg.pixel_array.any()
    assert len(seg.SourceImageSequence) == 6


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_the_same_job_gives_the_same_bytes(tmp_path: Path, headers: list[Dataset], seg_type: SegType) -> None:
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 5)
    one, two = (write(tmp_path / name, mask, source, seg_type) for name in ("a.dcm", "b.dcm"))
    assert one.read_bytes() == two.read_bytes()


def test_uids_follow_from_job_and_content(tmp_path: Path, headers: list[Dataset]) -> None:
    """Another mask is another instance of one series; other settings are another series; both keep their own UIDs."""
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 5)
    job = pydicom.dcmread(write(tmp_path / "a.dcm", mask, source))
    mask[0, 0, 0] ^= 1
    changed = pydicom.dcmread(write(tmp_path / "b.dcm", mask, source))
    other = pydicom.dcmread(write(tmp_path / "c.dcm", mask, source, restore="probabilities"))
    assert job.SeriesInstanceUID == changed.SeriesInstanceUID != other.SeriesInstanceUID
    assert len({seg.SOPInstanceUID for seg in (job, changed, other)}) == 3
    tracked = [[item.TrackingUID for item in seg.SegmentSequence] for seg in (job, changed, other)]
    assert tracked[0] == tracked[1] != tracked[2]
    assert len(set(tracked[0])) == len(SEGMENTS)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({"StudyDate": "20240102", "StudyTime": "101112.5"}, ("20240102", "101112.5")),
        ({"StudyDate": "20240102", "SeriesDate": "20240103"}, ("20240103", "000000")),
        ({"StudyDate": "2024.01.02"}, ("19000101", "000000")),
        ({"StudyDate": "20240231"}, ("19000101", "000000")),
        ({}, ("19000101", "000000")),
    ],
)
def test_dates_are_the_sources(
    tmp_path: Path, headers: list[Dataset], dates: dict[str, str], expected: tuple[str, str]
) -> None:
    for keyword, value in dates.items():
        headers[0].add(DataElement(tag_for_keyword(keyword), "LO", value))
    seg = pydicom.dcmread(write(tmp_path / "seg.dcm", blobs((12, 10, 6), 1), SourceImages.of_slices(headers)))
    assert (seg.ContentDate, seg.ContentTime) == expected


@pytest.mark.parametrize(
    ("slices", "stated_mm", "expected_mm"), [(6, 2.5, 2.5), (6, None, 1.2), (6, 0, 1.2), (1, None, 1.0), (1, 3, 3.0)]
)
@pytest.mark.parametrize("plane", ["axial", "oblique"])
def test_slice_thickness(tmp_path: Path, plane: str, slices: int, stated_mm: float | None, expected_mm: float) -> None:
    """The source's; where it states none, the distance between its slices, here 1.2 mm, and 1 mm for a single one."""
    headers = classic_series(plane, (12, 10, slices), (0.9, 0.8, 1.2))
    for header in headers if stated_mm is not None else ():
        header.SliceThickness = stated_mm
    mask = np.ones((12, 10, slices), np.uint8)
    seg = pydicom.dcmread(write(tmp_path / "seg.dcm", mask, SourceImages.of_slices(headers)))
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == pytest.approx(expected_mm, abs=1e-6)
    assert [float(value) for value in measures.PixelSpacing] == [0.8, 0.9]


def _flip_a_voxel(seg: Dataset) -> None:
    data = bytearray(seg.PixelData)
    data[3] ^= 4
    seg.PixelData = bytes(data)


def _move_a_frame(seg: Dataset) -> None:
    position = seg.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
    x, y, z = position.ImagePositionPatient
    position.ImagePositionPatient = [x, y, float(z) + 0.001]


def _swap_sides(seg: Dataset) -> None:
    left, right = (seg.SegmentSequence[index].SegmentedPropertyTypeCodeSequence[0] for index in (0, 2))
    modifier = "SegmentedPropertyTypeModifierCodeSequence"
    left[modifier].value, right[modifier].value = right[modifier].value, left[modifier].value


def _refer_elsewhere(seg: Dataset) -> None:
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = generate_uid()


def _swap_segments(seg: Dataset) -> None:
    for frame in seg.PerFrameFunctionalGroupsSequence:
        identification = frame.SegmentIdentificationSequence[0]
        identification.ReferencedSegmentNumber = 5 - identification.ReferencedSegmentNumber


def _mirror(seg: Dataset) -> None:
    group = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    group.ImageOrientationPatient = [-value for value in group.ImageOrientationPatient[:3]] + list(
        group.ImageOrientationPatient[3:]
    )


def _drop_a_frame(seg: Dataset) -> None:
    del seg.PerFrameFunctionalGroupsSequence[-1]


@pytest.mark.parametrize(
    "sabotage",
    [_flip_a_voxel, _move_a_frame, _swap_sides, _refer_elsewhere, _swap_segments, _mirror, _drop_a_frame],
)
def test_altered_seg_is_found_out(tmp_path: Path, headers: list[Dataset], sabotage) -> None:
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 6)
    path = write(tmp_path / "seg.dcm", mask, source)
    seg = pydicom.dcmread(path)
    sabotage(seg)
    seg.save_as(path)
    with pytest.raises(OutputError, match=r"seg\.dcm: the DICOM SEG does not read back") as caught:
        verify_seg(path, MaskFrames(mask, SEGMENTS, source), source)
    assert "Mustermann" not in str(caught.value)


def test_truncated_seg_is_found_out(tmp_path: Path, headers: list[Dataset]) -> None:
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 7)
    path = write(tmp_path / "seg.dcm", mask, source)
    whole = path.read_bytes()
    for length in (len(whole) - 20, len(whole) // 2, 200, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(OutputError, match="does not read back"):
            verify_seg(path, MaskFrames(mask, SEGMENTS, source), source)


def test_nothing_appears_when_verification_fails(
    tmp_path: Path, headers: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_as = hd.seg.Segmentation.save_as

    def save_another(seg: Dataset, path: Path) -> None:
        save_as(seg, path)
        saved = pydicom.dcmread(path)
        _flip_a_voxel(saved)
        saved.save_as(path)

    monkeypatch.setattr(hd.seg.Segmentation, "save_as", save_another)
    with pytest.raises(OutputError, match="1 voxels differ"):
        write(tmp_path / "seg.dcm", blobs((12, 10, 6), 8), SourceImages.of_slices(headers))
    assert not list(tmp_path.iterdir())


def test_seg_refusals_are_one_line_without_the_patient(tmp_path: Path, headers: list[Dataset]) -> None:
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 9)
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "missing" / "seg.dcm", mask, source)
    with pytest.raises(OutputError, match=r"the mask has \(12, 10, 5\) voxels, its source images \(12, 10, 6\)"):
        write(tmp_path / "seg.dcm", mask[:, :, :5], source)
    with pytest.raises(OutputError, match="no segment names"):
        write(tmp_path / "seg.dcm", mask + 3, source)
    del headers[3].ImagePositionPatient
    with pytest.raises(OutputError, match="no DICOM SEG can be made") as caught:
        write(tmp_path / "seg.dcm", mask, SourceImages.of_slices(headers))
    assert "Mustermann" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_seg_is_valid_dicom(tmp_path: Path, headers: list[Dataset], seg_type: SegType) -> None:
    """Of label maps, Debian's dciodvfy knows neither the SOP class nor that segment 0 is the background."""
    known = {"binary": (), "labelmap": ("Information Object Not found", "SegmentNumber of 0")}[seg_type]
    one_plane = np.zeros((12, 10, 1), np.uint8)
    one_plane[2:5, 3:8], one_plane[6:9, 3:8] = 1, 4  # its second plane is an empty one, of no source image
    for seed, mask in enumerate((blobs((12, 10, 6), 1), np.zeros((12, 10, 6), np.uint8), one_plane)):
        source = SourceImages.of_slices(headers[: mask.shape[2]])
        path = write(tmp_path / f"{seed}.dcm", mask, source, seg_type)
        verdict = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        errors = [line for line in verdict.splitlines() if "Error" in line]
        assert not [line for line in errors if not line.endswith(known)]
