"""Small labelled data sets for tests: the same cases, written in any layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from swinunet.imaging import Volume, write_nifti

SHAPE = (24, 26, 6)
LABELS = {"0": "background", "1": "bright", "2": "dark"}


@dataclass(frozen=True, eq=False)
class Made:
    """A case. modalities: float32 [I, J, K] each; labels: uint8 [I, J, K]; affine: 4x4, voxel index to LPS mm."""

    modalities: tuple[np.ndarray, ...]
    labels: np.ndarray
    affine: np.ndarray


def make_cases(
    count: int = 4,
    modalities: int = 1,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    seed: int = 0,
) -> dict[str, Made]:
    """A bright and a dark box on noise; each further modality is ten times brighter."""
    random = np.random.default_rng(seed)
    cases = {}
    for index in range(count):
        image = random.normal(100, 10, shape).astype(np.float32).clip(1, 250)
        labels = np.zeros(shape, np.uint8)
        for value, (level, start) in enumerate(((220, 4), (10, 14)), start=1):
            at = start + int(random.integers(0, 4))
            image[at : at + 6, 6:16] = level
            labels[at : at + 6, 6:16] = value
        volumes = tuple(image.round() * 10.0**channel for channel in range(modalities))
        cases[f"case_{index}"] = Made(volumes, labels, np.diag([*spacing_mm, 1.0]))
    return cases


def put(voxels: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write one NIfTI file, of three axes or four, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if voxels.ndim == 3:
        write_nifti(Volume(voxels, affine), path)
        return
    import nibabel as nib

    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine), path)


def write_index(root: Path, **said: object) -> None:
    """Write or change `dataset.json`."""
    path = root / "dataset.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | said))


def write_msd(root: Path, cases: Mapping[str, Made], modality: Mapping[str, str] | None = None) -> Path:
    """The Decathlon's layout; several modalities along the fourth axis."""
    for name, case in cases.items():
        image = np.stack(case.modalities, axis=-1) if len(case.modalities) > 1 else case.modalities[0]
        put(image, case.affine, root / "imagesTr" / f"{name}.nii.gz")
        put(case.labels, case.affine, root / "labelsTr" / f"{name}.nii.gz")
    listed = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in cases]
    write_index(root, name="Blob", modality=modality or {"0": "MRI"}, labels=LABELS, training=listed)
    return root


def write_plain(root: Path, cases: Mapping[str, Made], suffix: str = ".nii.gz", numbered: bool = False) -> Path:
    """images/ and labels/; a file for each modality where they are numbered."""
    for name, case in cases.items():
        if numbered:
            for channel, image in enumerate(case.modalities):
                put(image, case.affine, root / "images" / f"{name}_{channel:04d}{suffix}")
        else:
            image = np.stack(case.modalities, axis=-1) if len(case.modalities) > 1 else case.modalities[0]
            put(image, case.affine, root / "images" / f"{name}{suffix}")
        put(case.labels, case.affine, root / "labels" / f"{name}{suffix}")
    return root


def write_nnunet(root: Path, cases: Mapping[str, Made], first_version: bool = False) -> Path:
    """nnU-Net's layouts: of version 2 (no list), or of version 1 (a list that leaves the channel numbers away)."""
    for name, case in cases.items():
        for channel, image in enumerate(case.modalities):
            put(image, case.affine, root / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
        put(case.labels, case.affine, root / "labelsTr" / f"{name}.nii.gz")
    names = {str(channel): f"M{channel}" for channel in range(len(next(iter(cases.values())).modalities))}
    if first_version:
        listed = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in cases]
        write_index(root, name="Blob", modality=names, labels=LABELS, training=listed)
    else:
        values = {name: int(value) for value, name in LABELS.items()}
        write_index(root, channel_names=names, labels=values, numTraining=len(cases), file_ending=".nii.gz")
    return root


def write_png(
    root: Path, cases: Mapping[str, Made], to_labels: Callable[[np.ndarray], np.ndarray] | None = None
) -> Path:
    """Cases of one slice as PNG: rows are the second array axis. Three modalities become colours."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, case in cases.items():
        pixels = np.stack([image[..., 0].T for image in case.modalities], axis=-1) % 256
        Image.fromarray(pixels.squeeze().astype(np.uint8)).save(root / "images" / f"{name}.png")
        labels = case.labels[..., 0].T
        Image.fromarray(to_labels(labels) if to_labels else labels).save(root / "labels" / f"{name}.png")
    return root
