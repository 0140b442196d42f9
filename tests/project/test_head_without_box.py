"""The shipped models on whole heads, as a scanner sends them: no box, no hand, and a reason where there is no head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from shipped_model import SHIPPED

from swinunet.client.results.report import Report, read_report
from swinunet.imaging.repository_specs import specs_in_repository
from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, write_mni152_series
from swinunet.serving import TritonServer

SHARED = Path(__file__).parents[3] / "shared" / "data"
SHARED = SHARED if SHARED.is_dir() else Path(__file__).parents[4] / "shared" / "data"
MODEL = ("--model", SHIPPED)
PHILIPS = SHARED / "heads_dicom" / "philips_t1.zip"
REFERENCE = SHARED / "dicom_reference"
SIDE_ML = (1.5, 6.0)
SHIPPED_BYTES = 40_000_000


@pytest.fixture(scope="module")
def located(repository: Path, triton: TritonServer) -> TritonServer:
    """The server, if the repository has a model whose boxes are found, and the model that finds them."""
    specs = {spec.name: spec for spec in specs_in_repository(repository)}
    boxes = specs[SHIPPED].boxes
    if boxes is None or boxes.locator not in specs:
        pytest.skip("the repository has no model with boxes and a locator for them")
    return triton


def sides_ml(report: Report) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in report.structures:
        found[str(each.laterality)] = found.get(str(each.laterality), 0.0) + each.volume_ml
    return found


def require_both_sides(report: Report) -> None:
    assert report.location is not None
    assert [(side.laterality, side.fault) for side in report.location.sides] == [("left", None), ("right", None)]
    volumes = sides_ml(report)
    assert set(volumes) == {"left", "right"}
    assert all(SIDE_ML[0] <= ml <= SIDE_ML[1] for ml in volumes.values()), volumes
    assert not [flag for each in report.structures for flag in each.flags if flag.kind in ("cut", "side_volume")]


def test_the_mni152_brain(located: TritonServer, tmp_path: Path) -> None:
    """The boxes lie on the known places, each on its side (x grows to the patient's left)."""
    series = write_mni152_series(tmp_path / "brain")
    done = run_here("segment", series, "-o", tmp_path / "out", "--url", located.url, *MODEL)
    assert done.returncode == 0, done.stderr
    report = read_report(tmp_path / "out" / "brain" / "report.json")
    require_both_sides(report)
    for box in report.boxes:
        x0, x1, y0, y1, z0, z1 = HIPPOCAMPUS_BOXES[str(box.laterality)]
        middle = (np.array(box.low_mm) + box.high_mm) / 2
        assert (np.abs(middle - [(x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2]) < 12).all()


@pytest.mark.skipif(not PHILIPS.exists(), reason=f"{PHILIPS} is not there")
def test_a_patients_head(located: TritonServer, tmp_path: Path) -> None:
    done = run_here("segment", PHILIPS, "-o", tmp_path, "--url", located.url, "--outputs", "json", *MODEL)
    assert done.returncode == 0, done.stderr
    require_both_sides(read_report(tmp_path / PHILIPS.name / "report.json"))


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is not there")
def test_series_that_are_no_heads_are_refused_each_for_its_own_reason(located: TritonServer, tmp_path: Path) -> None:
    done = run_here("segment", "--tree", REFERENCE, "-o", tmp_path, "--url", located.url, "--outputs", "json", *MODEL)
    assert done.returncode == 1
    assert " 0 done, " in f" {done.stdout}".replace("\n", " ")
    assert not list(tmp_path.glob("*/report.json"))
    reasons = (tmp_path / "summary.csv").read_text()
    for reason in ("ml of brain, expected", "colour", "conflicting", "its modality is CT"):
        assert reason in reasons


def test_everything_shipped_stays_small(repository: Path) -> None:
    assert sum(path.stat().st_size for path in repository.rglob("*") if path.is_file()) < SHIPPED_BYTES
