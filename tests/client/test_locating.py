"""Boxes that nobody drew: a served locator is asked, results say how, and what shows no head is refused by name.

The two models are arithmetic (tests/support/located_models.py) and really served; where the structures lie is known
from how the heads are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from located_models import CENTRES_MM, CROPPED, HALF_MM, LOCATOR, drawn_head, renamed, write_located_repository

from swinunet.client import Roi, TritonModel, segment_volume
from swinunet.client.locating import locate_boxes, needs_locator
from swinunet.client.results.report import read_report
from swinunet.foundation.errors import InputError, ServerError, SpecError
from swinunet.imaging import Volume, write_nifti
from swinunet.serving import TritonServer


@pytest.fixture(scope="module")
def server(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with TritonServer(write_located_repository(tmp_path_factory.mktemp("located") / "repository")) as running:
        yield running


@pytest.fixture(scope="module")
def model(server: TritonServer) -> Iterator[TritonModel]:
    """Chosen although two models are served: a locator answers no question of a user."""
    with TritonModel(server.url) as chosen:
        assert chosen.name == "cropped"
        yield chosen


def block_ml(volume: Volume, side: str) -> float:
    places = np.argwhere(np.ones(volume.shape, bool)) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return float((np.abs(places - CENTRES_MM[side]) <= HALF_MM).all(axis=1).sum() * volume.voxel_ml)


def test_boxes_are_found_and_everything_in_them_is_segmented(model: TritonModel) -> None:
    head = drawn_head()
    expected: list[int] = []
    done: list[int] = []
    found = segment_volume(head, model, tick=done.append, expect=expected.append)
    assert sum(done) == sum(expected)
    assert len(expected) == 2  # the boxes to find, and what is in them
    assert found.located is not None
    assert [part.fault for part in found.located.parts] == ["", ""]
    assert [roi.side for roi in found.rois] == ["left", "right"]
    for roi in found.rois:
        centre = CENTRES_MM[str(roi.side)]
        assert (roi.low_mm <= centre - HALF_MM).all()
        assert (roi.high_mm >= centre + HALF_MM).all()
        assert (roi.high_mm - roi.low_mm <= 2 * HALF_MM + 2 * 5 + 4).all()
    for each in found.measurements:
        assert each.volume_ml == pytest.approx(block_ml(head, str(each.segment.laterality)), rel=0.15)
    left = np.argwhere(found.mask == 1) @ head.affine[:3, :3].T + head.affine[:3, 3]
    assert left[:, 0].min() > 0  # the patient's left
    assert next(iter(found.seconds)) == "locate"


def test_a_mirrored_or_turned_array_gives_the_same_sides(model: TritonModel) -> None:
    head = drawn_head()
    affine = head.affine.copy()
    affine[:3, 0] *= -1
    affine[:3, 3] += head.affine[:3, 0] * (head.shape[0] - 1)
    turned = Volume(head.voxels[::-1].transpose(2, 0, 1), affine[:, [2, 0, 1, 3]])
    one, other = (segment_volume(volume, model) for volume in (head, turned))
    assert [each.voxels for each in one.measurements] == [each.voxels for each in other.measurements]
    assert np.array_equal(one.mask, other.mask.transpose(1, 2, 0)[::-1])


def test_boxes_that_are_given_override_and_a_crop_is_taken_as_one(model: TritonModel) -> None:
    head = drawn_head()
    given = Roi((10, 30, -5, 20, -15, 5), "left")
    assert segment_volume(head, model, (given,)).rois == (given,)
    crop = head.crop((slice(28, 42), slice(20, 36), slice(14, 28)))
    assert not needs_locator(model.spec, crop)
    assert segment_volume(crop, model).located is None


def test_a_side_that_is_not_there_is_named_and_the_other_is_segmented(server: TritonServer, tmp_path: Path) -> None:
    half = tmp_path / "half.nii.gz"
    write_nifti(drawn_head(without=("right",)), half)
    done = run_here("segment", half, "-o", tmp_path / "out", "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert "Boxes by finder 1, probability: left 1.00, right not found\n" in done.stdout
    assert "Look at this: Right not found (nothing with a probability above 0.5" in done.stdout
    assert "Right not found (nothing with a probability" in (tmp_path / "out" / "half" / "index.html").read_text()
    report = read_report(tmp_path / "out" / "half" / "report.json")
    assert [each.laterality for each in report.structures] == ["left"]
    assert report.location is not None
    left, right = report.location.sides
    assert (left.laterality, left.fault, right.laterality) == ("left", None, "right")
    assert right.fault is not None
    assert (report.location.locator, report.location.margin_mm, len(report.boxes)) == ("finder", 5.0, 1)


def test_results_say_how_boxes_were_found_and_resume_knows_them(server: TritonServer, tmp_path: Path) -> None:
    path = tmp_path / "head.nii.gz"
    write_nifti(drawn_head(), path)
    arguments = ("segment", path, "-o", tmp_path / "out", "--url", server.url)
    assert run_here(*arguments).returncode == 0
    report = read_report(tmp_path / "out" / "head" / "report.json")
    assert report.location is not None
    assert [side.probability > 0.9 for side in report.location.sides] == [True, True]
    assert [box.laterality for box in report.boxes] == ["left", "right"]
    again = run_here(*arguments, "--resume")
    assert "skipped, segmented already" in again.stdout
    refused = run_here(*arguments, "--resume", "--roi", "left=10,30,-5,20,-15,5")
    assert refused.returncode == 1
    assert "in boxes that were found, not in those of --roi" in refused.stderr


def test_a_volume_that_no_such_structure_has_is_flagged(server: TritonServer, tmp_path: Path) -> None:
    head = drawn_head()
    small = head.voxels.copy()
    right = np.argwhere(small == 250)
    right = right[right[:, 0] < 24]
    small[tuple(right[right[:, 1] > right[:, 1].min() + 3].T)] = 100
    write_nifti(Volume(small, head.affine), tmp_path / "small.nii.gz")
    assert run_here("segment", tmp_path / "small.nii.gz", "-o", tmp_path / "out", "--url", server.url).returncode == 0
    left, right_one = read_report(tmp_path / "out" / "small" / "report.json").structures
    assert [flag.kind for flag in left.flags] == []
    (flag,) = [flag for flag in right_one.flags if flag.kind == "side_volume"]
    assert flag.detail == f"right side {right_one.volume_ml:.2f} ml; plausible are 2 to 9 ml"


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.zeros((49, 49, 49), np.float32) + 40, "finder version 1 finds 0 ml of brain, expected 150 to 2400 ml"),
        (np.where(drawn_head().voxels > 150, 100, drawn_head().voxels), "but nothing to segment in it (Left thing: "),
        (np.full((49, 49, 49), np.nan, np.float32), "not finite numbers"),
    ],
)
def test_what_shows_no_head_is_refused_by_name(model: TritonModel, voxels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError) as caught:
        segment_volume(Volume(voxels.astype(np.float32), drawn_head().affine), model)
    assert message in str(caught.value)


def test_a_locator_that_is_not_served_is_named(tritonserver: object, tmp_path: Path) -> None:
    path = tmp_path / "head.nii.gz"
    write_nifti(drawn_head(), path)
    with TritonServer(write_located_repository(tmp_path / "repository", CROPPED)) as alone:
        done = run_here("segment", path, "-o", tmp_path / "out", "--url", alone.url)
    assert done.returncode == 1
    assert "cropped has its boxes found by finder: Triton at" in done.stderr
    assert "has no model finder that is ready; it serves: cropped; serve that, too, or" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_locator_of_another_modality_is_named_and_several_models_are_chosen_from(
    tritonserver: object, tmp_path: Path
) -> None:
    other = renamed(CROPPED, name="other", labels=CROPPED.labels, boxes=None)
    repository = write_located_repository(tmp_path / "repository", renamed(LOCATOR, modality="CT"), CROPPED, other)
    path = tmp_path / "head.nii.gz"
    write_nifti(drawn_head(), path)
    with TritonServer(repository) as server:
        with pytest.raises(ServerError, match=r"several models of ours \(cropped, finder, other\); choose one with"):
            TritonModel(server.url)
        with TritonModel(server.url, "cropped") as model, pytest.raises(SpecError, match="which reads CT, not MR"):
            locate_boxes(drawn_head(), model)
        asked = run_here("segment", path, "-o", tmp_path / "out", "--url", server.url)
        assert asked.returncode == 1
        assert (
            "NIfTI does not say which model it is for, choose one with --model: cropped (MR, BRAIN: thing)"
            in asked.stderr
        )
        assert not (tmp_path / "out" / "head").exists()
        unknown = run_here("segment", path, "-o", tmp_path / "out", "--url", server.url, "--model", "no_such")
        assert "has no model no_such that is ready; it serves: cropped, finder, other" in unknown.stderr
        given = ("--model", "cropped", "--roi", "left=10,30,-5,20,-15,5")
        assert run_here("segment", path, "-o", tmp_path / "out", "--url", server.url, *given).returncode == 0
        listed = run_here("models", "--url", server.url, "--json")
    told = json.loads(listed.stdout)
    assert [each["name"] for each in told] == ["cropped", "finder", "other"]
    assert [each["is_locator"] for each in told] == [False, True, False]
    assert [each["locator"] for each in told] == ["finder", None, None]
