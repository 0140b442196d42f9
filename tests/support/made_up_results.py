"""Results that no model made: any mask on any volume, with its measurements and flags."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from result_samples import LABELS, SPEC

from swinunet.client.dicom import DicomVolume
from swinunet.client.inputs import LoadedInput
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.result import Result
from swinunet.client.rois import Roi
from swinunet.client.segmentation import Segmentation
from swinunet.client.segments import make_segments, measure
from swinunet.client.triton import Exchange
from swinunet.imaging import Volume


def made_up_result(
    volume: Volume | None = None,
    mask: np.ndarray | None = None,
    *,
    dicom: DicomVolume | None = None,
    rois: tuple[Roi, ...] = (),
    passed_over: tuple[str, ...] = (),
    names: tuple[str, str] | None = None,
    identified: bool = False,
    formats: tuple[str, ...] | None = None,
) -> Result:
    """A result of the hippocampus model's labels, or of two labels of these names."""
    volume = volume or Volume(np.random.default_rng(0).integers(0, 99, (24, 20, 16)).astype(np.int16), np.eye(4))
    mask = np.zeros(volume.shape, np.uint8) if mask is None else mask
    segments = make_segments(LABELS)
    if names:
        segments = tuple(dataclasses.replace(each, text=name) for each, name in zip(segments, names, strict=True))
    measurements = measure(mask, segments, volume.voxel_ml, volume.voxels)
    seconds = {"preprocess": 0.2, "inference": 1.5}
    found = Segmentation(volume, SPEC, rois, mask, segments, measurements, None, seconds, Exchange(), "")
    loaded = LoadedInput(Path("exam"), (volume,), dicom, 0.1, passed_over=passed_over)
    return Result(loaded, found, OutputOptions(formats, identified=identified), "exam")
