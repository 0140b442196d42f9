"""Source series and masks for tests of results: headers in memory, and what a reader that knows only positions sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, generate_uid

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.identity import Identity
from swinunet.client.segments import make_segments
from swinunet.imaging import Code, Label, ModelSpec, ZScore
from swinunet.imaging.spec import Provenance

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


def identity_of(source: SourceImages, **settings: str) -> Identity:
    """The job that these tests' results are of."""
    sources = tuple(f"{uid}#{frame}" for uid, frame in source.references)
    return Identity(sources, SPEC, tuple(settings.items()))


def mask_by_position(path: Path, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The mask as any reader that knows only positions sees it: pydicom, no references."""
    seg = pydicom.dcmread(path)
    mask = np.zeros(shape, np.uint8)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for item, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        group = item if "PlanePositionSequence" in item else seg.SharedFunctionalGroupsSequence[0]
        position = np.array([*group.PlanePositionSequence[0].ImagePositionPatient, 1], float)
        index = np.linalg.solve(affine, position)[:3]
        assert np.abs(index - np.rint(index)).max() < 1e-4, "a frame lies between the source's slices"
        k = int(np.rint(index[2]))
        inside = frame.T > 0
        if not inside.any():  # a plane beside the only slice
            continue
        labelmap = seg.SegmentationType == "LABELMAP"
        number = frame.T[inside] if labelmap else item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        mask[:, :, k][inside] = number
    return mask
