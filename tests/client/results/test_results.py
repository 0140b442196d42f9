"""Results are what was meant: SEG round trips and sabotage, the overlay's colours and sides, the report's schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from result_samples import LABELS, SEGMENTS, SPEC, affine_of, blobs, classic_series

from swinunet.client.results import report as report_module
from swinunet.client.results.overlay_writer import write_overlay
from swinunet.client.results.quality import judge_quality
from swinunet.client.results.report import (
    Box,
    Input,
    Report,
    Settings,
    Structure,
    make_report,
    read_report,
    report_schema,
    write_report,
)
from swinunet.client.segments import make_segments, mask_values, measure
from swinunet.foundation.errors import InputError, OutputError
from swinunet.imaging import Volume


def test_segments_and_measures() -> None:
    assert [segment.mask_value for segment in SEGMENTS] == [1, 2, 3, 4]
    labels = np.array([[[0, 1, 2]]], np.uint8)
    assert mask_values(SEGMENTS, "right")[labels].tolist() == [[[0, 3, 4]]]
    assert make_segments(LABELS, ("left", "left")) == SEGMENTS[:2]
    mask = np.array([[[1, 1, 4]]], np.uint8)
    found = {m.segment.text: (m.voxels, m.volume_ml) for m in measure(mask, SEGMENTS, 0.25)}
    assert found["Left anterior hippocampus"] == (2, 0.5)
    assert found["Left posterior hippocampus"] == (0, 0.0)
    assert found["Right posterior hippocampus"] == (1, 0.25)


def colored(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Where an RGB(A) image [rows, columns] shows this colour: bool."""
    return np.abs(image[..., :3] * 255 - color).max(axis=-1) < 12


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_overlay_shows_the_side_it_lies_on(tmp_path: Path, plane: str) -> None:
    """A structure to the left, front and top of the patient is drawn to the right, up, and up, however it is stored."""
    headers = classic_series(plane, (140, 130, 120), (1.0, 1.0, 1.0))
    affine = affine_of(headers)
    voxels = np.random.default_rng(0).normal(100, 20, (140, 130, 120)).astype(np.float32)
    volume = Volume(voxels, affine)
    low, high = volume.extent_mm()
    middle = (low + high) / 2
    at = np.linalg.solve(affine, [*(middle + np.array([40, -40, 40])), 1])[:3].round().astype(int)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[tuple(slice(i - 6, i + 7) for i in at)] = 1
    path = tmp_path / "overlay.png"
    write_overlay(path, volume, mask, measure(mask, SEGMENTS, 1.0), title="A title")
    height, width = imread(path).shape[:2]
    panel = round(width * 0.257)  # three panels of 3.6 in beside a legend of 3 in
    image = imread(path)[:, : 3 * panel]
    assert 600 < height < 1500
    assert 1000 < width < 2000
    assert not colored(image, LABELS[1].color).any(), "a structure that is not there is drawn"
    first_row = colored(image, LABELS[0].color)[: height // 2]
    ups, rights = [], []
    for column in range(3):
        rows, columns = np.nonzero(first_row[:, column * panel + 10 : (column + 1) * panel + 10])
        ups.append(rows.mean() < 0.52 * height / 2)
        rights.append(columns.mean() > panel / 2)
    assert ups == [True, True, True]  # front in axial, head in coronal and sagittal
    assert rights == [True, True, False]  # patient's left in axial and coronal; front is to the left in sagittal


@pytest.mark.parametrize("filled", [False, True])
def test_overlay_of_a_crop_and_of_nothing(tmp_path: Path, filled: bool) -> None:
    mask = np.zeros((30, 50, 36), np.uint8)
    if filled:
        mask[10:20, 20:40, 10:20] = 2
    volume = Volume(np.random.default_rng(1).integers(0, 900, mask.shape).astype(np.int16), np.diag([1.0, 1, 1, 1]))
    write_overlay(tmp_path / "overlay.png", volume, mask, measure(mask, make_segments(LABELS), 1.0), title="")
    shown = colored(imread(tmp_path / "overlay.png")[:, :1000], LABELS[1].color)
    assert shown.any() == filled


CORNER = np.zeros((9, 9, 9), np.float32)
CORNER[:4, :4, :4] = 7.0
HOLED = CORNER.copy()
HOLED[8, 8, 8] = np.nan


@pytest.mark.parametrize(
    ("voxels", "window"),
    [
        (np.zeros((9, 9, 9), np.float32), (0.0, 1.0)),
        (np.full((9, 9, 9), np.nan, np.float32), (0.0, 1.0)),
        (np.full((9, 9, 9), 0.5, np.float32), (0.0, 1.0)),
        (CORNER, (7.0, 7.000001)),
        (HOLED, (7.0, 7.000001)),
    ],
)
def test_overlay_of_a_constant_image(tmp_path: Path, voxels: np.ndarray, window: tuple[float, float]) -> None:
    """An image, or its foreground, of one value has no percentiles to show: its window has a width all the same."""
    volume, mask = Volume(voxels, np.eye(4)), np.zeros((9, 9, 9), np.uint8)
    measurements = measure(mask, SEGMENTS, 1.0)
    write_overlay(tmp_path / "chosen.png", volume, mask, measurements, title="")
    write_overlay(tmp_path / "given.png", volume, mask, measurements, title="", window=window)
    write_overlay(tmp_path / "other.png", volume, mask, measurements, title="", window=(-1.0, 2.0))
    assert (tmp_path / "chosen.png").read_bytes() == (tmp_path / "given.png").read_bytes()
    assert (tmp_path / "chosen.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_overlay_leaves_matplotlib_state_alone() -> None:
    check = "import sys, swinunet.client.results.overlay_writer; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=Path(__file__).parents[3]).returncode == 0


SETTINGS = Settings("labels", "binary", ("json",), deidentified=False)


def empty_report() -> Report:
    source = Input("a", "nifti", (1, 1, 1), (1, 1, 1))
    return make_report(source, SPEC, (), settings=SETTINGS, timings_s={}, outputs={})


def test_report_round_trip(tmp_path: Path) -> None:
    mask = blobs((12, 10, 6), 10)
    source = Input("study", "dicom", (12, 10, 6), (0.9, 0.9, 1.2), "1.2.3", ("1.2.3.1", "1.2.3.2"))
    measured = measure(mask, SEGMENTS, 0.001, mask * 2.0, mask)
    report = make_report(
        source, SPEC, list(map(Structure.of, measured, judge_quality(mask, measured, []))), settings=SETTINGS,
        boxes=[Box((1, 2, 3), (4, 5, 6), "left")], timings_s={"read": 0.25, "inference": 1.5},
        outputs={"seg": "segmentation.dcm"}, failed={"png": "the disk is full"},
    )  # fmt: skip
    path = tmp_path / "report.json"
    write_report(path, report)
    assert read_report(path) == report
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    written = json.loads(path.read_text())
    assert written["schema_version"] == 5
    assert written["model"]["spec"]["labels"][0]["type"]["value"] == "5366008"
    assert written["structures"][3]["laterality"] == "right"
    assert written["structures"][3]["voxels"] == np.count_nonzero(mask == 4)
    assert list(written["timings_s"]) == ["read", "inference"]


def test_the_published_schema_is_the_reports() -> None:
    published = Path(report_module.__file__).with_name("report.schema.json")
    assert published.read_text() == report_schema()


@pytest.mark.parametrize("change", [{"schema_version": "x"}, {"surprise": 1}, {"structures": None}])
def test_report_of_another_schema_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    report = empty_report()
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**json.loads(report.to_json()), **change}))
    with pytest.raises(InputError, match="not a report"):
        read_report(path)
    with pytest.raises(InputError, match="cannot read"):
        read_report(tmp_path / "none.json")


def test_report_that_cannot_be_written(tmp_path: Path) -> None:
    report = empty_report()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "file" / "report.json", report)
