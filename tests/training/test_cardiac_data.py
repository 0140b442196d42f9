"""The cardiac model's data: frames without a ventricle, contours as masks, and the split that stays by patient."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_series import make_cine, save
from PIL import Image

from swinunet.training.studies.cardiac_check import check_results, dice_of, filled
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


def test_results_of_segment_are_judged_by_the_contours(tmp_path: Path) -> None:
    """Rectangles in both slices at two phases, as the mask has them but for one column too many at the second phase."""
    slices = make_cine(20, 2, shape=(12, 10), pixel_spacing_mm=(1.0, 1.0))
    patient, results = tmp_path / "patient", tmp_path / "results"
    (patient / "i-contours").mkdir(parents=True)
    results.mkdir()
    files = save(tmp_path / "files", slices)
    with zipfile.ZipFile(patient / "cine.zip", "w") as archive:
        for path in files.iterdir():
            archive.write(path, path.name)
    mask = np.zeros((10, 12, 2, 20), np.uint8)
    for phase, last in ((0, 7), (8, 5)):
        contour = "".join(f"{x} {y}\n" for x, y in ((2, 3), (last, 3), (last, 8), (2, 8)))
        for k in range(2):
            name = f"IM-0001-{20 * k + phase + 1:04d}-icontour-manual.txt"
            (patient / "i-contours" / name).write_text(contour)
            mask[2 : last + 1 + (phase == 8), 3:9, k, phase] = 1
    affine = np.diag([-1.0, -1.0, 8.0, 1.0])
    affine[:3, 3] = (10, -5, 30)
    nibabel.save(nibabel.Nifti1Image(mask, affine), results / "mask.nii.gz")
    said = check_results(patient, results)
    assert said["slices"] == 4
    assert said["dice_mean"] == pytest.approx((1 + 2 * 24 / (24 + 30)) / 2, abs=1e-6)
    assert said["ed_ml_found_true"] == pytest.approx([0.576, 0.576])
    assert said["es_ml_found_true"] == pytest.approx([0.48, 0.384])
