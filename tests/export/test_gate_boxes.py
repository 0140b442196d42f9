"""The gate on a pair: a locator that misses boxes, or is not there, keeps both from being promoted.

Locator and heads are drawn (tests/support/located_models.py), so where the boxes must lie is known from the drawing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from labelled_folders import put
from located_models import CENTRES_MM, CROPPED, HALF_MM, LOCATOR, drawn_head, renamed, write_located_repository
from tiny_version import tiny_checkpoint

from swinunet.export.gate.boxes import BoxFigures, judge_boxes
from swinunet.export.gate.report import GateError, Report
from swinunet.export.pipeline import GateOptions, export_checkpoint
from swinunet.export.repository.served_configs import make_configs
from swinunet.foundation.errors import InputError, SpecError
from swinunet.foundation.progress import say_nothing
from swinunet.imaging import ModelSpec, Volume


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_located_repository(tmp_path_factory.mktemp("pair") / "repository")


def labels_of(head: Volume, moved_mm: float = 0.0) -> np.ndarray:
    """1 on the left, 2 on the right, where the blocks are drawn; moved_mm: the left one's centre, to the left."""
    places = np.stack(np.meshgrid(*map(np.arange, head.shape), indexing="ij"), -1) @ head.affine[:3, :3].T
    places = places + head.affine[:3, 3]
    labels = np.zeros(head.shape, np.uint8)
    for value, (side, centre) in enumerate(CENTRES_MM.items(), start=1):
        at = centre + np.array([moved_mm if side == "left" else 0.0, 0, 0])
        labels[(np.abs(places - at) <= HALF_MM).all(axis=-1)] = value
    return labels


def heads(folder: Path, moved_mm: float = 0.0) -> Path:
    head = drawn_head()
    put(head.voxels, head.affine, folder / "images" / "one.nii.gz")
    put(labels_of(head, moved_mm), head.affine, folder / "labels" / "one.nii.gz")
    return folder


def judged(repository: Path, spec: ModelSpec, at: Path | None, folder: Path | None = None) -> tuple[BoxFigures, ...]:
    return judge_boxes(repository, folder or repository / spec.name / "2", spec, make_configs(spec), at, say_nothing, 1)


def test_boxes_that_hold_the_structures_pass(repository: Path, tmp_path: Path) -> None:
    (found,) = judged(repository, CROPPED, heads(tmp_path))
    assert (found.boxes, found.found, found.held, found.swapped, found.reasons) == (2, 2, 2, 0, ())
    assert found.worst_mm is not None
    assert -2 <= found.worst_mm <= 2
    assert (found.model, found.margin_mm) == ("cropped 2", 5.0)
    assert found.locator == "finder 1 with onnxruntime-fp32"


def test_a_box_beside_the_structure_fails(repository: Path, tmp_path: Path) -> None:
    """The label lies 12 mm further out than what the locator finds; the margin is 5 mm."""
    (found,) = judged(repository, CROPPED, heads(tmp_path, moved_mm=12))
    assert (found.boxes, found.found, found.held) == (2, 2, 1)
    (reason,) = found.reasons
    assert reason.startswith("one, Left thing: the box holds ")


def test_a_locator_is_judged_with_the_models_that_name_it(repository: Path, tmp_path: Path) -> None:
    engine = make_configs(LOCATOR, "onnxruntime-fp32")
    folder = repository / "finder" / "1"
    (found,) = judge_boxes(repository, folder, LOCATOR, engine, heads(tmp_path), say_nothing, 1)
    assert (found.model, found.held, found.reasons) == ("cropped 2", 2, ())


def test_without_heads_the_mni152_brain_must_show_each_side(repository: Path) -> None:
    """The arithmetic locator knows drawn heads only."""
    pytest.importorskip("nilearn", reason="nilearn (extra: demo) is not installed")
    (found,) = judged(repository, CROPPED, None)
    assert found.held is None
    assert found.images == "the MNI152 T1 brain, no labels"
    assert found.reasons


def test_a_model_that_needs_no_boxes_is_no_pair(repository: Path) -> None:
    assert judged(repository, renamed(CROPPED, boxes=None), None) == ()


def test_a_pair_without_its_locator_is_refused(tmp_path: Path) -> None:
    alone = write_located_repository(tmp_path / "alone", CROPPED)
    with pytest.raises(InputError, match="has no model finder, which finds the boxes of cropped; export that first"):
        judged(alone, CROPPED, None)
    other = write_located_repository(tmp_path / "other", renamed(LOCATOR, modality="CT"), CROPPED)
    with pytest.raises(SpecError, match="which reads CT, not MR"):
        judged(other, CROPPED, None)


def test_an_export_without_its_locator_is_refused_before_the_work(tmp_path: Path) -> None:
    from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint

    network, spec = load_checkpoint(tiny_checkpoint(tmp_path / "run"))
    assert spec is not None
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    save_checkpoint(checkpoint, network, dataclasses.replace(spec, boxes=CROPPED.boxes))
    with pytest.raises(InputError, match="has no model finder"):
        export_checkpoint(checkpoint, tmp_path / "repository", None, None, GateOptions(serve=False))
    assert not list((tmp_path / "repository").iterdir())


def test_a_report_with_a_box_that_is_missed_is_not_passed() -> None:
    figures = BoxFigures("m 1", "l 1", "heads", 8.0, 2, 1, 1, 0, 3.0, ("one, Left thing: the box holds 40.0%",))
    report = Report("m", 1, "", "openvino-f32", "none", False, (), 1.0, "", "", (figures,))
    assert not report.passes
    with pytest.raises(GateError, match="m version 1 would not get its boxes: boxes of m 1 by l 1: one, Left thing"):
        report.require("nothing was promoted")
    assert "| m 1 | l 1 | heads | 8 | 2 | 1 | 1 | 0 | 3.0 |" in report.markdown()
    assert dataclasses.replace(report, boxes=()).passes


def test_weights_take_another_spec_but_for_what_they_were_trained_with(tmp_path: Path) -> None:
    from swinunet.export.repository.other_spec import with_spec
    from swinunet.export.repository.version_files import read_checkpoint

    checkpoint = tiny_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "split.json").write_text("{}")
    _, own = read_checkpoint(checkpoint, None)
    (tmp_path / "spec.json").write_text(dataclasses.replace(own, version=7, boxes=CROPPED.boxes).to_json())
    before = checkpoint.read_bytes()
    with with_spec(checkpoint, tmp_path / "spec.json") as other:
        _, spec = read_checkpoint(other, None)
        assert other.with_name("split.json").is_file()
    assert (spec.version, spec.boxes) == (7, CROPPED.boxes)
    assert checkpoint.read_bytes() == before
    for change, message in (
        ({"context_step_mm": 2.0}, "context_step_mm is 2.0, the weights were trained with 1.0"),
        ({"labels": own.labels[:1]}, "its labels are not those"),
    ):
        (tmp_path / "spec.json").write_text(dataclasses.replace(own, **change).to_json())
        with pytest.raises(InputError, match=message), with_spec(checkpoint, tmp_path / "spec.json"):
            pass
