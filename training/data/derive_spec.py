"""The spec that follows from a fingerprint, each choice with its reason, unless the user overrides it.

plane       slices lie across the axis of the thickest voxels, so that pixels are fine; sagittal where voxels are cubes
context     neighbours up to 6 mm away: 7 slices of 1 to 2 mm, 5 of 3 mm, 3 of 4 mm and more, 1 where there are none
spacing     the median within the plane, coarser where the largest case would not fit the network's input
intensity   CT: a window over the labelled voxels (0.5 to 99.5 %, as nnU-Net: Isensee et al.,
            doi 10.1038/s41592-020-01008-z); PET: z-score of each volume, not clipped, for a lesion may be smaller than
            any percentile; everything else: z-score of each volume; of each slice where the cases are single slices,
            so that a series is later read as the training slices were. Of several modalities, each by its own name
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.imaging import Code, Label, ModelSpec, Window, ZScore, plane_axes
from swinunet.imaging.resample import AxisMap
from swinunet.imaging.spec import AnatomicalPlane, Plane
from swinunet.training.data.fingerprint import CaseFacts, Fingerprint
from swinunet.training.data.folders import BrokenCase, dicom_modality
from swinunet.training.data.spec_overrides import SpecOverrides, make_spec

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


def derive_spec(found: Fingerprint, input_size: tuple[int, int], overrides: SpecOverrides | None = None) -> Derived:
    """The spec for the usable cases of `found` and a network of `input_size` (H, W).

    Raises InputError if no case is usable, or an override is not allowed.
    """
    if not found.cases:
        raise InputError(f"{found.folder.root}: no usable case, so no model follows from it")
    overrides = overrides or SpecOverrides()
    flat = all(min(case.size) == 1 for case in found.cases)
    modality, modality_why = _modality(found)
    plane, plane_why = (overrides.planes[0], "") if overrides.planes else _plane(found, flat)
    context, context_why = _context(found, plane, flat)
    spacing, spacing_why = _spacing(found, plane, input_size)
    intensities, intensity_why = _intensities(found, overrides.modality or modality, flat)
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
            "intensity": intensities[0],
            "intensities": intensities if len(set(intensities)) > 1 else (),
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
    return Derived(overrides.applied_to(spec), reasons | dict.fromkeys(overrides.overridden(), "chosen"))


def plain_spec(label_names: tuple[str, ...]) -> ModelSpec:
    """The least that can be said of a model: its labels. Axial slices, one at a time, stretched to the input; z-score.

    Raises InputError if no label is named.
    """
    if not label_names:
        raise InputError("no label is named; give the classes without the background, as liver,spleen")
    return make_spec(
        {
            "name": "swin_unet",
            "version": 1,
            "modality": "OT",
            "body_part": "",
            "plane": "axial",
            "context_slices": 1,
            "context_step_mm": 1.0,
            "input_size": (1, 1),
            "spacing_mm": None,
            "intensity": ZScore(),
            "labels": labels_named(label_names),
        }
    )


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


def slices_hint(found: Fingerprint, spec: ModelSpec) -> str:
    """A remark where cases are single slices and the spec normalises volumes: a series would be read otherwise."""
    of_volumes = any(isinstance(rule, ZScore) and rule.per == "volume" for rule in spec.intensity_rules)
    if not of_volumes or not all(min(case.size) == 1 for case in found.cases):
        return ""
    return (
        "the cases are single slices, so each is normalised on its own, and the spec normalises whole volumes: a "
        'series of several slices will be read otherwise than in training; "per": "slice" in the spec mends it'
    )


def _modality(found: Fingerprint) -> tuple[str, str]:
    """DICOM's term, and where it comes from."""
    if found.folder.modality:
        return found.folder.modality, "dataset.json"
    if any(path.suffix.lower() == ".png" for case in found.folder.cases for path in case.images):
        return "OT", "PNG says nothing of it"
    if _has_air(found, 0):
        return "CT", "guessed: values as low as air's in HU; --modality if it is not"
    return "MR", "guessed: no values as low as air's in HU; --modality if it is not"


def _has_air(found: Fingerprint, at: int) -> bool:
    """Whether the images of the modality numbered `at` hold values as low as air's in HU."""
    return float(np.median([case.intensities[at][0] for case in found.cases])) < _AIR_HU


def _plane(found: Fingerprint, flat: bool) -> tuple[Plane, str]:
    planes: tuple[AnatomicalPlane, ...] = get_args(AnatomicalPlane)  # of the L, P and S axis
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
    """Whether a slice of the case lies whole on the network's input, as PlaneSlices would place it."""
    _, *axes = plane_axes(plane)
    return all(
        AxisMap.centre(case.size[axis], case.spacing_mm[axis], pixels, mm).fits
        for axis, pixels, mm in zip(axes, input_size, spacing_mm, strict=True)
    )


def _intensities(found: Fingerprint, first: str, flat: bool) -> tuple[tuple[Window | ZScore, ...], str]:
    """The rule of each modality, and why. first: DICOM's term for the first of them. flat: cases are single slices."""
    terms = [first]
    for at in range(1, found.modalities):
        named = at < len(found.folder.modalities)
        guessed = "CT" if _has_air(found, at) else "MR"
        terms.append(dicom_modality(found.folder.modalities[at]) if named else guessed)
    rules, reasons = zip(*(_intensity(found.cases, at, term, flat) for at, term in enumerate(terms)), strict=True)
    return rules, "; ".join(dict.fromkeys(reasons))


def _intensity(cases: tuple[CaseFacts, ...], at: int, modality: str, flat: bool) -> tuple[Window | ZScore, str]:
    """The rule of the modality numbered `at`, and why."""
    per: Literal["volume", "slice"] = "slice" if flat else "volume"
    if modality == "PT":
        return ZScore(low_percentile=0, high_percentile=100, per=per), f"PT: each {per} on its own, not clipped"
    if modality != "CT":
        return ZScore(per=per), f"{modality}: each {per} on its own"
    low, high = np.percentile(np.concatenate([case.samples[at] for case in cases]), [0.5, 99.5])
    if high - low < 1:
        return ZScore(per=per), "CT: labelled voxels are all alike"
    return Window(float(np.floor(low)), float(np.ceil(high))), "CT: 0.5 to 99.5 % of labelled voxels (HU)"
