"""Results are what was meant: SEG round trips and sabotage, the overlay's colours and sides, the report's schema."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, generate_uid

from client.results.overlay import write_overlay
from client.results.report import Box, Input, make_report, read_report, write_report
from client.results.seg import verify_seg, write_seg
from client.results.seg_source import SourceImages
from client.results.segments import make_segments, mask_values, measure
from imaging import Code, Label, ModelSpec, Volume, ZScore
from imaging.spec import Provenance
from swinunet.errors import InputError, OutputError

HIPPOCAMPUS = Code("5366008", "SCT", "Hippocampus")
LABELS = (
    Label(1, "anterior hippocampus", (255, 112, 67), HIPPOCAMPUS, Code("255549009", "SCT", "Anterior")),
    Label(2, "posterior hippocampus", (38, 198, 218), HIPPOCAMPUS, Code("255551008", "SCT", "Posterior")),
)
SPEC = ModelSpec(
    "hippocampus", 3, "MR", "BRAIN", "sagittal", 1, 1.0, (64, 64), (1.0, 1.0), ZScore(), LABELS,
    provenance=Provenance(checkpoint_sha256="5e" * 32),
)  # fmt: skip
SEGMENTS = make_segments(LABELS, ("left", "right"))

_TILT = np.array([[0.98, 0.17, -0.1], [-0.18, 0.97, -0.16], [0.07, 0.17, 0.98]])
ORIENTATIONS = {
    "axial": np.eye(3)[:2],
    "sagittal": np.array([[0, 1, 0], [0, 0, -1]]),
    "coronal": np.array([[1, 0, 0], [0, 0, -1]]),
    "oblique": np.linalg.qr(_TILT)[0].T[:2],
}


def classic_series(plane: str, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> list[Dataset]:
    """Headers of a single-frame MR series [I, J, K] = shape, in the order of k; bare, as anonymisers leave them."""
    rows, columns = ORIENTATIONS[plane]
    normal = np.cross(rows, columns)
    series = generate_uid(entropy_srcs=[plane, str(shape)])
    headers = []
    for k in range(shape[2]):
        header = Dataset()
        header.SOPClassUID, header.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=[series, str(k)])
        header.StudyInstanceUID, header.SeriesInstanceUID = generate_uid(entropy_srcs=["study"]), series
        header.Modality, header.SeriesNumber, header.PatientName = "MR", 4, "Mustermann^Erika"
        header.Columns, header.Rows = shape[0], shape[1]
        header.PixelSpacing = [f"{spacing_mm[1]:.6g}", f"{spacing_mm[0]:.6g}"]
        header.ImageOrientationPatient = [f"{value:.12g}" for value in (*rows, *columns)]
        position = np.array([-81.3, 12.75, 40.1]) + k * spacing_mm[2] * normal
        header.ImagePositionPatient = [f"{value:.10g}" for value in position]
        headers.append(header)
    return headers


def enhanced(headers: list[Dataset], order: list[int]) -> SourceImages:
    """The same slices as frames of one enhanced multi-frame file, stored in `order`; orientation in each frame."""
    file = Dataset()
    first = headers[0]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientName", "Rows", "Columns"):
        setattr(file, keyword, first.get(keyword))
    file.SOPClassUID, file.SOPInstanceUID = EnhancedMRImageStorage, generate_uid(entropy_srcs=["enhanced"])
    file.NumberOfFrames = len(headers)
    measures = Dataset()
    measures.PixelSpacing = first.PixelSpacing
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    file.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k in order:
        position, orientation, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = headers[k].ImagePositionPatient
        orientation.ImageOrientationPatient = first.ImageOrientationPatient
        frame.PlanePositionSequence, frame.PlaneOrientationSequence = [position], [orientation]
        frames.append(frame)
    file.PerFrameFunctionalGroupsSequence = frames
    numbers = [order.index(k) + 1 for k in range(len(headers))]
    return SourceImages((file,), tuple((str(file.SOPInstanceUID), number) for number in numbers))


def blobs(shape: tuple[int, int, int], seed: int, values: int = 4) -> np.ndarray:
    """A random mask, uint8 [I, J, K] of 0..values, with whole slices empty now and then."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, values + 1, shape) * (rng.random(shape) < 0.3) * (rng.random(shape[2]) < 0.7)
    return mask.astype(np.uint8)


def affine_of(headers: list[Dataset]) -> np.ndarray:
    """Voxel index to LPS mm by the equation of PS3.3 C.7.6.2.1.1, on its own."""
    first, last = headers[0], headers[-1]
    orientation = np.array(first.ImageOrientationPatient, float)
    row_mm, column_mm = map(float, first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = orientation[:3] * column_mm, orientation[3:] * row_mm
    ends = np.array(last.ImagePositionPatient, float) - np.array(first.ImagePositionPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    affine[:3, 2] = ends / (len(headers) - 1) if len(headers) > 1 else normal
    affine[:3, 3] = first.ImagePositionPatient
    return affine


def mask_by_position(path: Path, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The mask as any reader that knows only positions sees it: pydicom, no references."""
    seg = pydicom.dcmread(path)
    mask = np.zeros(shape, np.uint8)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for item, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        position = np.array([*item.PlanePositionSequence[0].ImagePositionPatient, 1], float)
        index = np.linalg.solve(affine, position)[:3]
        assert np.abs(index - np.rint(index)).max() < 1e-4, "a frame lies between the source's slices"
        k = int(np.rint(index[2]))
        mask[:, :, k][frame.T > 0] = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return mask


def write(path: Path, mask: np.ndarray, source: SourceImages) -> Path:
    write_seg(path, mask, SEGMENTS, source, spec=SPEC, series_description="Hippocampus (AI)")
    return path


@pytest.fixture
def headers() -> list[Dataset]:
    return classic_series("sagittal", (12, 10, 6), (0.9, 0.9, 1.2))


@pytest.mark.parametrize("plane", ORIENTATIONS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(3, 13), st.integers(3, 13), st.integers(1, 7)),
    spacing_mm=st.tuples(*[st.floats(0.3, 6)] * 3),
)
def test_seg_reads_back_as_the_mask(
    tmp_path: Path, plane: str, seed: int, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    headers, mask = classic_series(plane, shape, spacing_mm), blobs(shape, seed)
    before = [deepcopy(header) for header in headers]
    path = write(tmp_path / "seg.dcm", mask, SourceImages.of_slices(headers))
    assert headers == before, "writing changed the source's headers"
    assert np.array_equal(mask_by_position(path, affine_of(headers), shape), mask)
    seg = hd.seg.segread(path)
    uids = [header.SOPInstanceUID for header in headers]
    found = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(found.transpose(2, 1, 0), mask)


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


def test_only_slices_with_something_in_them(tmp_path: Path, headers: list[Dataset]) -> None:
    mask = np.zeros((12, 10, 6), np.uint8)
    mask[2, 3, 1], mask[4:6, 3, 4], mask[7, 7, 4] = 1, 1, 4
    seg = pydicom.dcmread(write(tmp_path / "seg.dcm", mask, SourceImages.of_slices(headers)))
    assert seg.NumberOfFrames == 3


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
    write_seg(path, mask, segments, source, spec=SPEC, series_description="")
    verify_seg(path, mask, segments, source)
    assert pydicom.dcmread(path).SegmentSequence[0].SegmentLabel == "Anterior hippocampus"


def test_empty_mask_is_a_result(tmp_path: Path, headers: list[Dataset]) -> None:
    source = SourceImages.of_slices(headers)
    path = write(tmp_path / "seg.dcm", np.zeros((12, 10, 6), np.uint8), source)
    seg = pydicom.dcmread(path)
    assert seg.NumberOfFrames == len(SEGMENTS)
    assert not seg.pixel_array.any()
    assert len(seg.SourceImageSequence) == 6


def test_same_job_same_uids(tmp_path: Path, headers: list[Dataset]) -> None:
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 5)
    one, two = (pydicom.dcmread(write(tmp_path / name, mask, source)) for name in ("a.dcm", "b.dcm"))
    assert (one.SOPInstanceUID, one.SeriesInstanceUID) == (two.SOPInstanceUID, two.SeriesInstanceUID)
    mask[0, 0, 0] ^= 1
    assert pydicom.dcmread(write(tmp_path / "c.dcm", mask, source)).SOPInstanceUID != one.SOPInstanceUID


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
        verify_seg(path, mask, SEGMENTS, source)
    assert "Mustermann" not in str(caught.value)


def test_truncated_seg_is_found_out(tmp_path: Path, headers: list[Dataset]) -> None:
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 7)
    path = write(tmp_path / "seg.dcm", mask, source)
    whole = path.read_bytes()
    for length in (len(whole) - 20, len(whole) // 2, 200, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(OutputError, match="does not read back"):
            verify_seg(path, mask, SEGMENTS, source)


def test_nothing_appears_when_verification_fails(
    tmp_path: Path, headers: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_as = hd.seg.Segmentation.save_as
    monkeypatch.setattr(
        hd.seg.Segmentation, "save_as", lambda seg, *args, **kwargs: (_flip_a_voxel(seg), save_as(seg, *args, **kwargs))
    )
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
def test_seg_is_valid_dicom(tmp_path: Path, headers: list[Dataset]) -> None:
    for seed, mask in enumerate((blobs((12, 10, 6), 1), np.zeros((12, 10, 6), np.uint8))):
        path = write(tmp_path / f"{seed}.dcm", mask, SourceImages.of_slices(headers))
        verdict = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        assert "Error" not in verdict


def test_segments_and_measures() -> None:
    assert [segment.mask_value for segment in SEGMENTS] == [1, 2, 3, 4]
    labels = np.array([[[0, 1, 2]]], np.uint8)
    assert mask_values(SEGMENTS, "right")[labels].tolist() == [[[0, 3, 4]]]
    assert make_segments(LABELS, ("left", "left")) == SEGMENTS[:2]
    mask = np.array([[[1, 1, 4]]], np.uint8)
    found = {m.segment.text: (m.voxels, m.volume_ml) for m in measure(mask, SEGMENTS, 0.25)}
    assert found["Left anterior hippocampus"] == (2, 0.5)
    assert found["Left posterior hippocampus"] == (0, 0.0)
    assert found["Right posterior hippocampus"] == (1, 0.25)


def colored(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Where an RGB(A) image [rows, columns] shows this colour: bool."""
    return np.abs(image[..., :3] * 255 - color).max(axis=-1) < 12


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_overlay_shows_the_side_it_lies_on(tmp_path: Path, plane: str) -> None:
    """A structure to the left, front and top of the patient is drawn to the right, up, and up, however it is stored."""
    headers = classic_series(plane, (140, 130, 120), (1.0, 1.0, 1.0))
    affine = affine_of(headers)
    voxels = np.random.default_rng(0).normal(100, 20, (140, 130, 120)).astype(np.float32)
    volume = Volume(voxels, affine)
    low, high = volume.extent_mm()
    middle = (low + high) / 2
    at = np.linalg.solve(affine, [*(middle + np.array([40, -40, 40])), 1])[:3].round().astype(int)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[tuple(slice(i - 6, i + 7) for i in at)] = 1
    path = tmp_path / "overlay.png"
    write_overlay(path, volume, mask, SEGMENTS, title="A title")
    height, width = imread(path).shape[:2]
    panel = round(width * 0.257)  # three panels of 3.6 in beside a legend of 3 in
    image = imread(path)[:, : 3 * panel]
    assert 600 < height < 1500
    assert 1000 < width < 2000
    assert not colored(image, LABELS[1].color).any(), "a structure that is not there is drawn"
    first_row = colored(image, LABELS[0].color)[: height // 2]
    ups, rights = [], []
    for column in range(3):
        rows, columns = np.nonzero(first_row[:, column * panel + 10 : (column + 1) * panel + 10])
        ups.append(rows.mean() < 0.52 * height / 2)
        rights.append(columns.mean() > panel / 2)
    assert ups == [True, True, True]  # front in axial, head in coronal and sagittal
    assert rights == [True, True, False]  # patient's left in axial and coronal; front is to the left in sagittal


@pytest.mark.parametrize("filled", [False, True])
def test_overlay_of_a_crop_and_of_nothing(tmp_path: Path, filled: bool) -> None:
    mask = np.zeros((30, 50, 36), np.uint8)
    if filled:
        mask[10:20, 20:40, 10:20] = 2
    volume = Volume(np.random.default_rng(1).integers(0, 900, mask.shape).astype(np.int16), np.diag([1.0, 1, 1, 1]))
    write_overlay(tmp_path / "overlay.png", volume, mask, make_segments(LABELS), title="")
    shown = colored(imread(tmp_path / "overlay.png")[:, :1000], LABELS[1].color)
    assert shown.any() == filled


def test_overlay_of_a_constant_image(tmp_path: Path) -> None:
    volume = Volume(np.zeros((9, 9, 9), np.float32), np.eye(4))
    write_overlay(tmp_path / "overlay.png", volume, np.zeros((9, 9, 9), np.uint8), SEGMENTS, title="")
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")


def test_overlay_leaves_matplotlib_state_alone() -> None:
    check = "import sys, client.results.overlay; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=Path(__file__).parents[1]).returncode == 0


def test_report_round_trip(tmp_path: Path) -> None:
    mask = blobs((12, 10, 6), 10)
    source = Input("study", "dicom", (12, 10, 6), (0.9, 0.9, 1.2), "1.2.3")
    report = make_report(
        source, SPEC, measure(mask, SEGMENTS, 0.001), boxes=[Box((1, 2, 3), (4, 5, 6), "left")],
        timings_s={"read": 0.25, "inference": 1.5}, outputs={"seg": "segmentation.dcm"},
    )  # fmt: skip
    path = tmp_path / "report.json"
    write_report(path, report)
    assert read_report(path) == report
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    written = json.loads(path.read_text())
    assert written["schema_version"] == 1
    assert written["model"]["spec"]["labels"][0]["type"]["value"] == "5366008"
    assert written["structures"][3]["laterality"] == "right"
    assert written["structures"][3]["voxels"] == np.count_nonzero(mask == 4)
    assert list(written["timings_s"]) == ["read", "inference"]


@pytest.mark.parametrize("change", [{"schema_version": "x"}, {"surprise": 1}, {"structures": None}])
def test_report_of_another_schema_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    report = make_report(Input("a", "nifti", (1, 1, 1), (1, 1, 1)), SPEC, (), timings_s={}, outputs={})
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**json.loads(report.to_json()), **change}))
    with pytest.raises(InputError, match="not a report"):
        read_report(path)
    with pytest.raises(InputError, match="cannot read"):
        read_report(tmp_path / "none.json")


def test_report_that_cannot_be_written(tmp_path: Path) -> None:
    report = make_report(Input("a", "nifti", (1, 1, 1), (1, 1, 1)), SPEC, (), timings_s={}, outputs={})
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "file" / "report.json", report)
