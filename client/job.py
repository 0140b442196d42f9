"""One input to one folder of results: read it, segment it, write everything aside, rename it into place."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.dicom import DicomVolume, Scan, read_volume, scan_folder, select_series
from client.results.overlay import write_overlay
from client.results.report import Box, Input, Report, make_report, write_report
from client.results.seg import write_seg
from client.results.seg_source import SourceImages
from client.rois import Roi
from client.segmentation import Segmentation, segment_volume
from client.triton import JobControl, TritonModel
from imaging import ModelSpec, Volume, read_nifti, read_nifti_modalities, write_nifti
from imaging.study import image_name
from swinunet.errors import InputError, OutputError

NIFTI_NAME, SEG_NAME, REPORT_NAME, OVERLAY_NAME = "mask.nii.gz", "segmentation.dcm", "report.json", "overlay.png"
NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, eq=False)
class Loaded:
    """An input that was read. study: a volume for each of the model's modalities. dicom: None for NIfTI."""

    path: Path
    study: tuple[Volume, ...]
    dicom: DicomVolume | None
    read_seconds: float

    @property
    def volume(self) -> Volume:
        """The volume on whose grid results are: the only one, or the first modality."""
        return self.study[0]


@dataclass(frozen=True, eq=False)
class JobResult:
    """What came of one input. folder: where its results are."""

    folder: Path
    report: Report
    segmentation: Segmentation


def result_name(path: Path) -> str:
    """What an input's folder of results is called: as the folder, or the file without the suffix of its format."""
    return image_name(path.resolve()) or "input"


def output_folders(inputs: Sequence[Path], out: Path, overwrite: bool) -> list[Path]:
    """A folder in `out` for each input, called as the input is; inputs of one name get -2, -3 ... in their order.

    Makes `out`. Raises OutputError, before any work, if `out` cannot be written or a folder exists and must not be
    replaced.
    """
    return folders_called([result_name(path) for path in inputs], out, overwrite)


def folders_called(names: Sequence[str], out: Path, existing_ok: bool) -> list[Path]:
    """`output_folders` for inputs that were given names."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".swinunet."):
            pass
    except OSError as error:
        raise OutputError(f"{out}: cannot write ({os.strerror(error.errno or 0)}); choose another folder") from None
    seen: Counter[str] = Counter()
    folders: list[Path] = []
    for name in names:
        seen[name] += 1
        folders.append(out / (f"{name}-{seen[name]}" if seen[name] > 1 else name))
    existing = [folder for folder in folders if folder.exists()]
    if existing and not existing_ok:
        raise OutputError(
            f"{existing[0]}: exists already; give another output folder, --overwrite to replace it, or --resume to "
            "segment only what is missing"
        )
    return folders


def load_input(path: Path, spec: ModelSpec, series_uid: str | None = None, scan: Scan | None = None) -> Loaded:
    """Read a NIfTI file, or the one usable series of the spec's modality in a DICOM folder.

    scan: of the folder, if it was scanned already. A model of several modalities takes NIfTI of four axes, the modality
    as the last. Raises InputError.
    """
    began = time.perf_counter()
    if path.is_file() and path.name.endswith(NIFTI_SUFFIXES):
        study = read_nifti_modalities(path) if spec.modalities else (read_nifti(path),)
        if len(study) != spec.num_modalities:
            raise InputError(
                f"{path}: modalities along the fourth axis: {len(study)} found, the model expects "
                f"{spec.num_modalities} ({', '.join(spec.modalities)})"
            )
        return Loaded(path, study, None, time.perf_counter() - began)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if spec.modalities:
        raise InputError(
            f"{path}: the model takes {spec.num_modalities} co-registered modalities ({', '.join(spec.modalities)}); "
            "DICOM is read one series at a time: give one NIfTI file with the modality as its fourth axis"
        )
    dicom = read_volume(select_series(scan or scan_folder(path), uid=series_uid, modality=spec.modality))
    return Loaded(path, (dicom.volume,), dicom, time.perf_counter() - began)


def run_job(
    loaded: Loaded,
    folder: Path,
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    tick: Callable[[int], None] = lambda slices: None,
    control: JobControl | None = None,
) -> JobResult:
    """Segment an input that was read and write its results to `folder`, which appears whole or not at all.

    `folder` is replaced if it exists. Results: NIfTI mask on the input's grid, DICOM SEG (for DICOM), overlay, report.
    Raises what `segment_volume` raises, and OutputError.
    """
    found = segment_volume(loaded.study, model, rois, tick, control)
    timings = {"read": loaded.read_seconds, **found.seconds}
    outputs = {"nifti": NIFTI_NAME, "overlay": OVERLAY_NAME, "report": REPORT_NAME}
    with _whole_folder(folder) as aside:
        with _timed(timings, "nifti"):
            write_nifti(Volume(found.mask, loaded.volume.affine), aside / NIFTI_NAME)
        if loaded.dicom:
            outputs["seg"] = SEG_NAME
            with _timed(timings, "seg"):
                _write_seg(aside / SEG_NAME, loaded.dicom, found, model.spec)
        with _timed(timings, "overlay"):
            title = f"{model.spec.name}, version {model.spec.version}"
            write_overlay(aside / OVERLAY_NAME, loaded.volume, found.mask, found.segments, title=title)
        report = make_report(
            _describe(loaded),
            model.spec,
            found.measurements,
            boxes=boxes_of(rois),
            timings_s=timings,
            outputs=outputs,
            trace=found.trace,
        )
        write_report(aside / REPORT_NAME, report)
    return JobResult(folder, report, found)


def _write_seg(path: Path, dicom: DicomVolume, found: Segmentation, spec: ModelSpec) -> None:
    references = tuple(dicom.source(k) for k in range(found.mask.shape[2]))
    source = SourceImages(dicom.headers, references)
    description = f"{spec.name} {spec.version} segmentation"
    write_seg(path, found.mask, found.segments, source, spec=spec, series_description=description)


def _describe(loaded: Loaded) -> Input:
    volume, dicom = loaded.volume, loaded.dicom
    name = loaded.path.resolve().name
    if dicom is None:
        return Input(name, "nifti", volume.shape, volume.spacing_mm)
    return Input(name, "dicom", volume.shape, volume.spacing_mm, dicom.series.uid)


def boxes_of(rois: Sequence[Roi]) -> tuple[Box, ...]:
    """Boxes as a report names them."""
    corners = [(roi.bounds_mm[0::2], roi.bounds_mm[1::2], roi.side) for roi in rois]
    return tuple(Box((x0, y0, z0), (x1, y1, z1), side) for (x0, y0, z0), (x1, y1, z1), side in corners)


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - began


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends well and is gone when it does not."""
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    replaced = aside / ".replaced"
    try:
        yield aside
        aside.chmod(0o755)
        if folder.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)) / "old"
            folder.rename(replaced)
        aside.rename(folder)
    except OSError as error:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        raise OutputError(f"{folder}: cannot write ({os.strerror(error.errno or 0)}); choose another folder") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if replaced.parent != aside:
            shutil.rmtree(replaced.parent, ignore_errors=True)
