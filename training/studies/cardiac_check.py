"""How well a cardiac model does: each validation patient, slices without a ventricle, and the two DICOM patients.

    python -m swinunet.training.studies.cardiac_check RUN/checkpoint.safetensors cardiac_whole --split RUN/split.json
    python -m swinunet.training.studies.cardiac_check RUN/checkpoint.safetensors --dicom ../shared/data/cardiac_dicom

    swinunet segment ../shared/data/cardiac_dicom/SC-HF-I-1/cine.zip -o served/SC-HF-I-1
    python -m swinunet.training.studies.cardiac_check --dicom ../shared/data/cardiac_dicom --results served

Dice is per slice, on its own pixels. Of the DICOM patients a phase is one volume, as it is when a
study is served; the expert's contours are filled, and volumes are those of the slices that have one. With --results it
is the masks of `swinunet segment` that are judged: those of the served model, restored and written.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import nn

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, StudySlices, Volume
from swinunet.training.data.cases import load_case
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop.validation import predict_labels, predict_slices
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.studies.cardiac_data import contour_number

BATCH = 16
PHASES = 20  # of each cine, whose Instance Numbers count the phases of one slice after another


@dataclass(frozen=True)
class PatientScore:
    """dice: of each slice with a ventricle. empty_pixels: found in each slice that has none."""

    dice: list[float]
    empty_pixels: list[int]

    def as_dict(self) -> dict[str, float]:
        """Mean and least Dice, and in how many empty slices something is found."""
        said: dict[str, float] = {"slices": len(self.dice), "empty_slices": len(self.empty_pixels)}
        if self.dice:
            said |= {"dice": round(float(np.mean(self.dice)), 4), "least": round(min(self.dice), 4)}
        return said | {"found_in_empty_slices": sum(each > 0 for each in self.empty_pixels)}


def check_slices(model: nn.Module, spec: ModelSpec, data: Path, names: list[str]) -> dict[str, PatientScore]:
    """Each patient's slices, those named `PATIENT_...`."""
    cases = {case.name: case for case in DataFolder.open(data).cases}
    scores: dict[str, PatientScore] = defaultdict(lambda: PatientScore([], []))
    for name in names:
        case = load_case(cases[name], spec)
        found, true = predict_labels(model, case) > 0, case.native_labels.voxels > 0
        patient = scores[name.rpartition("_")[0]]
        if true.any():
            patient.dice.append(dice_of(found, true))
        else:
            patient.empty_pixels.append(int(found.sum()))
    return dict(scores)


def dice_of(found: np.ndarray, true: np.ndarray) -> float:
    """Dice of two masks, bool."""
    return float(2 * (found & true).sum() / max(1, found.sum() + true.sum()))


def check_patient(model: nn.Module, spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """A patient of `cardiac_dicom/`: Dice of contoured slices, volumes (ml) and ejection fraction, and what is found
    on slices without a contour at end-diastole and end-systole."""
    frames = read_cine(folder)
    return against_contours(folder, frames, lambda numbers: segment(model, spec, [frames[each] for each in numbers]))


def check_results(folder: Path, results: Path) -> dict[str, Any]:
    """The same of what `swinunet segment` wrote of a patient's cine: its NIfTI mask of four axes.

    Slices are found in it by their positions, phases by the order of Instance Numbers on one slice.
    """
    import nibabel

    image = nibabel.Nifti1Image.from_filename(str(results / "mask.nii.gz"))
    mask, to_index = np.asarray(image.dataobj) > 0, np.linalg.inv(image.affine)
    frames = read_cine(folder)

    def found(numbers: list[int]) -> np.ndarray:
        places = [np.array(frames[each].ImagePositionPatient, float) * (-1, -1, 1) for each in numbers]
        slices = [round(float((to_index @ [*place, 1.0])[2])) for place in places]
        return np.stack([mask[:, :, k, (numbers[0] - 1) % PHASES].T for k in slices])

    return against_contours(folder, frames, found)


def read_cine(folder: Path) -> dict[int, Any]:
    """The images of a patient's cine by Instance Number."""
    import pydicom

    with zipfile.ZipFile(folder / "cine.zip") as archive:
        read = [pydicom.dcmread(io.BytesIO(archive.read(name)), force=True) for name in archive.namelist()]
    return {int(file.InstanceNumber): file for file in read}


def against_contours(
    folder: Path, frames: dict[int, Any], segmented: Callable[[list[int]], np.ndarray]
) -> dict[str, Any]:
    """How what was found agrees with the expert's contours.

    segmented: bool [slices, rows, columns] of the frames of one phase, given by Instance Number.
    """
    masks = {
        number: filled(path, frames[number].pixel_array.shape)
        for path in sorted((folder / "i-contours").iterdir())
        if (number := contour_number(path.name)) is not None
    }
    drawn = sorted({(number - 1) % PHASES for number in masks})
    dice: list[float] = []
    empty: list[int] = []
    ml: dict[int, list[float]] = {}
    for phase in drawn:
        numbers = [number for number in sorted(frames) if (number - 1) % PHASES == phase]
        found = segmented(numbers)
        pixel_ml = pixel_of(frames[numbers[0]], [frames[number] for number in numbers[:2]])
        inside = [index for index, number in enumerate(numbers) if number in masks]
        dice += [dice_of(found[index], masks[numbers[index]]) for index in inside]
        empty += [int(found[index].sum()) for index in range(len(numbers)) if index not in inside]
        ml[phase] = [
            pixel_ml * sum(int(found[index].sum()) for index in inside),
            pixel_ml * sum(int(masks[numbers[index]].sum()) for index in inside),
        ]
    diastole, systole = max(ml.values(), key=lambda each: each[1]), min(ml.values(), key=lambda each: each[1])
    ejection = [100 * (diastole[at] - systole[at]) / diastole[at] if diastole[at] else 0.0 for at in (0, 1)]
    return {
        "dice_mean": float(np.mean(dice)),
        "dice_least": float(np.min(dice)),
        "slices": len(dice),
        "ed_ml_found_true": diastole,
        "es_ml_found_true": systole,
        "ef_found_true": ejection,
        "pixels_on_slices_without_contour": empty,
    }


def segment(model: nn.Module, spec: ModelSpec, frames: list[Any]) -> np.ndarray:
    """The frames of one phase, in their order, as one volume: bool [slices, rows, columns]."""
    voxels = np.stack([frame.pixel_array for frame in frames]).transpose(2, 1, 0).astype(np.float32)
    row_mm, column_mm = map(float, frames[0].PixelSpacing)
    volume = Volume(voxels, np.diag([column_mm, row_mm, 8.0, 1.0]))
    sampler = StudySlices(volume, spec)
    for start, images in sampler.batches(BATCH):
        sampler.add(start, predict_slices(model, images, sampler.output))
    return sampler.mask().transpose(2, 1, 0) > 0


def pixel_of(frame: Any, neighbours: list[Any]) -> float:
    """Volume of a pixel in ml, slices being as far apart as two neighbours are."""
    positions = [np.array(each.ImagePositionPatient, float) for each in neighbours]
    apart = float(np.linalg.norm(positions[1] - positions[0]))
    return float(frame.PixelSpacing[0]) * float(frame.PixelSpacing[1]) * apart / 1000


def filled(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The inside of a contour of x y in pixels, one point a line: bool [rows, columns]."""
    points = [tuple(map(float, line.split()[:2])) for line in path.read_text().splitlines() if line.strip()]
    scale = 8  # pixels are small beside the wall, but not beside an apex: fill finely, then take the pixel's middle
    fine = Image.new("1", (shape[1] * scale, shape[0] * scale))
    ImageDraw.Draw(fine).polygon([((x + 0.5) * scale, (y + 0.5) * scale) for x, y in points], fill=1)
    return np.asarray(fine)[scale // 2 :: scale, scale // 2 :: scale]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--split", type=Path, help="its validation cases are judged")
    parser.add_argument("--dicom", type=Path, help="folder of DICOM patients")
    parser.add_argument("--results", type=Path, help="of `swinunet segment`, to judge: PATIENT/cine.zip for each")
    asked = parser.parse_args()
    if asked.results:
        for folder in sorted(asked.dicom.iterdir()):
            print(folder.name, json.dumps(check_results(folder, asked.results / folder.name / "cine.zip")))
        return
    if not asked.checkpoint:
        parser.error("give a checkpoint, or --results")
    model, spec = load_checkpoint(asked.checkpoint)
    if spec is None:
        raise InputError(f"{asked.checkpoint}: no model spec in it; expected a checkpoint of `swinunet train`")
    if asked.data and asked.split:
        scores = check_slices(model, spec, asked.data, json.loads(asked.split.read_text())["validation"])
        for patient, score in sorted(scores.items()):
            said = (
                {"dice": round(float(np.mean(score.dice)), 4), "least": round(min(score.dice), 4)} if score.dice else {}
            )
            empty = {"empty": len(score.empty_pixels), "found_there": sum(each > 0 for each in score.empty_pixels)}
            print(patient, json.dumps(said | {"slices": len(score.dice)} | (empty if score.empty_pixels else {})))
        every = [each for score in scores.values() for each in score.dice]
        print("mean of slices", round(float(np.mean(every)), 4), "of", len(every))
    for folder in sorted(asked.dicom.iterdir()) if asked.dicom else ():
        print(folder.name, json.dumps(check_patient(model, spec, folder)))


if __name__ == "__main__":
    _main()
