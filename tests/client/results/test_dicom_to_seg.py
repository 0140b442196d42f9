"""From files to results: the mask lies where each source slice lies, however the patient lay and the stack leans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_series import decimal, make_series, save, shuffled
from pydicom.dataset import Dataset
from result_samples import LABELS, SPEC

from swinunet.client.dicom import DicomVolume, read_volume, scan_folder, select_series
from swinunet.client.inputs import LoadedInput
from swinunet.client.results.formats import FILE_NAMES
from swinunet.client.results.options import OutputOptions, SegType
from swinunet.client.results.outputs import write_outputs
from swinunet.client.results.report import read_report
from swinunet.client.results.result import Result
from swinunet.client.segmentation import Segmentation
from swinunet.client.segments import make_segments, measure
from swinunet.client.triton import Exchange

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
COUNT, STEP_MM = 7, 2.5
SEGMENTS = make_segments(LABELS)

# Patient Position (PS3.3 C.7.3.1.1.2), direction cosines of rows and columns, and the side to which slices follow.
LYING: dict[str, tuple[str, tuple[float, ...], int]] = {
    "head first, supine": ("HFS", (1, 0, 0, 0, 1, 0), 1),
    "head first, prone": ("HFP", (-1, 0, 0, 0, -1, 0), 1),
    "feet first, supine": ("FFS", (1, 0, 0, 0, 1, 0), -1),
    "feet first, prone": ("FFP", (-1, 0, 0, 0, -1, 0), -1),
    "on the left side": ("HFDL", (0, -1, 0, 1, 0, 0), 1),
    "on the right side": ("FFDR", (0, 1, 0, -1, 0, 0), -1),
    "rows mirrored": ("HFS", (-1, 0, 0, 0, 1, 0), 1),
    "sagittal, from the right": ("HFS", (0, 1, 0, 0, 0, -1), -1),
    "oblique": ("HFS", (0.8, 0.6, 0, -0.36, 0.48, 0.8), -1),
}
STACKS = {"plain": [], "tilted": ["tilted"], "gap": ["gap"], "tilted gap": ["tilted", "gap"]}


def scanned(lying: str, stack: str) -> list[Dataset]:
    """The slices of a stack: `tilted` leans 12 degrees along the columns, `gap` lacks slices 3 and 4 of 7."""
    patient_position, cosines, side = LYING[lying]
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    step = side * np.cross(row, column) + ("tilted" in stack) * np.tan(np.radians(12)) * column
    slices = make_series(
        np.random.default_rng(0).integers(0, 4000, (COUNT, 6, 5), np.uint16),
        orientation=cosines,
        step_mm=STEP_MM * step,
        PatientPosition=patient_position,
    )
    return slices[:3] + slices[5:] if "gap" in stack else slices


def segmented(folder: Path, slices: Sequence[Dataset], stack: str, seg_type: SegType) -> tuple[DicomVolume, np.ndarray]:
    """Write the files, read them, and write the results of a made-up mask, which is returned, into `folder`."""
    series = select_series(scan_folder(save(folder / "in", shuffled(list(slices), seed=4))), allow=STACKS[stack])
    dicom = read_volume(series, STACKS[stack])
    mask = np.random.default_rng(1).integers(0, 3, dicom.volume.shape, np.uint8)
    mask[:, :, 1] = 0
    measurements = measure(mask, SEGMENTS, dicom.volume.voxel_ml, dicom.volume.voxels)
    found = Segmentation(dicom.volume, SPEC, (), mask, SEGMENTS, measurements, None, {}, Exchange(), "")
    options = OutputOptions(("nifti", "seg", "json"), seg_type)
    loaded = LoadedInput(Path("exam"), (dicom.volume,), dicom, 0.0)
    assert not write_outputs(folder, Result(loaded, found, options, "exam")).failed
    return dicom, mask


def assert_frames_lie_on_their_sources(seg: Dataset, mask: np.ndarray, dicom: DicomVolume, by_uid: dict) -> None:
    """By pydicom: each frame's position is its source's, and no frame lies where there was no slice."""
    sources = []
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        at_mm = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(at_mm, np.array(by_uid[source].ImagePositionPatient, float), rtol=0, atol=1e-4)
        sources.append(source)
    shared = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    np.testing.assert_allclose(shared, next(iter(by_uid.values())).ImageOrientationPatient, atol=1e-6)
    filled = {dicom.source.references[k][0] for k in range(mask.shape[2]) if mask[:, :, k].any()}
    assert set(sources) == filled
    assert len(filled) == len(by_uid) - 1


def assert_simpleitk_reads(path: Path, expected: dict[str, np.ndarray]) -> None:
    """By GDCM's pixels and pydicom's references: each frame holds its segment of its source slice."""
    pixels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    for found, frame in zip(pixels, pydicom.dcmread(path).PerFrameFunctionalGroupsSequence, strict=True):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.testing.assert_array_equal(found > 0, expected[source] == number)


CASES = [(lying, stack, "binary") for lying in LYING for stack in STACKS] + [
    ("feet first, prone", stack, "labelmap") for stack in STACKS
]


@pytest.mark.parametrize(("lying", "stack", "seg_type"), CASES)
def test_the_mask_lies_on_its_source_slices(lying: str, stack: str, seg_type: SegType, tmp_path: Path) -> None:
    slices = scanned(lying, stack)
    dicom, mask = segmented(tmp_path, slices, stack, seg_type)
    path, by_uid = tmp_path / FILE_NAMES["seg"], {ds.SOPInstanceUID: ds for ds in slices}
    expected = {dicom.source.references[k][0]: mask[:, :, k].T for k in range(len(slices))}
    assert set(expected) == set(by_uid)
    for k, uid in enumerate(expected):
        stored = np.frombuffer(by_uid[uid].PixelData, np.uint16).reshape(6, 5)
        np.testing.assert_array_equal(dicom.volume.voxels[:, :, k], stored.T)
    seg = hd.seg.segread(path)
    assert_frames_lie_on_their_sources(seg, mask, dicom, by_uid)
    found = seg.get_pixels_by_source_instance(
        list(expected), combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(found, list(expected.values()))
    if seg_type == "binary":  # GDCM, in SimpleITK 2.5, does not know the SOP class of label maps
        assert_simpleitk_reads(path, expected)


@pytest.mark.parametrize(("lying", "stack"), [(lying, stack) for lying in list(LYING)[1:6:2] for stack in STACKS])
def test_the_nifti_has_the_stacks_own_affine_and_the_report_says_so(lying: str, stack: str, tmp_path: Path) -> None:
    slices = scanned(lying, stack)
    dicom, mask = segmented(tmp_path, slices, stack, "binary")
    image = nib.load(tmp_path / FILE_NAMES["nifti"])
    np.testing.assert_array_equal(np.asarray(image.dataobj), mask)
    by_uid = {ds.SOPInstanceUID: np.array(ds.ImagePositionPatient, float) for ds in slices}
    corners = [(_RAS_LPS @ image.affine @ [0, 0, k, 1])[:3] for k in range(len(slices))]
    away_mm = [np.abs(corner - by_uid[dicom.source.references[k][0]]).max() for k, corner in enumerate(corners)]
    assert max(away_mm) < (STEP_MM * 1.1 if "gap" in stack else 1e-4)
    assert int(image.header["qform_code"]) == ("tilted" not in stack)
    verdict = read_report(tmp_path / FILE_NAMES["json"]).input.verdict
    said = [
        "the stack leans 12.0 degrees" if "tilted" in stack else "",
        "but 7.5 mm between slices " if "gap" in stack else "",
        "of 5 (about 2 missing)" if "gap" in stack else "",
        "--allow gap places slices up to 2.5 mm beside where they lie" if "gap" in stack else "",
    ]
    assert (verdict is None) is (stack == "plain")
    assert all(part in (verdict or "") for part in said)


def test_a_gap_is_neither_filled_nor_closed_in_the_seg(tmp_path: Path) -> None:
    """A reader that goes by positions alone finds the gap where it was."""
    slices = scanned("head first, supine", "gap")
    segmented(tmp_path, slices, "gap", "binary")
    frames = pydicom.dcmread(tmp_path / FILE_NAMES["seg"]).PerFrameFunctionalGroupsSequence
    heights = sorted({round(float(frame.PlanePositionSequence[0].ImagePositionPatient[2]), 4) for frame in frames})
    assert heights == [30.0, 35.0, 42.5, 45.0]


def test_positions_are_kept_to_the_last_digit_of_the_source(tmp_path: Path) -> None:
    slices = scanned("oblique", "tilted")
    for ds in slices:
        ds.ImagePositionPatient = decimal(np.array(ds.ImagePositionPatient, float) * 1.0000123 + 1e3)
    dicom, mask = segmented(tmp_path, slices, "tilted", "binary")
    seg = pydicom.dcmread(tmp_path / FILE_NAMES["seg"])
    assert_frames_lie_on_their_sources(seg, mask, dicom, {ds.SOPInstanceUID: ds for ds in slices})
