"""Which studies are to be segmented: paths as given, a list of paths, or everything below a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.dicom import Scan, scan_folder
from client.job import NIFTI_SUFFIXES, result_name
from imaging.study import image_name
from swinunet.errors import InputError


@dataclass(frozen=True, eq=False)
class Study:
    """An input. path: a NIfTI file or a DICOM folder. name: what its results are called.

    scan: the headers of the one series that is meant, where they were read already; series_uid: which that is, if the
    folder holds several.
    """

    path: Path
    name: str
    series_uid: str | None = None
    scan: Scan | None = None


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

    A series may lie in several folders; a folder may hold several series. Names are paths below `root` with _ for /,
    and a part of the UID's hash where a folder holds several series. Raises InputError if there is nothing.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    scan = scan_folder(root)
    found = [*_niftis(root), *_series(root, scan), *_unreadable(root, scan)]
    if not found:
        raise InputError(f"{root}: no DICOM series and no NIfTI file below it")
    return sorted(found, key=lambda study: (study.path, study.name))


def _niftis(root: Path) -> Iterator[Study]:
    for parent, folders, names in os.walk(root):
        folders.sort()
        for name in names:
            path = Path(parent, name)
            if name.endswith(NIFTI_SUFFIXES) and not name.startswith("."):
                yield Study(path, _name(root, path.with_name(image_name(path))))


def _series(root: Path, scan: Scan) -> Iterator[Study]:
    folders = {series.uid: sorted({file.path.parent for file in series.files}) for series in scan.series}
    homes = {uid: Path(os.path.commonpath(parents)) for uid, parents in folders.items()}
    inhabitants = Counter(homes.values())
    for series in scan.series:
        home = homes[series.uid]
        name = _name(root, home)
        if inhabitants[home] > 1:
            name += f"-{hashlib.sha256(series.uid.encode()).hexdigest()[:8]}"
        # A broken file beside the series may be a part of it.
        beside = tuple(file for file in scan.unreadable if file.path.parent in folders[series.uid])
        yield Study(home, name, series.uid, dataclasses.replace(scan, series=(series,), unreadable=beside))


def _unreadable(root: Path, scan: Scan) -> Iterator[Study]:
    """A study, to be refused, for each folder with broken files and no series."""
    known = {file.path.parent for series in scan.series for file in series.files}
    for folder in sorted({file.path.parent for file in scan.unreadable} - known):
        broken = tuple(file for file in scan.unreadable if file.path.parent == folder)
        yield Study(folder, _name(root, folder), None, dataclasses.replace(scan, series=(), unreadable=broken))


def _name(root: Path, path: Path) -> str:
    below: Sequence[str] = path.relative_to(root).parts
    return "_".join(below) or root.resolve().name or "input"
