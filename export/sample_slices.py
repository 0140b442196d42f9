"""Real slices for parity and the canary: from the user's images, or from the MNI152 brain where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, PlaneSlices, Volume, plane_spacing_mm, read_study
from swinunet.imaging.study import group_channels, is_image
from swinunet.samples.mni152 import read_mni152

MAX_VOLUMES = 4


def sample_slices(spec: ModelSpec, data: Path | None) -> np.ndarray:
    """Preprocessed slices of `sample_studies`: float16 [N, C, H, W]."""
    samplers = [PlaneSlices(study, spec) for study in sample_studies(spec, data)]
    return np.concatenate([sampler.batch(0, len(sampler)) for sampler in samplers])


def sample_studies(spec: ModelSpec, data: Path | None, *, assume_ras: bool = False) -> list[tuple[Volume, ...]]:
    """Real studies, a volume for each modality of the spec; one larger than the field of view is cropped to its centre.

    data: an image (NIfTI or PNG), or a folder of them (searched recursively, in name order, the first few studies
    taken; label folders are passed over; files that differ in `_0000` only are one study); None takes the MNI152 T1
    template, for each modality. assume_ras: as in `read_nifti`. Raises InputError if there is no image, or a study has
    not the spec's modalities.
    """
    if data is None:
        studies = [(read_mni152(),) * spec.num_modalities]
    else:
        studies = [read_study(files, spec.pixel_mm, assume_ras=assume_ras) for files in _studies(data)]
    return [tuple(_centre(volume, spec) for volume in study) for study in studies]


def _studies(data: Path) -> list[tuple[Path, ...]]:
    if not data.exists():
        raise InputError(f"{data}: no such file or folder; parity needs real slices (or leave --data away)")
    if data.is_file() and is_image(data):
        return [(data,)]
    images = [path for path in sorted(data.rglob("*")) if is_image(path) and "label" not in path.parent.name.lower()]
    if not images:
        raise InputError(f"{data}: no NIfTI image (nor a PNG); parity needs real slices (or leave --data away)")
    return list(group_channels(images).values())[:MAX_VOLUMES]


def _centre(volume: Volume, spec: ModelSpec) -> Volume:
    """The central part of `volume` that the network can see, in LPS order."""
    view = volume.lps_view()
    if spec.spacing_mm is None:
        return view
    _, row_mm, column_mm = plane_spacing_mm(view, spec.plane)
    limit = min(pixels * mm for pixels, mm in zip(spec.input_size, spec.spacing_mm, strict=True))
    ranges = []
    for length, spacing in zip(view.shape, view.spacing_mm, strict=True):
        wanted = min(length, int(limit / max(spacing, row_mm, column_mm)))
        start = (length - wanted) // 2
        ranges.append(slice(start, start + wanted))
    return view.crop((ranges[0], ranges[1], ranges[2]))
