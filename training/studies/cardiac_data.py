"""The training data of the cardiac model, made of what `shared/data` holds.

    python -m swinunet.training.studies.cardiac_data ../shared/data -o cardiac_whole --part whole
    python -m swinunet.training.studies.cardiac_data ../shared/data -o cardiac_centre --part centre

whole    the labelled slices of `cardiac/`, and of `cardiac_dicom/` those above the base and below the apex, where there
         is no ventricle: positions that have a contour neither at end-diastole nor at end-systole, all phases
centre   of the labelled slices the middle 128 x 128 pixels, which hold the heart: where training begins, at a quarter
         of the price

Frames of the two DICOM patients are named PATIENT_empty-NNNN, so that the text before the last underscore is the
patient, as in `cardiac/`. Pixels are scaled to 8 bits as there: the brightest of a frame becomes 255.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 128  # of the middle, pixels
_CONTOUR = re.compile(r"IM-0001-(\d{4})-icontour-manual\.txt")


def empty_frames(patient: Path) -> dict[int, np.ndarray]:
    """Frames of positions without a contour: Instance Number to pixels uint8 [rows, columns].

    patient: a folder of `cardiac_dicom/`, with `cine.zip` and `i-contours/`.
    """
    import pydicom

    with zipfile.ZipFile(patient / "cine.zip") as archive:
        files = [pydicom.dcmread(io.BytesIO(archive.read(name)), force=True) for name in sorted(archive.namelist())]
    contours = [contour_number(path.name) for path in (patient / "i-contours").iterdir()]
    drawn = {number for number in contours if number is not None}
    position = {int(file.InstanceNumber): round(float(file.SliceLocation), 1) for file in files}
    with_contour = {position[number] for number in drawn}
    return {
        int(file.InstanceNumber): _as_bytes(file.pixel_array)
        for file in files
        if position[int(file.InstanceNumber)] not in with_contour
    }


def contour_number(name: str) -> int | None:
    """Instance Number of the frame that the contour file of this name belongs to; None for any other file."""
    found = _CONTOUR.fullmatch(name)
    return int(found[1]) if found else None


def make_whole(shared: Path, output: Path) -> None:
    """Write `images/` and `labels/`: the labelled slices, and the empty frames of the DICOM patients."""
    for kind in ("images", "labels"):
        (output / kind).mkdir(parents=True)
        for path in sorted((shared / "cardiac" / kind).glob("*.png")):
            (output / kind / path.name).write_bytes(path.read_bytes())
    for patient in sorted((shared / "cardiac_dicom").iterdir()):
        for number, pixels in empty_frames(patient).items():
            name = f"{patient.name}_empty-{number:04d}.png"
            Image.fromarray(pixels).save(output / "images" / name)
            Image.fromarray(np.zeros_like(pixels)).save(output / "labels" / name)


def make_centre(shared: Path, output: Path) -> None:
    """Write `images/` and `labels/`: the middle of the labelled slices."""
    for kind in ("images", "labels"):
        (output / kind).mkdir(parents=True)
        for path in sorted((shared / "cardiac" / kind).glob("*.png")):
            with Image.open(path) as image:
                left, top = ((size - SIDE) // 2 for size in image.size)
                image.crop((left, top, left + SIDE, top + SIDE)).save(output / kind / path.name)


def extended_split(split: Path, data: Path, held_out: str) -> dict[str, list[str]]:
    """The split of a run on the labelled slices, with the empty frames of `data`: one patient's are held out."""
    said: dict[str, list[str]] = json.loads(split.read_text())
    empty = sorted(path.stem for path in (data / "images").glob("*_empty-*.png"))
    held = [name for name in empty if name.startswith(f"{held_out}_")]
    return {
        "training": sorted([*said["training"], *(name for name in empty if name not in held)]),
        "validation": sorted([*said["validation"], *held]),
    }


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels.astype(np.float32) * (255 / max(1, pixels.max()))).astype(np.uint8)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--part", choices=("whole", "centre"), required=True)
    parser.add_argument("--split", type=Path, help="of the run on the centre: also write OUTPUT/split.json from it")
    parser.add_argument("--held-out", default="SC-HF-I-1", help="DICOM patient whose empty frames validate")
    asked = parser.parse_args()
    (make_whole if asked.part == "whole" else make_centre)(asked.shared, asked.output)
    if asked.split:
        split = extended_split(asked.split, asked.output, asked.held_out)
        (asked.output / "split.json").write_text(json.dumps(split, indent=1) + "\n")


if __name__ == "__main__":
    _main()
