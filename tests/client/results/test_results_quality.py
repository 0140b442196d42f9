"""Quality flags: each is raised where it must be, and only there."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from result_samples import LABELS, SPEC

from swinunet.client.results.quality import LOW_CONFIDENCE, judge_quality
from swinunet.client.segments import make_segments, measure
from swinunet.imaging import ModelSpec, StudySlices, Volume
from swinunet.training.data.cases import prepare_case, with_seen_volumes

SEGMENTS = make_segments(LABELS[:1])


def flags(mask: np.ndarray, confidence: float | None = None, boxes=(), volume_ml=None) -> list[str]:
    """The kinds of flags of label 1 in a mask of 1 ml voxels."""
    label = dataclasses.replace(LABELS[0], volume_ml=volume_ml)
    certain = None if confidence is None else np.full(mask.shape, round(confidence * 255), np.uint8)
    measurements = measure(mask, make_segments((label,)), 1.0, mask, certain)
    (quality,) = judge_quality(mask, measurements, boxes)
    assert ("volume" in quality.not_judged) == (volume_ml is None)
    assert ("confidence" in quality.not_judged) == (confidence is None and mask.any())
    return [flag.kind for flag in quality.flags]


def block(*at: slice) -> np.ndarray:
    mask = np.zeros((10, 12, 14), np.uint8)
    mask[at] = 1
    return mask


MIDDLE = block(slice(4, 6), slice(4, 6), slice(4, 6))  # 8 ml


def test_nothing_to_say() -> None:
    assert flags(MIDDLE, confidence=0.95, volume_ml=(8.0, 8.0)) == []
    assert flags(np.zeros_like(MIDDLE)) == []


@pytest.mark.parametrize(
    ("volume_ml", "expected"), [((8.5, 20.0), ["volume_low"]), ((1.0, 7.5), ["volume_high"]), ((1.0, 20.0), [])]
)
def test_volume_against_training(volume_ml: tuple[float, float], expected: list[str]) -> None:
    assert flags(MIDDLE, volume_ml=volume_ml) == expected


def test_nothing_found_is_less_than_was_seen() -> None:
    assert flags(np.zeros_like(MIDDLE), volume_ml=(1.0, 2.0)) == ["volume_low"]


def test_low_confidence() -> None:
    assert flags(MIDDLE, confidence=LOW_CONFIDENCE - 0.05) == ["low_confidence"]
    assert flags(MIDDLE, confidence=LOW_CONFIDENCE + 0.05) == []


def test_many_components() -> None:
    mask = np.zeros((20, 20, 20), np.uint8)
    for at in (4, 8, 12):
        mask[at, at, at] = 1
    assert flags(mask) == []
    mask[15, 4, 4] = 1
    assert flags(mask) == ["many_components"]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [0, -1])
def test_cut_by_the_field_of_view(axis: int, end: int) -> None:
    mask = MIDDLE.copy()
    face = [slice(4, 6)] * 3
    face[axis] = slice(0, 4) if end == 0 else slice(6, None)
    mask[tuple(face)] = 1
    assert flags(mask) == ["cut"]


def test_cut_by_one_of_two_boxes() -> None:
    whole = tuple(slice(0, n) for n in MIDDLE.shape)
    near, tight = (slice(1, 8),) * 3, (slice(4, 8),) * 3
    assert flags(MIDDLE, boxes=[near]) == []
    assert flags(MIDDLE, boxes=[tight]) == ["cut"]
    assert flags(MIDDLE, boxes=[tuple(slice(8, n) for n in MIDDLE.shape), tight]) == ["cut"]
    assert flags(MIDDLE, boxes=[whole]) == []


def test_measures_are_means_inside() -> None:
    rng = np.random.default_rng(1)
    mask, voxels = rng.integers(0, 2, (5, 6, 7)).astype(np.uint8), rng.normal(size=(5, 6, 7)).astype(np.float32)
    confidence = rng.integers(0, 256, mask.shape).astype(np.uint8)
    (found,) = measure(mask, SEGMENTS, 0.5, voxels, confidence)
    assert found.volume_ml == 0.5 * mask.sum()
    assert found.mean_intensity == pytest.approx(voxels[mask > 0].mean(), abs=1e-6)
    assert found.confidence == pytest.approx(confidence[mask > 0].mean() / 255)
    (empty,) = measure(mask * 0, SEGMENTS, 0.5, voxels, confidence)
    assert empty.mean_intensity is None
    assert empty.confidence is None


def test_a_range_travels_with_the_spec_and_is_unsaid_without_one() -> None:
    assert "volume_ml" not in SPEC.to_json()
    label = dataclasses.replace(LABELS[0], volume_ml=(0.5, 2.25))
    spec = dataclasses.replace(SPEC, labels=(label, LABELS[1]))
    assert ModelSpec.from_json(spec.to_json(), "test") == spec
    assert [("volume_ml" in said) for said in json.loads(spec.to_json())["labels"]] == [True, False]


def test_the_range_is_that_of_the_training_cases() -> None:
    """Of the cases that hold the structure: 4 and 2 voxels of 0.5 ml; a label that none holds has no range."""
    cases = []
    for voxels in (4, 0, 2):
        labels = np.zeros((5, 6, 7), np.uint8)
        labels.ravel()[:voxels] = 1
        image = Volume(np.random.default_rng(0).normal(size=labels.shape).astype(np.float32), np.diag([10, 10, 5, 1.0]))
        cases.append(prepare_case("case", (image,), Volume(labels, image.affine), SPEC))
    assert [label.volume_ml for label in with_seen_volumes(SPEC, cases).labels] == [(1.0, 2.0), None]


def test_single_slices_give_no_range() -> None:
    labels = np.ones((5, 6, 1), np.uint8)
    image = Volume(np.random.default_rng(0).normal(size=labels.shape).astype(np.float32), np.eye(4))
    spec = dataclasses.replace(SPEC, plane="acquired", input_size=(8, 8))
    cases = [prepare_case("case", (image,), Volume(labels, image.affine), spec)] * 2
    assert [label.volume_ml for label in with_seen_volumes(spec, cases).labels] == [None, None]


@pytest.mark.parametrize("further", [(), ("coronal", "axial")])
def test_confidence_is_the_winning_probability(further: tuple[str, ...]) -> None:
    spec = dataclasses.replace(SPEC, further_planes=further)
    volume = Volume(np.random.default_rng(0).normal(size=(8, 9, 10)).astype(np.float32), np.eye(4))
    sampler = StudySlices(volume, spec, "probabilities")
    for start, image in sampler.batches(4):
        answer = np.zeros((len(image), 3, *spec.input_size), np.float16)
        answer[:, 1] = 0.75
        answer[:, 2] = 0.25
        sampler.add(start, answer)
    assert (sampler.mask() == 1).all()
    assert sampler.confidence is not None
    assert (np.abs(sampler.confidence - 0.75 * 255) <= 1).all()
    assert StudySlices(volume, SPEC).confidence is None
