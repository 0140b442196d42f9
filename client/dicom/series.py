"""The series in a folder: found, grouped, split into volumes, and judged."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from swinunet.client.dicom.files import Frame, Ignored, ImageFile
from swinunet.client.dicom.geometry import affine_of
from swinunet.client.dicom.header import read_header
from swinunet.client.dicom.phases import Phase
from swinunet.client.dicom.sources import Source, find_sources
from swinunet.client.dicom.split import Part, split_frames
from swinunet.client.dicom.verdict import Verdict, VerdictKind, judge, of_incomplete_phase, of_variable_spacing
from swinunet.client.dicom.workers import map_in_processes
from swinunet.foundation.errors import InputError

_BLOCK_BYTES = 1 << 20
_NO_SERIES = "its header lacks the SeriesInstanceUID"
_Instance = tuple[ImageFile, tuple[Frame, ...]]


@dataclass(frozen=True)
class Series:
    """The images of one SeriesInstanceUID (PS3.3 C.7.3.1), or one volume of the several among them.

    files: in the order of their paths. frames: along the normal if they have one; index k of the volume.
    number, total: which of the series' volumes this is. name: what tells it from the others, empty if it is alone.
    copies: files left out because another holds the same instance, byte for byte or but for its envelope.
    phase: which one it is of a series in time, None if it is none.
    """

    uid: str
    modality: str
    body_part: str
    description: str
    files: tuple[ImageFile, ...]
    frames: tuple[Frame, ...]
    verdict: Verdict
    number: int = 1
    total: int = 1
    name: str = ""
    copies: int = 0
    phase: Phase | None = None

    @property
    def selector(self) -> str:
        """What `--series` takes: the UID, or UID#NUMBER where the series holds several volumes."""
        return self.uid if self.total == 1 else f"{self.uid}#{self.number}"

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Columns, rows and slices of the volume, None if it is refused."""
        if not self.verdict.usable:
            return None
        return self.files[0].columns, self.files[0].rows, len(self.frames)

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance between columns, rows and slices in mm, None if it is refused."""
        if not self.verdict.usable:
            return None
        i, j, k = (float((column**2).sum() ** 0.5) for column in affine_of(self.frames)[:3, :3].T)
        return i, j, k

    def summary(self) -> str:
        """One line for a person: UID, modality, description, frames. Nothing about the patient."""
        words = [f'"{word}"' for word in (self.description, self.name) if word]
        known = " ".join([self.modality or "no modality", *words])
        return f"{self.selector} ({known}, {len(self.frames)} frames, {self.verdict.kind})"


@dataclass(frozen=True)
class Scan:
    """What a folder holds. Every file is counted: in a series, or in one of the three others.

    series: the volumes of each series, side by side. objects: what the DICOM files without image planes are, counted.
    unreadable: DICOM files so broken that they belong to no known series, with the reason.
    """

    folder: Path
    series: tuple[Series, ...]
    not_dicom: int
    objects: dict[str, int]
    unreadable: tuple[ImageFile, ...]

    def may_belong_to(self, series: Series) -> tuple[ImageFile, ...]:
        """The unreadable files that may be slices of a series: by its place, for nothing else is known of them.

        A file may belong to a series that lies in its folder. A series that lies in several folders may have a slice
        anywhere below the folder that holds them all, since some media have a folder for every few files.
        """
        folders = {file.path.parent for file in series.files}
        home = Path(os.path.commonpath(folders))
        return tuple(
            file
            for file in self.unreadable
            if file.path.parent in folders or (len(folders) > 1 and home in file.path.parents)
        )

    @property
    def not_images(self) -> int:
        """DICOM files without image planes: reports, segmentations, plans, a DICOMDIR."""
        return sum(self.objects.values())


def scan_folder(folder: Path, tick: Callable[[int, int], None] = lambda done, total: None) -> Scan:
    """Find the DICOM series in a folder and below it, by content, whatever the files are called.

    folder: or one file, a DICOMDIR (the files it names), or a ZIP archive, of which nothing is unpacked to the disk.
    tick: called with the number of files read and of all files. Headers only, in as many processes as there are cores
    where there are many. Links to folders are not followed. Raises InputError if the folder is not there, or an archive
    is hostile or broken.
    """
    not_dicom, objects = 0, Counter[str]()
    unreadable: list[ImageFile] = []
    groups: dict[str, list[_Instance]] = {}
    sources = find_sources(folder)
    for done, found in enumerate(_headers(sources), start=1):
        tick(done, len(sources))
        if isinstance(found, Ignored):
            not_dicom += not found.kind
            objects.update([found.kind] if found.kind else [])
        elif not found[0].series_uid:
            unreadable.append(found[0])
        else:
            groups.setdefault(found[0].series_uid, []).append(found)
    for uid in _unnamed_beside_named(groups):
        unreadable += [replace(file, series_uid="", fault=_NO_SERIES) for file, _ in groups.pop(uid)]
    series = tuple(volume for uid, group in groups.items() for volume in _volumes(uid, group))
    return Scan(folder, series, not_dicom, dict(objects), tuple(unreadable))


def require_images(scan: Scan) -> None:
    """Raise InputError if the scan found nothing to speak of: an empty folder, no DICOM in it, no image among it."""
    if scan.series or scan.unreadable:
        return
    if scan.not_images:
        raise InputError(
            f"{scan.folder}: {scan.not_images} DICOM objects, none of them an image; "
            "give the folder that holds the image series"
        )
    if scan.not_dicom:
        raise InputError(
            f"{scan.folder}: {scan.not_dicom} files, none of them DICOM; give a folder with a DICOM series"
        )
    raise InputError(f"{scan.folder}: the folder is empty; give a folder with a DICOM series")


def _unnamed_beside_named(groups: dict[str, list[_Instance]]) -> list[str]:
    """The series without a UID that lie in a folder with one that has it, of which they may be a part."""
    unnamed = {uid for uid, group in groups.items() if any("SeriesInstanceUID" in file.lacks for file, _ in group)}
    named = {file.path.parent for uid, group in groups.items() if uid not in unnamed for file, _ in group}
    return [uid for uid in sorted(unnamed) if any(file.path.parent in named for file, _ in groups[uid])]


def _headers(sources: tuple[Source, ...]) -> Iterator[_Instance | Ignored]:
    if all(source.is_file for source in sources):
        return map_in_processes(read_header, sources)
    return map(read_header, sources)


def _volumes(uid: str, group: list[_Instance]) -> list[Series]:
    """The volumes of one series; one that is broken, or whose copies contradict each other, is judged as a whole."""
    instances, conflict = _without_copies(group)
    files = tuple(file for file, _ in instances)
    frames = [frame for _, planes in instances for frame in planes]
    whole = next((file for file in files if not file.fault), files[0])
    broken = conflict or any(file.fault for file in files)
    parts = (Part("", tuple(frames)),) if broken else split_frames(frames)
    volumes = []
    for number, part in enumerate(parts, start=1):
        own = files if len(parts) == 1 else tuple(dict.fromkeys(frame.file for frame in part.frames))
        verdict, ordered = (conflict, part.frames) if conflict else judge(own, part.frames)
        if part.steps:
            verdict = of_variable_spacing(verdict, part.steps)
        if part.phase and part.phase.lacks:
            verdict = of_incomplete_phase(verdict, part.phase)
        volumes.append(
            Series(
                uid,
                whole.modality,
                whole.body_part,
                whole.description,
                own,
                ordered,
                verdict,
                number,
                len(parts),
                part.name,
                len(group) - len(instances),
                part.phase,
            )
        )
    return volumes


def _without_copies(group: list[_Instance]) -> tuple[list[_Instance], Verdict | None]:
    """The instances of a series, each once, and the verdict if two files hold one instance and differ."""
    first: dict[str, _Instance] = {}
    kept: list[_Instance] = []
    for instance in group:
        file = instance[0]
        other = first.get(file.sop_instance_uid)
        if file.fault or other is None:
            kept.append(instance)
            if not file.fault:
                first[file.sop_instance_uid] = instance
        elif not _is_copy(instance, other):
            both = f"{other[0].name} and {file.name}"
            if file.name == other[0].name:
                both = f"two files called {file.name}, in different folders,"
            return kept, Verdict(
                VerdictKind.CONFLICTING_COPIES,
                f"{both} hold the same instance and differ; fetch the series again, and keep one of them",
            )
    return kept, None


def _is_copy(one: _Instance, other: _Instance) -> bool:
    """Whether two files of one instance say the same and hold the same pixels."""

    def facts(instance: _Instance) -> tuple[object, ...]:
        file, frames = instance
        plain = replace(file, source=other[0].source, pixels_at=0)
        return plain, [replace(frame, file=plain) for frame in frames]

    return facts(one) == facts(other) and _pixel_digest(one[0]) == _pixel_digest(other[0])


def _pixel_digest(file: ImageFile) -> bytes:
    """SHA-256 of the file from its pixel data on."""
    digest = hashlib.sha256()
    try:
        with file.source.open() as stream:
            stream.seek(file.pixels_at)
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{file.name}: it cannot be opened ({error.strerror}); scan the folder again") from None
    return digest.digest()
