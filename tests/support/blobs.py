"""A data set that a tiny network learns in seconds, and the spec for it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from small_model import SMALL_SPEC

from swinunet.imaging import Code, Label, Volume, write_nifti

SPEC = dataclasses.replace(
    SMALL_SPEC,
    name="blob",
    body_part="",
    plane="axial",
    context_slices=3,
    labels=(
        Label(1, "bright", (255, 0, 0), Code("85756007", "SCT", "Tissue")),
        Label(2, "dark", (0, 0, 255), Code("85756007", "SCT", "Tissue")),
    ),
)


def write_blobs(root: Path) -> Path:
    """Six small cases: a bright and a dark ball on noise, which a network must find."""
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (24, 26, 10)], indexing="ij"), axis=-1)
    listed = []
    for case in range(6):
        image = random.normal(100, 10, grid.shape[:3]).astype(np.float32)
        labels = np.zeros(grid.shape[:3], np.uint8)
        for index, value in ((1, 220), (2, 10)):
            centre = random.uniform(6, 18, 3) * (1, 1, 0.4)
            ball = ((grid - centre) ** 2).sum(axis=-1) < 16
            image[ball], labels[ball] = value + random.normal(0, 5, int(ball.sum())), index
        for folder, voxels in (("imagesTr", image), ("labelsTr", labels)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            write_nifti(Volume(voxels, np.eye(4)), root / folder / f"blob_{case}.nii.gz")
        listed.append({"image": f"./imagesTr/blob_{case}.nii.gz", "label": f"./labelsTr/blob_{case}.nii.gz"})
    said = {
        "name": "Blob",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "bright", "2": "dark"},
        "training": listed,
    }
    (root / "dataset.json").write_text(json.dumps(said))
    return root
