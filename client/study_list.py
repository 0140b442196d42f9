"""Which studies are to be segmented: paths as given, a list of paths, or everything below a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from swinunet.client.dicom import Scan, Series, scan_folder, selector_of, volumes_of
from swinunet.client.inputs import folder_name, has_nifti_name, result_name
from swinunet.client.results.formats import FILE_NAMES
from swinunet.client.results.report import read_report
from swinunet.client.rois import Roi
from swinunet.foundation.errors import InputError
from swinunet.imaging.study import image_name


@dataclass(frozen=True, eq=False)
class Study:
    """An input. path: a NIfTI file, a DICOM folder or a ZIP archive. name: what its results are called.

    series_uid: which series is meant, as `Series.selector` has it, if there are several.
    scan, modality: the headers of that series, and its modality, where they were read already.
    rois: its boxes, None for those of the run.
    """

    path: Path
    name: str
    series_uid: str | None = None
    scan: Scan | None = None
    modality: str | None = None
    rois: tuple[Roi, ...] | None = None

    @property
    def paths(self) -> frozenset[Path]:
        """The input, and the folders that its files lie in, as far as they are known."""
        files = (file for series in self.scan.series for file in series.files) if self.scan else ()
        return frozenset({self.path, *(file.path.parent for file in files)})


def studies_at(paths: Iterable[Path], series_uid: str | None = None) -> list[Study]:
    """A study for each path, as it was given."""
    return [Study(path, result_name(path), series_uid) for path in paths]


def read_paths(lines: Iterable[str]) -> list[Path]:
    """Paths, one a line, from the current folder; empty lines and those that begin with # say nothing."""
    stripped = (line.strip() for line in lines)
    return [Path(line) for line in stripped if line and not line.startswith("#")]


def read_list(file: Path) -> list[Path]:
    """The paths in a text file. Raises InputError if it cannot be read."""
    try:
        return read_paths(file.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise InputError(f"{file}: cannot read the list ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: not a list of paths; expected UTF-8 text, a path a line") from None


def studies_below(root: Path) -> list[Study]:
    """Every NIfTI file and every DICOM series below a folder, by path; what cannot be read is a study to be refused.

    A series may lie in several folders; a folder, or a ZIP archive, may hold several series. Names are paths below
    `root` with _ for /, and a part of its selector's hash where there are several. Our own results are no studies.
    Raises InputError if there is nothing.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    scan = scan_folder(root)
    files = list(_files(root))
    niftis = [path for path in files if has_nifti_name(path) and not _is_result(path)]
    archives = [path for path in files if path.suffix.lower() == ".zip"]
    found = [Study(path, _name(root, path.with_name(image_name(path)))) for path in niftis]
    found += [*_series(root, scan), *_unreadable(root, scan)]
    found += [study for path in archives for study in _archived(root, path)]
    if not found:
        raise InputError(f"{root}: no DICOM series and no NIfTI file below it")
    return sorted(found, key=lambda study: (study.path, study.name))


def studies_in(path: Path) -> list[Study]:
    """Every study in a folder, as `studies_below`, in a ZIP archive, or the one that a NIfTI file is.

    Raises InputError if there is nothing.
    """
    if path.is_dir():
        return studies_below(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        return list(_archived(path.parent, path))
    if has_nifti_name(path) and path.is_file():
        return studies_at([path])
    kind = "neither a folder, a ZIP archive nor a NIfTI file" if path.exists() else "no such file or folder"
    raise InputError(f"{path}: {kind}")


def _is_result(path: Path) -> bool:
    """Whether a NIfTI file is a mask that this software wrote: its report lies beside it."""
    if path.name != FILE_NAMES["nifti"]:
        return False
    try:
        read_report(path.with_name(FILE_NAMES["json"]))
    except InputError:
        return False
    return True


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder that are not hidden, nor in a hidden folder: results are written aside in those."""
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _series(root: Path, scan: Scan) -> Iterator[Study]:
    volumes = volumes_of(scan)
    folders = [sorted({file.path.parent for one in each for file in one.files}) for each in volumes]
    homes = [Path(os.path.commonpath(parents)) for parents in folders]
    inhabitants = Counter(homes)
    for phases, home in zip(volumes, homes, strict=True):
        unreadable = tuple(dict.fromkeys(file for one in phases for file in scan.may_belong_to(one)))
        part = dataclasses.replace(scan, series=phases, unreadable=unreadable)
        yield dataclasses.replace(_one_of(inhabitants[home], phases, root, home), scan=part)


def _archived(root: Path, path: Path) -> Iterator[Study]:
    """The series in a ZIP archive, none of them scanned: a scan holds the archive open, and there may be thousands."""
    try:
        scan = scan_folder(path)
    except InputError:
        yield Study(path, _name(root, path))  # refused when it is read, in the same words
        return
    volumes = volumes_of(scan)
    for phases in volumes:
        yield _one_of(len(volumes), phases, root, path)
    if scan.unreadable and not scan.series:
        yield Study(path, _name(root, path))


def _one_of(several: int, phases: tuple[Series, ...], root: Path, home: Path) -> Study:
    """The study of a volume, or of a series in time, whose folder or archive holds `several`."""
    if several == 1:
        return Study(home, _name(root, home), modality=phases[0].modality)
    selector = selector_of(phases)
    suffix = hashlib.sha256(selector.encode()).hexdigest()[:8]
    return Study(home, f"{_name(root, home)}-{suffix}", selector, modality=phases[0].modality)


def _unreadable(root: Path, scan: Scan) -> Iterator[Study]:
    """A study, to be refused, for each folder with broken files and no series."""
    known = {file.path.parent for series in scan.series for file in series.files}
    for folder in sorted({file.path.parent for file in scan.unreadable} - known):
        broken = tuple(file for file in scan.unreadable if file.path.parent == folder)
        yield Study(folder, _name(root, folder), None, dataclasses.replace(scan, series=(), unreadable=broken))


def _name(root: Path, path: Path) -> str:
    below: Sequence[str] = path.relative_to(root).parts
    return folder_name("_".join(below) or root.resolve().name or "input")
