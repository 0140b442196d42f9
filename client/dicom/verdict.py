"""Whether the frames of one series make a volume, and if not, why: a typed verdict and a sentence with the numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from swinunet.client.dicom.files import Frame, ImageFile
from swinunet.client.dicom.geometry import (
    COSINE_TOLERANCE,
    DUPLICATE_TOLERANCE_MM,
    SPACING_TOLERANCE,
    normal_of,
    order_along_normal,
    positions_of,
    thickness_of,
)
from swinunet.client.dicom.phases import Phase
from swinunet.client.dicom.sheets import holds_sheets
from swinunet.imaging.volume import VOXEL_MM

UNIT_TOLERANCE = 1e-2  # departure of the cosines from unit length and from a right angle
TILT_TOLERANCE_DEG = 0.5  # angle between the stack and the normal that header rounding may explain
ALLOWANCES = ("gap", "tilted", "variable_spacing")  # verdicts that a user may overrule
EVENNESS_TOLERANCE = 0.1  # departure of a slice from even spacing, in slice steps; or, if that is more,
ROUNDING_MM = 0.1  # what scanners that write positions with one decimal need
MISSING_RATIO = 1.6  # a step this many times the usual one lacks a slice, however thin the slices
_PLACE: dict[str, Callable[[Frame], object]] = {  # without which a frame has no place in the patient
    "ImagePositionPatient": lambda frame: frame.position_mm,
    "ImageOrientationPatient": lambda frame: frame.orientation,
    "PixelSpacing": lambda frame: frame.pixel_spacing_mm,
}
_EXPECTED_MM = f"expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm"


class VerdictKind(StrEnum):
    """What a series is. Only the first two are read as a volume, the last three if they are allowed by name."""

    OK = "ok"
    SINGLE_SLICE = "single_slice"
    UNREADABLE = "unreadable"
    CONFLICTING_COPIES = "conflicting_copies"
    COLOUR = "colour"
    MOSAIC = "mosaic"
    MIXED_SIZE = "mixed_size"
    MIXED_SPACING = "mixed_spacing"
    MIXED_ORIENTATION = "mixed_orientation"
    NOT_A_VOLUME = "not_a_volume"
    DUPLICATE_POSITIONS = "duplicate_positions"
    GAP = "gap"
    TILTED = "tilted"
    VARIABLE_SPACING = "variable_spacing"


@dataclass(frozen=True)
class Verdict:
    """kind: the type. sentence: the numbers behind it, and for a refusal what to do.

    needs: what must be allowed to read it all the same, of ALLOWANCES; empty if nothing must, or helps.
    """

    kind: VerdictKind
    sentence: str
    needs: frozenset[str] = frozenset()

    @property
    def usable(self) -> bool:
        """Whether `read_volume` reads it with nothing allowed."""
        return self.kind in (VerdictKind.OK, VerdictKind.SINGLE_SLICE)

    def readable(self, allow: Collection[str] = ()) -> bool:
        """Whether `read_volume` reads it if what is in `allow` is allowed."""
        return self.usable or (bool(self.needs) and self.needs <= set(allow))


def judge(files: Sequence[ImageFile], frames: Sequence[Frame]) -> tuple[Verdict, tuple[Frame, ...]]:
    """The verdict on a series, and its frames ordered along the normal (in file order if they have no geometry)."""
    found = _pixel_verdict(files, frames) or _plane_verdict(frames)
    if found:
        return found, tuple(frames)
    ordered = order_along_normal(frames)
    verdict = _stack_verdict(ordered)
    if any(file.is_inverted for file in files):
        verdict = replace(verdict, sentence=f"{verdict.sentence}; MONOCHROME1: values are turned round")
    if lacks := list(dict.fromkeys(name for file in files for name in file.lacks)):
        verdict = replace(
            verdict, sentence=f"{verdict.sentence}; no {' and no '.join(lacks)}: no DICOM SEG or SR of it"
        )
    return verdict, ordered


def _pixel_verdict(files: Sequence[ImageFile], frames: Sequence[Frame]) -> Verdict | None:
    """Refusals for what the pixels are."""
    broken = [file for file in files if file.fault]
    if broken:
        rest = f" ({len(broken)} of {len(files)} files are unreadable)" if len(broken) > 1 else ""
        return Verdict(
            VerdictKind.UNREADABLE, f"{broken[0].name}: {broken[0].fault}{rest}; fetch or export the series again"
        )
    colour = next((file for file in files if file.is_colour), None)
    if colour:
        return Verdict(
            VerdictKind.COLOUR,
            f"colour image ({colour.photometric}, {colour.samples_per_pixel} samples per pixel), expected grey values "
            "(MONOCHROME2); choose the series it was made from",
        )
    if sheet := holds_sheets(files, frames):
        return Verdict(
            VerdictKind.MOSAIC,
            f"{sheet}: each image is a sheet of many small slices, whose places only private elements give; "
            "export the series from the scanner as enhanced MR, or one slice a file",
        )
    if len(modalities := sorted({file.modality for file in files})) > 1:
        listed = ", ".join(modality or "none" for modality in modalities)
        return Verdict(VerdictKind.NOT_A_VOLUME, f"slices of {len(modalities)} modalities ({listed}), expected one")
    if len({file.is_inverted for file in files}) > 1:
        return Verdict(
            VerdictKind.NOT_A_VOLUME, "slices of which some are MONOCHROME1 and some MONOCHROME2, expected one kind"
        )
    sizes = sorted({(file.columns, file.rows) for file in files})
    if len(sizes) > 1:
        listed = ", ".join(f"{columns} x {rows}" for columns, rows in sizes[:4])
        return Verdict(VerdictKind.MIXED_SIZE, f"slices of {len(sizes)} sizes ({listed} pixels), expected one")
    return None


def _plane_verdict(frames: Sequence[Frame]) -> Verdict | None:
    """Refusals for what single planes say, and for planes that do not share orientation and spacing."""
    lacking = [[name for name, value in _PLACE.items() if not value(frame)] for frame in frames]
    if any(lacking):
        missing = [name for name in _PLACE if any(name in names for names in lacking)]
        return Verdict(
            VerdictKind.NOT_A_VOLUME,
            f"{sum(map(bool, lacking))} of {len(frames)} frames do not say where they lie in the patient (missing: "
            f"{', '.join(missing)}), expected CT, MR or PET slices; is it a projection or a photograph?",
        )
    references = {frame.file.frame_of_reference_uid for frame in frames}
    if len(references) > 1 and not _says_nothing(references, frames):
        return Verdict(VerdictKind.NOT_A_VOLUME, f"frames in {len(references)} frames of reference, expected one")
    spacing = np.array([frame.pixel_spacing_mm for frame in frames])
    for mm in (spacing.min(), spacing.max()):
        if not VOXEL_MM[0] <= mm <= VOXEL_MM[1]:
            return Verdict(VerdictKind.NOT_A_VOLUME, f"a pixel spacing of {mm:g} mm, {_EXPECTED_MM}")
    if (np.ptp(spacing, axis=0) > SPACING_TOLERANCE * spacing.min(axis=0)).any():
        low, high = spacing.min(axis=0), spacing.max(axis=0)
        return Verdict(
            VerdictKind.MIXED_SPACING,
            f"pixel spacing from {low[0]:g} x {low[1]:g} to {high[0]:g} x {high[1]:g} mm, expected one",
        )
    cosines = np.array([frame.orientation for frame in frames])
    row, column = cosines[:, :3], cosines[:, 3:]
    lengths = np.linalg.norm(np.stack([row, column]), axis=-1)
    skew = np.abs((row * column).sum(axis=1)).max()
    if np.abs(lengths - 1).max() > UNIT_TOLERANCE or skew > UNIT_TOLERANCE:
        return Verdict(
            VerdictKind.NOT_A_VOLUME,
            f"direction cosines of length {lengths.min():.3f} to {lengths.max():.3f} with a product of {skew:.3f}, "
            "expected unit length and a right angle",
        )
    if np.ptp(cosines, axis=0).max() > COSINE_TOLERANCE:
        return Verdict(
            VerdictKind.MIXED_ORIENTATION,
            f"{len(frames)} slices of different orientation (up to {_spread_deg(cosines):.1f} degrees apart), "
            "expected one; is it a localizer?",
        )
    return None


def _says_nothing(references: Collection[str], frames: Sequence[Frame]) -> bool:
    """Whether every image has a frame of reference of its own, as anonymisers make that replace UIDs file by file."""
    return len(frames) > 2 and len(references) == len({frame.file.path for frame in frames}) == len(frames)


def _stack_verdict(frames: Sequence[Frame]) -> Verdict:
    """The verdict on parallel planes of one size and spacing, ordered along the normal."""
    size = f"{frames[0].file.columns} x {frames[0].file.rows} pixels"
    if len(frames) == 1:
        thickness_mm, source = thickness_of(frames[0])
        if not VOXEL_MM[0] <= thickness_mm <= VOXEL_MM[1]:
            return Verdict(VerdictKind.NOT_A_VOLUME, f"one slice {thickness_mm:g} mm thick, {_EXPECTED_MM}")
        return Verdict(VerdictKind.SINGLE_SLICE, f"one slice of {size}, {thickness_mm:g} mm thick ({source})")
    normal, positions = normal_of(frames[0]), positions_of(frames)
    along_mm = (positions - positions[0]) @ normal
    steps_mm = np.diff(along_mm)
    if along_mm[-1] < DUPLICATE_TOLERANCE_MM:
        return Verdict(VerdictKind.NOT_A_VOLUME, f"{len(frames)} slices at one position, expected one slice at each")
    same = int((steps_mm < DUPLICATE_TOLERANCE_MM).sum())
    if same:
        return Verdict(
            VerdictKind.DUPLICATE_POSITIONS,
            f"{len(frames)} slices at {len(frames) - same} positions, expected one slice at each, and no attribute "
            "tells them apart; are there copies in the series?",
        )
    step_mm = along_mm[-1] / (len(frames) - 1)
    if step_mm > VOXEL_MM[1]:
        return Verdict(VerdictKind.NOT_A_VOLUME, f"slices {step_mm:g} mm apart, {_EXPECTED_MM}")
    tolerance_mm = max(EVENNESS_TOLERANCE * step_mm, ROUNDING_MM)
    line_mm = positions[0] + np.outer(along_mm / along_mm[-1], positions[-1] - positions[0])
    sideways_mm = float(np.linalg.norm(positions - line_mm, axis=1).max())
    if sideways_mm > tolerance_mm:
        return Verdict(
            VerdictKind.NOT_A_VOLUME, f"slices lie up to {sideways_mm:.2f} mm beside a straight stack, expected none"
        )
    axis = (positions[-1] - positions[0]) / np.linalg.norm(positions[-1] - positions[0])
    tilt_deg = float(np.degrees(np.arccos(min(1.0, axis @ normal))))
    tilted = frozenset({"tilted"} if tilt_deg > TILT_TOLERANCE_DEG else ())
    uneven_mm = np.abs(along_mm - step_mm * np.arange(len(frames))).max()
    if uneven_mm > tolerance_mm or steps_mm.max() > MISSING_RATIO * np.median(steps_mm):
        gap = _gap(steps_mm, float(uneven_mm))
        also = f"; and the stack leans {tilt_deg:.1f} degrees: --allow tilted as well" if tilted else ""
        return replace(gap, sentence=gap.sentence + also, needs=gap.needs | tilted)
    if tilted:
        return Verdict(
            VerdictKind.TILTED,
            f"the stack leans {tilt_deg:.1f} degrees from the normal of its {len(frames)} slices (gantry tilt), "
            f"expected less than {TILT_TOLERANCE_DEG:g}; --allow tilted reads it slice by slice, in a sheared grid",
            tilted,
        )
    return Verdict(VerdictKind.OK, f"{len(frames)} slices of {size}, {step_mm:.3g} mm apart")


def of_variable_spacing(verdict: Verdict, steps: str) -> Verdict:
    """The verdict on an evenly spaced part of a stack that was taken with several spacings.

    verdict: on the part. steps: how the whole stack is spaced, in words. No grid fits the whole: a part is read as a
    volume of its own, if that is allowed, so that every slice stays where it lies and stands for its own step.
    """
    if not verdict.usable and not verdict.needs:
        return verdict
    also = f"; and {verdict.sentence}" if verdict.needs else ""
    return Verdict(
        VerdictKind.VARIABLE_SPACING,
        f"{steps} (variable spacing), expected one step; --allow variable_spacing reads each part as a volume of its "
        f"own: choose it with --series{also}",
        verdict.needs | {"variable_spacing"},
    )


def of_incomplete_phase(verdict: Verdict, phase: Phase) -> Verdict:
    """The verdict on a phase that lacks slices which other phases of its series have."""
    if not verdict.usable and not verdict.needs:
        return verdict
    also = f"; {verdict.sentence}" if verdict.needs else "; --allow gap reads the slices that it has"
    return Verdict(
        VerdictKind.GAP,
        f"{phase.text}: lacks {phase.lacks}, which other phases have; fetch the series again{also}",
        verdict.needs | {"gap"},
    )


def _gap(steps_mm: np.ndarray, uneven_mm: float) -> Verdict:
    usual_mm, worst = float(np.median(steps_mm)), int(steps_mm.argmax())
    missing = int(np.maximum(np.rint(steps_mm / usual_mm) - 1, 0).sum())
    cause = f"about {missing} missing" if missing else "uneven steps"
    return Verdict(
        VerdictKind.GAP,
        f"slices are {usual_mm:.3g} mm apart, but {steps_mm[worst]:.3g} mm between slices {worst + 1} and {worst + 2} "
        f"of {len(steps_mm) + 1} ({cause}), expected even steps; fetch the series again "
        f"(--allow gap places slices up to {uneven_mm:.3g} mm beside where they lie)",
        frozenset({"gap"}),
    )


def _spread_deg(cosines: np.ndarray) -> float:
    """Largest angle between the rows, or the columns, of the first slice and of another; cosines: [K, 6]."""
    row, column = cosines[:, :3] @ cosines[0, :3], cosines[:, 3:] @ cosines[0, 3:]
    return float(np.degrees(np.arccos(np.clip(np.minimum(row, column), -1, 1))).max())
