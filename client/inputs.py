"""One input read: a NIfTI file, or the series of a DICOM folder that is meant, as volumes; and which input it was."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from swinunet.client.dicom import DicomVolume, Scan, Series, choose, read_volume, scan_folder, select_volumes
from swinunet.client.dicom.series_selector import passed_over
from swinunet.foundation.errors import InputError
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import ModelSpec, Volume, read_nifti, read_nifti_modalities
from swinunet.imaging.study import image_name

LONGEST_NAME_BYTES = 240  # of a folder of results: file systems take 255, and names that are taken get a number
_NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, eq=False)
class LoadedInput:
    """An input that was read. study: a volume for each of the model's modalities. dicom: None for NIfTI.

    digest: 64 hexadecimal digits, the same for the same volume, wherever it lies, and for no other; empty where nobody
    will ask whether a result is of this input. passed_over: a sentence on each series of the folder that was not taken.
    phases: of a series in time all of them, of which `study` and `dicom` are the first; else empty. allow: verdicts to
    read them in spite of.
    """

    path: Path
    study: tuple[Volume, ...]
    dicom: DicomVolume | None
    read_seconds: float
    digest: str = ""
    passed_over: tuple[str, ...] = ()
    phases: tuple[Series, ...] = ()
    allow: frozenset[str] = frozenset()

    @property
    def volume(self) -> Volume:
        """The volume on whose grid results are: the only one, or the first modality."""
        return self.study[0]


def has_nifti_name(path: Path) -> bool:
    """Whether a file is NIfTI by its name."""
    return path.name.lower().endswith(_NIFTI_SUFFIXES)


def result_name(path: Path) -> str:
    """What an input's folder of results is called: as the folder, or the file without the suffix of its format."""
    return folder_name(image_name(path.resolve()) or "input")


def folder_name(name: str) -> str:
    """`name` as every file system takes it: bytes that are no UTF-8 as %E9, and no longer than LONGEST_NAME_BYTES.

    What is too long is cut, and ends in a part of its hash, so that two inputs keep two names.
    """
    name = "".join(f"%{ord(each) - 0xDC00:02X}" if "\udc80" <= each <= "\udcff" else each for each in name)
    if len(whole := name.encode()) <= LONGEST_NAME_BYTES:
        return name
    digest = hashlib.sha256(whole).hexdigest()[:8]
    return f"{whole[: LONGEST_NAME_BYTES - 9].decode(errors='ignore')}-{digest}"


def readable_name(path: Path) -> str:
    """A file's or folder's name as text: bytes that are no UTF-8, as old archives unpack them, in the form \\xe9."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def load_input(
    path: Path,
    spec: ModelSpec,
    series_uid: str | None = None,
    scan: Scan | None = None,
    allow: Collection[str] = (),
    *,
    assume_ras: bool = False,
) -> LoadedInput:
    """Read a NIfTI file, or the one usable series of the spec's modality in a DICOM folder.

    scan: of the folder, if it was scanned already. allow: "gap", "tilted": verdicts to read a series in spite of.
    Of a series in time the first phase is read, and the others are named.
    A model of several modalities takes NIfTI of four axes, the modality as the last. assume_ras: as `read_nifti` has
    it. Raises InputError.
    """
    began = time.perf_counter()
    if path.is_file() and has_nifti_name(path):
        study = (
            read_nifti_modalities(path, assume_ras=assume_ras)
            if spec.modalities
            else (read_nifti(path, assume_ras=assume_ras),)
        )
        if len(study) != spec.num_modalities:
            raise InputError(
                f"{path}: modalities along the fourth axis: {len(study)} found, the model expects "
                f"{spec.num_modalities} ({', '.join(spec.modalities)})"
            )
        return LoadedInput(path, study, None, time.perf_counter() - began, sha256_of_file(path))
    scan, series = _choose_series(path, spec, series_uid, scan, allow)
    dicom = read_volume(series[0], allow)
    others = passed_over(scan, choose(scan, series_uid, spec=spec, allow=allow))
    phases = series if len(series) > 1 else ()
    seconds = time.perf_counter() - began
    return LoadedInput(
        path, (dicom.volume,), dicom, seconds, digest_of_series(*series), others, phases, frozenset(allow)
    )


def digest_of_input(
    path: Path,
    spec: ModelSpec,
    series_uid: str | None = None,
    scan: Scan | None = None,
    allow: Collection[str] = (),
) -> str:
    """The digest of what `load_input` would read, from its headers alone. Raises InputError."""
    if path.is_file() and has_nifti_name(path):
        return sha256_of_file(path)
    return digest_of_series(*_choose_series(path, spec, series_uid, scan, allow)[1])


def digest_of_series(*phases: Series) -> str:
    """SHA-256 of the SOP Instance UID and frame number of each slice, in order: UIDs name pixels (PS3.5 9.1).

    phases: one volume, or all of a series in time.
    """
    frames = [frame for series in phases for frame in series.frames]
    lines = [f"{frame.file.sop_instance_uid}#{frame.number or 1}\n" for frame in frames]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _choose_series(
    path: Path, spec: ModelSpec, series_uid: str | None, scan: Scan | None, allow: Collection[str]
) -> tuple[Scan, tuple[Series, ...]]:
    """The scan, and the one volume, or all phases of the one series in time."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if spec.modalities:
        raise InputError(
            f"{path}: the model takes {spec.num_modalities} co-registered modalities ({', '.join(spec.modalities)}); "
            "DICOM is read one series at a time: give one NIfTI file with the modality as its fourth axis"
        )
    scan = scan or scan_folder(path)
    return scan, select_volumes(scan, uid=series_uid, spec=spec, allow=allow)
