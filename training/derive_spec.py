"""The spec that follows from a fingerprint, each choice with its reason, and what a user decides otherwise.

plane       slices lie across the axis of the thickest voxels, so that pixels are fine; sagittal where voxels are cubes
context     neighbours up to 6 mm away: 7 slices of 1 to 2 mm, 5 of 3 mm, 3 of 4 mm and more, 1 where there are none
spacing     the median within the plane, coarser where the largest case would not fit the network's input
intensity   CT: a window over the labelled voxels (0.5 to 99.5 %, as nnU-Net: Isensee et al.,
            doi 10.1038/s41592-020-01008-z); everything else: z-score of each volume
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

import numpy as np

from imaging import Code, Label, ModelSpec, Window, ZScore, plane_axes
from imaging.resample import AxisMap
from imaging.spec import Plane
from swinunet.errors import InputError
from training.choices import SpecChoices, make_spec
from training.fingerprint import CaseFacts, Fingerprint
from training.folders import BrokenCase

_COLORS = ((230, 80, 60), (70, 150, 240), (250, 200, 60), (90, 200, 120), (190, 110, 220), (240, 140, 40))
_TISSUE = Code("85756007", "SCT", "Tissue")  # CID 7191: the property type where a data set names no other
_ANISOTROPIC = 1.25  # thickest to thinnest edge of a voxel, beyond which it is no cube
_CONTEXT_MM = 6.0
_TO_SPARE = 1.02  # of the field of view, where it follows from the largest case
_AIR_HU = -500.0  # no other modality has values as low as air's on CT


@dataclass(frozen=True)
class Derived:
    """A spec, and why each of its fields is what it is."""

    spec: ModelSpec
    reasons: dict[str, str]


def derive_spec(found: Fingerprint, input_size: tuple[int, int], choices: SpecChoices | None = None) -> Derived:
    """The spec for the usable cases of `found` and a network of `input_size` (H, W).

    Raises InputError if no case is usable, or a choice cannot be.
    """
    if not found.cases:
        raise InputError(f"{found.folder.root}: no usable case, so no model follows from it")
    choices = choices or SpecChoices()
    flat = all(min(case.size) == 1 for case in found.cases)
    modality, modality_why = _modality(found)
    plane, plane_why = (choices.planes[0], "") if choices.planes else _plane(found, flat)
    context, context_why = _context(found, plane, flat)
    spacing, spacing_why = _spacing(found, plane, input_size)
    intensity, intensity_why = _intensity(found.cases, choices.modality or modality)
    names = tuple(f"{each}" for each in found.folder.modalities)
    if len(names) != found.modalities:
        names = tuple(f"channel_{index}" for index in range(found.modalities))
    spec = make_spec(
        {
            "name": "swin_unet_" + re.sub(r"[^a-z0-9]", "_", found.folder.name.lower()),
            "version": 1,
            "modality": modality,
            "body_part": "",
            "plane": plane,
            "context_slices": context,
            "context_step_mm": round(found.spacing_mm()[plane_axes(plane)[0]], 3),
            "input_size": input_size,
            "spacing_mm": spacing,
            "intensity": intensity,
            "labels": labels_named(found.label_names),
            "modalities": names if found.modalities > 1 else (),
        }
    )
    reasons = {
        "modality": modality_why,
        "plane": plane_why,
        "context": context_why,
        "spacing": spacing_why,
        "intensity": intensity_why,
    }
    return Derived(choices.applied(spec), reasons | dict.fromkeys(choices.said(), "chosen"))


def labels_named(names: tuple[str, ...]) -> tuple[Label, ...]:
    """Labels 1, 2, ... of these names, coded as tissue, each with a colour."""
    return tuple(
        Label(index=index, name=name, color=_COLORS[(index - 1) % len(_COLORS)], type=_TISSUE)
        for index, name in enumerate(names, start=1)
    )


def too_large(found: Fingerprint, spec: ModelSpec) -> list[BrokenCase]:
    """Usable cases whose slices do not fit the spec's field of view."""
    if spec.spacing_mm is None or spec.larger_slices == "middle":
        return []
    view = " x ".join(f"{n * mm:.0f}" for n, mm in zip(spec.input_size, spec.spacing_mm, strict=True))
    planes = " or ".join(spec.planes)
    return [
        BrokenCase(case.name, f"its {planes} slices do not fit the model's field of view of {view} mm")
        for case in found.cases
        if not all(_fits(case, plane, spec.spacing_mm, spec.input_size) for plane in spec.planes)
    ]


def size_hint(found: Fingerprint, spec: ModelSpec) -> str:
    """A remark where the largest case fills less than half of the network's input each way; else empty."""
    if spec.spacing_mm is None:
        return ""
    _, row, column = plane_axes(spec.plane)
    largest = found.extents_mm().max(axis=0)
    pixels = [int(np.ceil(largest[axis] / mm)) for axis, mm in zip((row, column), spec.spacing_mm, strict=True)]
    height, width = spec.input_size
    if 2 * pixels[0] > height or 2 * pixels[1] > width:
        return ""
    return (
        f"the largest slice fills {pixels[0]} x {pixels[1]} of {height} x {width} pixels: a recipe of a smaller input, "
        "or a finer --spacing, makes more of them"
    )


def _modality(found: Fingerprint) -> tuple[str, str]:
    """DICOM's term, and where it comes from."""
    if found.folder.modality:
        return found.folder.modality, "dataset.json"
    if any(path.suffix.lower() == ".png" for case in found.folder.cases for path in case.images):
        return "OT", "PNG says nothing of it"
    if np.median([case.intensities[0][0] for case in found.cases]) < _AIR_HU:
        return "CT", "guessed: values as low as air's in HU; --modality if it is not"
    return "MR", "guessed: no values as low as air's in HU; --modality if it is not"


def _plane(found: Fingerprint, flat: bool) -> tuple[Plane, str]:
    planes: tuple[Plane, ...] = get_args(Plane)  # of the L, P and S axis
    if flat:
        axis = int(np.argmin([sum(case.size[axis] for case in found.cases) for axis in range(3)]))
        return planes[axis], "single slices"
    spacing = found.spacing_mm()
    if max(spacing) < _ANISOTROPIC * min(spacing):
        return "sagittal", "voxels are near to cubes"
    return planes[int(np.argmax(spacing))], f"slices lie {max(spacing):g} mm apart, pixels {min(spacing):g} mm"


def _context(found: Fingerprint, plane: Plane, flat: bool) -> tuple[int, str]:
    if flat:
        return 1, "single slices"
    step = found.spacing_mm()[plane_axes(plane)[0]]
    half = int(np.clip(_CONTEXT_MM // step, 1, 3))
    return 2 * half + 1, f"slices lie {step:g} mm apart"


def _spacing(found: Fingerprint, plane: Plane, input_size: tuple[int, int]) -> tuple[tuple[float, float] | None, str]:
    """(row, column) mm, or None to stretch."""
    _, row, column = plane_axes(plane)
    sizes = {(case.size[row], case.size[column]) for case in found.cases}
    if len(sizes) > 1 and all(path.suffix.lower() == ".png" for case in found.folder.cases for path in case.images):
        return None, "PNGs of different sizes: every slice is stretched to the input"
    median = found.spacing_mm()
    native = round(median[row], 4), round(median[column], 4)
    if all(_fits(case, plane, native, input_size) for case in found.cases):
        return native, "median within the plane"
    largest = found.extents_mm().max(axis=0)
    coarser = _TO_SPARE * max(
        largest[axis] / (pixels * mm) for axis, pixels, mm in zip((row, column), input_size, native, strict=True)
    )
    spacing = round(native[0] * coarser, 4), round(native[1] * coarser, 4)
    return spacing, f"{coarser:.2f} times the median, so that the largest case fits the input"


def _fits(case: CaseFacts, plane: Plane, spacing_mm: tuple[float, float], input_size: tuple[int, int]) -> bool:
    """Whether a slice of the case lies whole on the network's input, as SliceSampler would place it."""
    _, *axes = plane_axes(plane)
    return all(
        AxisMap.centre(case.size[axis], case.spacing_mm[axis], pixels, mm).fits
        for axis, pixels, mm in zip(axes, input_size, spacing_mm, strict=True)
    )


def _intensity(cases: tuple[CaseFacts, ...], modality: str) -> tuple[Window | ZScore, str]:
    if modality != "CT":
        return ZScore(), f"{modality}: each volume on its own"
    low, high = np.percentile(np.concatenate([case.samples for case in cases]), [0.5, 99.5])
    if high - low < 1:
        return ZScore(), "labelled voxels are all alike"
    return Window(float(np.floor(low)), float(np.ceil(high))), "0.5 to 99.5 % of labelled voxels (HU)"
