"""One input to one folder of results: read it, segment it, write everything aside, rename it into place."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swinunet.client.dicom import DicomVolume, Scan, Series, read_volume, scan_folder, select_series
from swinunet.client.fingerprint import fingerprint_of_series
from swinunet.client.results.outputs import OutputOptions, write_outputs
from swinunet.client.results.report import Report
from swinunet.client.rois import Roi
from swinunet.client.segmentation import Segmentation, segment_volume
from swinunet.client.triton import JobControl, TritonModel
from swinunet.foundation.errors import InputError, OutputError
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import ModelSpec, Volume, read_nifti, read_nifti_modalities
from swinunet.imaging.study import image_name

_NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, eq=False)
class Loaded:
    """An input that was read. study: a volume for each of the model's modalities. dicom: None for NIfTI.

    fingerprint: see client/fingerprint.py; empty where nobody will ask whether a result is of this input.
    """

    path: Path
    study: tuple[Volume, ...]
    dicom: DicomVolume | None
    read_seconds: float
    fingerprint: str = ""

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

    def require_all_outputs(self) -> None:
        """Raise OutputError, naming them, if there are outputs that could not be written."""
        if failed := self.report.failed:
            reasons = "; ".join(f"{kind} was not written: {reason}" for kind, reason in failed.items())
            raise OutputError(f"{self.folder}: {reasons}; the other results are there")


def has_nifti_name(path: Path) -> bool:
    """Whether a file is NIfTI by its name."""
    return path.name.lower().endswith(_NIFTI_SUFFIXES)


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
    taken: dict[str, None] = {}  # as an ordered set
    for name in names:
        numbered = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        taken[next(each for each in numbered if each not in taken)] = None
    folders = [out / name for name in taken]
    existing = [folder for folder in folders if folder.exists()]
    if existing and not existing_ok:
        raise OutputError(
            f"{existing[0]}: exists already; give another output folder, --overwrite to replace it, or --resume to "
            "segment only what is missing"
        )
    return folders


def folders_of(inputs: Iterable[Path]) -> frozenset[Path]:
    """The inputs and every folder that they lie in, links resolved."""
    resolved = {path.resolve() for path in inputs}
    return frozenset(folder for path in resolved for folder in (path, *path.parents))


def require_no_input(folder: Path, inputs: frozenset[Path]) -> None:
    """Raise OutputError if results called `folder` would replace an input. inputs: as `folders_of` has them."""
    if folder.resolve() in inputs:
        raise OutputError(
            f"{folder}: an input lies there, its results would take its place; give another output folder"
        )


def load_input(
    path: Path,
    spec: ModelSpec,
    series_uid: str | None = None,
    scan: Scan | None = None,
    allow: Collection[str] = (),
) -> Loaded:
    """Read a NIfTI file, or the one usable series of the spec's modality in a DICOM folder.

    scan: of the folder, if it was scanned already. allow: "gap", "tilted": verdicts to read a series in spite of.
    A model of several modalities takes NIfTI of four axes, the modality as the last. Raises InputError.
    """
    began = time.perf_counter()
    if path.is_file() and has_nifti_name(path):
        study = read_nifti_modalities(path) if spec.modalities else (read_nifti(path),)
        if len(study) != spec.num_modalities:
            raise InputError(
                f"{path}: modalities along the fourth axis: {len(study)} found, the model expects "
                f"{spec.num_modalities} ({', '.join(spec.modalities)})"
            )
        return Loaded(path, study, None, time.perf_counter() - began, sha256_of_file(path))
    series = _choose_series(path, spec, series_uid, scan, allow)
    dicom = read_volume(series, allow)
    return Loaded(path, (dicom.volume,), dicom, time.perf_counter() - began, fingerprint_of_series(series))


def identify_input(
    path: Path,
    spec: ModelSpec,
    series_uid: str | None = None,
    scan: Scan | None = None,
    allow: Collection[str] = (),
) -> str:
    """The fingerprint of what `load_input` would read, by its headers alone. Raises InputError."""
    if path.is_file() and has_nifti_name(path):
        return sha256_of_file(path)
    return fingerprint_of_series(_choose_series(path, spec, series_uid, scan, allow))


def _choose_series(
    path: Path, spec: ModelSpec, series_uid: str | None, scan: Scan | None, allow: Collection[str]
) -> Series:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if spec.modalities:
        raise InputError(
            f"{path}: the model takes {spec.num_modalities} co-registered modalities ({', '.join(spec.modalities)}); "
            "DICOM is read one series at a time: give one NIfTI file with the modality as its fourth axis"
        )
    return select_series(scan or scan_folder(path), uid=series_uid, spec=spec, allow=allow)


def run_job(
    loaded: Loaded,
    folder: Path,
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    tick: Callable[[int], None] = lambda slices: None,
    options: OutputOptions | None = None,
    overwrite: bool = True,
    control: JobControl | None = None,
) -> JobResult:
    """Segment an input that was read and write its results to `folder`, which appears whole or not at all.

    options: which results, and how; by default all that the input allows. A result that cannot be written is left out
    and named in the report's `failed`. overwrite: whether `folder` is replaced if it exists.
    Raises what `segment_volume` raises, InputError for results that the input does not allow, and OutputError.
    """
    options = options or OutputOptions()
    options.kinds_of(loaded.dicom is not None)  # refuse before the work, not after it
    require_no_input(folder, folders_of([loaded.path]))
    found = segment_volume(loaded.study, model, rois, tick, options.restore, control)
    timings = {"read": loaded.read_seconds, **found.seconds}
    with _whole_folder(folder, overwrite) as aside:
        if pseudonyms := options.pseudonyms:
            pseudonyms.record(folder.name, loaded.path, loaded.dicom.headers[0] if loaded.dicom else None)
        name, fingerprint = _names(loaded, folder, options)
        report = write_outputs(aside, name, found, loaded.dicom, model.spec, rois, options, timings, fingerprint)
    return JobResult(folder, report, found)


def _names(loaded: Loaded, folder: Path, options: OutputOptions) -> tuple[str, str]:
    """What a report calls the input, and its fingerprint; de-identified, neither leads to it without the key."""
    if options.pseudonyms:
        return folder.name, options.pseudonyms.name(loaded.fingerprint, "input")
    return loaded.path.resolve().name, loaded.fingerprint


@contextmanager
def _whole_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends well and is gone when it does not."""
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    replaced = aside / ".replaced"
    try:
        yield aside
        aside.chmod(0o755)
        if folder.exists():
            if not overwrite:
                raise OutputError(f"{folder}: appeared while the job ran; give another output folder, or --overwrite")
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
