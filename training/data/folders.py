"""Folders of labelled images, whatever their layout: which cases there are, and what the folder says of itself.

    MSD           dataset.json with a list `training`; an image may have its modalities along the fourth axis
    nnU-Net       dataset.json with `channel_names`, imagesTr/NAME_0000.nii.gz, _0001 ..., labelsTr/NAME.nii.gz
    plain         images/ and labels/, or imagesTr/ and labelsTr/, paired by name; NAME_0000, NAME_0001 ... are
                  modalities of NAME

Images are NIfTI (three axes, four, or two for a single slice) or PNG. Nothing is read here but the index.

A label named `ignore`, as nnU-Net has it, is no class: its voxels are IGNORED from where they are read on.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.imaging import Volume, read_labels, read_study
from swinunet.imaging.study import SUFFIXES, channel_of, group_channels, image_name, is_image
from swinunet.training.metrics.case_scores import IGNORED

INDEX = "dataset.json"
_PAIRS = (("images", "labels"), ("imagesTr", "labelsTr"))
_IGNORE = "ignore"  # nnU-Net's name for voxels that nobody annotated


@dataclass(frozen=True)
class CasePaths:
    """One labelled study: its name, the files of its modalities in their order, and the file of its labels.

    ignored: the value in that file of voxels that nobody annotated; None where there is none.
    assume_ras: what NIfTI files say nothing of is taken as in `read_nifti`.
    """

    name: str
    images: tuple[Path, ...]
    labels: Path
    ignored: int | None = None
    assume_ras: bool = False

    @property
    def image(self) -> Path:
        """The file on whose grid the labels are."""
        return self.images[0]

    def read_images(self, pixel_mm: float | None = None) -> tuple[Volume, ...]:
        """The modalities, a float32 Volume each. Raises InputError if one cannot be read.

        pixel_mm: side of a pixel of a file that does not say it (PNG); None takes 1 mm.
        """
        return read_study(self.images, pixel_mm, assume_ras=self.assume_ras)

    def read_labels(self, pixel_mm: float | None = None) -> Volume:
        """The label map, uint8, IGNORED where nobody annotated it. Raises InputError if it cannot be read as labels.

        pixel_mm: side of a pixel of a file that does not say it (PNG); None takes 1 mm.
        """
        labels = read_labels(self.labels, pixel_mm, assume_ras=self.assume_ras)
        if self.ignored is not None:
            return labels.with_voxels(np.where(labels.voxels == self.ignored, np.uint8(IGNORED), labels.voxels))
        if labels.voxels.max() == IGNORED:
            raise InputError(
                f"{self.labels}: label {IGNORED} found, which stands for voxels that are not annotated; name it "
                f"{_IGNORE!r} in a {INDEX}, or renumber it"
            )
        return labels


@dataclass(frozen=True)
class BrokenCase:
    """A case that cannot be used, and why."""

    name: str
    problem: str


@dataclass(frozen=True)
class DataFolder:
    """What a folder of labelled images holds.

    modalities: what the index calls the images of a study, in their order; empty where no index names them.
    indexed_labels: names of foreground indices in the index; None where there is none.
    cases: the complete ones. broken: those that lack a file.
    """

    root: Path
    name: str
    cases: tuple[CasePaths, ...]
    broken: tuple[BrokenCase, ...] = ()
    licence: str = ""
    attribution: str = ""
    modalities: tuple[str, ...] = ()
    indexed_labels: tuple[str, ...] | None = None

    @staticmethod
    def open(root: Path, keep_broken: bool = False, *, assume_ras: bool = False) -> DataFolder:
        """Find the cases of a folder in any of the layouts.

        keep_broken: list cases that lack a file in `broken`, instead of refusing the folder. assume_ras: of the cases.
        Raises InputError, naming what is wrong, if the folder has no known layout, no labels, a broken index, or two
        cases of one name.
        """
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; expected one with {INDEX}, or with images/ and labels/")
        if (root / INDEX).is_file():
            folder = _open_indexed(root)
        elif pair := _pair_of_folders(root):
            folder = _open_plain(root, root / pair[0], root / pair[1], {})
        else:
            raise InputError(
                f"{root}: no {INDEX}, and no images/ with labels/, nor imagesTr/ with labelsTr/; expected one of these"
            )
        if folder.broken and not keep_broken:
            first = folder.broken[0]
            raise InputError(
                f"{root}: {len(folder.broken)} of its cases broken, the first {first.name}: {first.problem}"
            )
        if not folder.cases and not folder.broken:
            raise InputError(f"{root}: no labelled case in it")
        copies = [name for name, times in Counter(case.name for case in folder.cases).items() if times > 1]
        if copies:
            raise InputError(f"{root}: names that several cases bear: {', '.join(copies[:5])}; rename them")
        cases = tuple(dataclasses.replace(case, assume_ras=assume_ras) for case in folder.cases)
        return dataclasses.replace(folder, cases=cases)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """Names of label foreground indices: the index's, else made from the values in the label maps, which are read.

        Raises InputError, without an index, for a label map that cannot be read.
        """
        if self.indexed_labels is not None:
            return self.indexed_labels
        highest = max((int(case.read_labels().voxels.max()) for case in self.cases), default=0)
        return unnamed_labels(highest)

    @property
    def modality(self) -> str:
        """DICOM's term (PS3.3 C.7.3.1.1.1) for the first modality; empty where no index names it."""
        return dicom_modality(self.modalities[0]) if self.modalities else ""


def holds_labels(root: Path) -> bool:
    """Whether a folder looks like one of labelled images, and not like one of images alone."""
    return (root / INDEX).is_file() or any((root / labels).is_dir() for _, labels in _PAIRS)


def unnamed_labels(highest: int) -> tuple[str, ...]:
    """Names for indices 1..highest where nothing names them."""
    return tuple(f"label_{index}" for index in range(1, highest + 1))


def dicom_modality(name: str) -> str:
    """DICOM's term for what a data set calls its modality; upper-cased as it is where we know no better."""
    name = name.upper()
    if name.startswith(("MR", "T1", "T2", "FLAIR", "ADC", "DWI", "PD")):
        return "MR"
    return {"PET": "PT", "ULTRASOUND": "US", "X-RAY": "DX", "XRAY": "DX"}.get(name, name)


def _open_indexed(root: Path) -> DataFolder:
    path = root / INDEX
    try:
        index = json.loads(path.read_text())
        _refuse_regions(path, index["labels"])
        labels = _label_names(index["labels"])
        modalities = tuple(str(name) for _, name in sorted(_channels(index).items(), key=lambda item: int(item[0])))
        pairs = (
            [(str(case["image"]), str(case["label"])) for case in index["training"]] if "training" in index else None
        )
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: broken ({error!r}); expected the Decathlon's layout or nnU-Net's") from None
    ignored = next((value for value, name in labels.items() if name.lower() == _IGNORE), None)
    labels = {value: name for value, name in labels.items() if value != ignored}
    if sorted(labels) != list(range(len(labels))) or len(labels) < 2:
        raise InputError(f"{path}: labels {sorted(labels)}; expected 0 (background), 1, 2, ... without a gap")
    described: dict[str, Any] = {
        "name": str(index.get("name", root.name)),
        "licence": str(index.get("licence", index.get("license", ""))),
        "attribution": str(index.get("reference", "")),
        "modalities": modalities,
        "indexed_labels": tuple(labels[value] for value in range(1, len(labels))),
        "ignored": ignored,
    }
    if pairs is None:
        inside = _pair_of_folders(root) or _PAIRS[-1]
        return _open_plain(root, root / inside[0], root / inside[1], described)
    return _folder(root, [_listed_case(root, *pair) for pair in pairs], described)


def _pair_of_folders(root: Path) -> tuple[str, str] | None:
    """Names of the folders of images and labels, the first pair of which the images are there."""
    return next((pair for pair in _PAIRS if (root / pair[0]).is_dir()), None)


def _refuse_regions(path: Path, labels: dict[str, Any]) -> None:
    regions = [str(name) for name, value in labels.items() if isinstance(value, list | tuple)]
    if regions:
        raise InputError(
            f"{path}: region-based labels ({', '.join(regions)} each made of several values) are not supported: here a "
            'voxel has one label; name each value instead, as in {"edema": 1, "core": 2}, and leave '
            "regions_class_order away (a region is the sum of its labels)"
        )


def _label_names(labels: dict[str, Any]) -> dict[int, str]:
    """Value to name, from MSD's {"1": "liver"} or nnU-Net's {"liver": 1}."""
    if all(key.isdigit() for key in labels):
        return {int(value): str(name) for value, name in labels.items()}
    return {int(value): name for name, value in labels.items()}


def _channels(index: dict[str, Any]) -> dict[str, Any]:
    channels = index["channel_names"] if "channel_names" in index else index["modality"]
    return dict(channels.items())


def _listed_case(root: Path, image: str, label: str) -> CasePaths | BrokenCase:
    """A case of MSD's list; nnU-Net's first version lists NAME.nii.gz where the files are NAME_0000.nii.gz and on."""
    images: tuple[Path, ...] = (root / image,)
    labels, name = root / label, image_name(images[0])
    if not images[0].is_file():
        suffix = images[0].name[len(name) :]
        images = tuple(sorted(images[0].parent.glob(f"{name}_[0-9][0-9][0-9][0-9]{suffix}"))) or images
    missing = [path.name for path in (*images, labels) if not path.is_file()]
    if missing:
        return BrokenCase(name, f"{len(missing)} listed files are not there, the first {missing[0]}")
    return _complete(name, images, labels)


def _open_plain(root: Path, images: Path, labels: Path, described: dict[str, Any]) -> DataFolder:
    """Pair the files of two folders by name."""
    for folder in (images, labels):
        if not folder.is_dir() or not any(is_image(path) for path in folder.iterdir()):
            kinds = ", ".join(SUFFIXES)
            raise InputError(f"{root}: no {folder.name}: {folder.name}/ is not there or holds no file of {kinds}")
    label_files = _by_name(labels)
    image_files = _by_name(images)
    # A name that ends in four digits is a case of its own where labels bear the same name.
    alone = {name for name in image_files if name in label_files or channel_of(name) is None}
    studies = group_channels(path for name, path in image_files.items() if name not in alone)
    if both := alone & studies.keys():
        raise InputError(f"{images}: {min(both)} is there both with and without a channel number; keep one")
    studies |= {name: (image_files[name],) for name in alone}
    found: list[CasePaths | BrokenCase] = []
    for name in sorted(studies.keys() | label_files.keys()):
        if name not in label_files:
            found.append(BrokenCase(name, f"no labels: {labels.name}/ holds no file of its name"))
        elif name not in studies:
            found.append(BrokenCase(name, f"no image: {images.name}/ holds no file of its name"))
        else:
            found.append(_complete(name, studies[name], label_files[name]))
    if not studies.keys() & label_files.keys():
        raise InputError(f"{root}: no image has labels; name the files of {images.name}/ and {labels.name}/ alike")
    return _folder(root, found, {"name": root.resolve().name} | described)


def _folder(root: Path, found: list[CasePaths | BrokenCase], described: dict[str, Any]) -> DataFolder:
    ignored = described.pop("ignored", None)
    cases = tuple(dataclasses.replace(case, ignored=ignored) for case in found if isinstance(case, CasePaths))
    broken = tuple(case for case in found if isinstance(case, BrokenCase))
    return DataFolder(root=root, cases=cases, broken=broken, **described)


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_image(path) and files.setdefault(image_name(path), path) != path:
            raise InputError(f"{folder}: {files[image_name(path)].name} and {path.name} bear one name; keep one")
    return files


def _complete(name: str, images: tuple[Path, ...], labels: Path) -> CasePaths | BrokenCase:
    """The case, unless the numbers of its channel files have a gap."""
    numbered = [channel_of(image_name(path)) for path in images]
    numbers = [found[1] for found in numbered if found is not None and found[0] == name]
    if numbers and numbers != list(range(len(numbers))):
        found = ", ".join(f"{number:04d}" for number in numbers)
        return BrokenCase(name, f"channel files {found} found, expected 0000, 0001, ... without a gap")
    return CasePaths(name, images, labels)
