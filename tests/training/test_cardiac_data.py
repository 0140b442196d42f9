"""The cardiac model's data: frames without a ventricle, contours as masks, and the split that stays by patient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinunet.training.studies.cardiac_check import dice_of, filled
from swinunet.training.studies.cardiac_data import contour_number, empty_frames, extended_split, make_centre

SHARED = Path(__file__).parents[3] / "shared" / "data"
SHARED = SHARED if SHARED.is_dir() else Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "number"),
    [("IM-0001-0048-icontour-manual.txt", 48), ("IM-0001-0048-ocontour-manual.txt", None), ("notes.txt", None)],
)
def test_a_contour_belongs_to_an_instance(name: str, number: int | None) -> None:
    assert contour_number(name) == number


def test_a_contour_is_filled_in_pixels(tmp_path: Path) -> None:
    points = [(10, 5), (20, 5), (20, 9), (10, 9)]  # x y of pixel centres
    (tmp_path / "square.txt").write_text("".join(f"{x}.0 {y}.0\n" for x, y in points))
    mask = filled(tmp_path / "square.txt", (30, 40))
    rows, columns = np.nonzero(mask)
    assert mask.shape == (30, 40)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 9, 10, 20)
    angle = np.linspace(0, 2 * np.pi, 200)
    (tmp_path / "circle.txt").write_text(
        "".join(f"{20 + 8 * x:.3f} {15 + 8 * y:.3f}\n" for x, y in zip(np.cos(angle), np.sin(angle), strict=True))
    )
    assert filled(tmp_path / "circle.txt", (30, 40)).sum() == pytest.approx(np.pi * 64, rel=0.03)


def test_dice_of_masks() -> None:
    a, b = np.array([True, True, False]), np.array([True, False, False])
    assert dice_of(a, b) == pytest.approx(2 / 3)


def test_the_split_is_extended_by_patient(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("A_empty-0001", "A_empty-0002", "B_empty-0001", "C_0007"):
        (tmp_path / "images" / f"{name}.png").touch()
    (tmp_path / "split.json").write_text(json.dumps({"training": ["C_0007"], "validation": ["D_0001"]}))
    assert extended_split(tmp_path / "split.json", tmp_path, "A") == {
        "training": ["B_empty-0001", "C_0007"],
        "validation": ["A_empty-0001", "A_empty-0002", "D_0001"],
    }


def test_the_centre_is_the_middle_128_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (256, 200), dtype=np.uint8)
    for kind in ("images", "labels"):
        (tmp_path / "cardiac" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "cardiac" / kind / "A_0001.png")
    make_centre(tmp_path, tmp_path / "made")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "made/images/A_0001.png")), pixels[64:192, 36:164])


@pytest.mark.skipif(not (SHARED / "cardiac_dicom").is_dir(), reason="needs ../shared/data/cardiac_dicom")
@pytest.mark.parametrize(("patient", "positions"), [("SC-HF-I-1", 3), ("SC-HF-I-2", 4)])
def test_frames_without_a_ventricle_are_those_of_positions_without_a_contour(patient: str, positions: int) -> None:
    folder = SHARED / "cardiac_dicom" / patient
    frames = empty_frames(folder)
    drawn = {contour_number(path.name) for path in (folder / "i-contours").iterdir()}
    assert len(frames) == 20 * positions
    assert not drawn & frames.keys()
    assert all(pixels.max() == 255 and pixels.dtype == np.uint8 for pixels in frames.values())
