"""Real slices for parity and the canary: from the user's images, or from the MNI152 brain where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demo.mni152 import read_mni152
from imaging import ModelSpec, SliceSampler, Volume, plane_spacing_mm, read_nifti
from swinunet.errors import InputError

MAX_VOLUMES = 4


def sample_slices(spec: ModelSpec, data: Path | None) -> np.ndarray:
    """Preprocessed slices of real images: float16 [N, C, H, W].

    data: a NIfTI file, or a folder of them (searched recursively, in name order, the first few taken; label folders
    are passed over); None takes the MNI152 T1 template. A volume larger than the field of view is cropped around its
    centre. Raises InputError if there is no image.
    """
    volumes = [read_mni152()] if data is None else [read_nifti(path) for path in _images(data)]
    samplers = [SliceSampler(_centre(volume, spec), spec) for volume in volumes]
    return np.concatenate([sampler.batch(0, len(sampler)) for sampler in samplers])


def _images(data: Path) -> list[Path]:
    if data.is_file():
        return [data]
    found = [path for path in sorted(data.rglob("[!.]*.nii*")) if "label" not in path.parent.name.lower()]
    if not found:
        raise InputError(f"{data}: no NIfTI image in it; parity needs real slices (or leave --data away)")
    return found[:MAX_VOLUMES]


def _centre(volume: Volume, spec: ModelSpec) -> Volume:
    """The central part of `volume` that the network can see, in LPS order."""
    view = volume.lps_view()
    if spec.spacing_mm is None:
        return view
    _, row_mm, column_mm = plane_spacing_mm(view, spec.plane)
    seen_mm = {"rows": spec.input_size[0] * spec.spacing_mm[0], "columns": spec.input_size[1] * spec.spacing_mm[1]}
    limit = min(seen_mm.values())
    ranges = []
    for length, spacing in zip(view.shape, view.spacing_mm, strict=True):
        wanted = min(length, int(limit / max(spacing, row_mm, column_mm)))
        start = (length - wanted) // 2
        ranges.append(slice(start, start + wanted))
    return view.crop((ranges[0], ranges[1], ranges[2]))
