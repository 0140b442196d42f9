"""Segments and what a mask holds of them, by counting."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from result_samples import LABELS

from swinunet.client.segments import Measurement, Side, make_segments, mask_values, measure

FIRST, SECOND = LABELS


def test_without_sides_each_label_is_a_segment() -> None:
    first, second = make_segments(LABELS)
    assert (first.number, first.mask_value, first.text, first.laterality) == (1, 1, "Anterior hippocampus", None)
    assert (second.number, second.mask_value, second.text, second.laterality) == (2, 2, "Posterior hippocampus", None)
    assert (first.label, second.label) == LABELS


def test_sides_follow_one_another_each_with_every_label_and_count_once() -> None:
    found = make_segments(LABELS, ("right", "left", "right"))
    assert [(each.number, each.mask_value, each.laterality, each.label.index) for each in found] == [
        (1, 1, "right", 1),
        (2, 2, "right", 2),
        (3, 3, "left", 1),
        (4, 4, "left", 2),
    ]


@pytest.mark.parametrize(
    ("name", "alone", "left"),
    [
        ("anterior_hippocampus", "Anterior hippocampus", "Left anterior hippocampus"),
        (" Kidney ", "Kidney", "Left kidney"),
        ("LV_wall", "LV wall", "Left LV wall"),
        ("x", "X", "Left x"),
    ],
)
def test_people_read_words_and_acronyms_stay(name: str, alone: str, left: str) -> None:
    label = dataclasses.replace(FIRST, name=name)
    assert make_segments([label])[0].text == alone
    assert make_segments([label], ("left",))[0].text == left


@pytest.mark.parametrize(("count", "sides", "fits"), [(255, (None,), True), (128, ("left", "right"), False)])
def test_a_mask_holds_255_segments(count: int, sides: tuple[Side | None, ...], fits: bool) -> None:
    labels = [dataclasses.replace(FIRST, index=index) for index in range(1, count + 1)]
    if fits:
        assert make_segments(labels, sides)[-1].mask_value == 255
    else:
        with pytest.raises(ValueError, match=r"^256 segments do not fit a uint8 mask$"):
            make_segments(labels, sides)


def test_network_labels_become_the_mask_values_of_a_side() -> None:
    segments = make_segments([dataclasses.replace(FIRST, index=7), SECOND], ("left", "right"))
    for side, of_seven, of_two in (("left", 1, 2), ("right", 3, 4), (None, 0, 0)):
        values = mask_values(segments, side)
        assert (values.shape, values.dtype) == ((256,), np.uint8)
        assert {index: int(value) for index, value in enumerate(values) if value} == (
            {7: of_seven, 2: of_two} if side else {}
        )
    assert mask_values(make_segments(LABELS))[[0, 1, 2, 3]].tolist() == [0, 1, 2, 0]


def test_a_measurement_is_counts_and_means_over_all_slices() -> None:
    """The second segment is empty in slice 0, and slice 1 is empty; the third is nowhere."""
    segments = make_segments(LABELS, ("left", "right"))[:3]
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[0, :, 0] = 1
    mask[0, 0, 2], mask[1, 1, 2], mask[1, 2, 2] = 1, 2, 2
    voxels = np.arange(18, dtype=np.int16).reshape(2, 3, 3) * 10 - 50
    confidence = np.full((2, 3, 3), 51, np.uint8)
    confidence[0, :, 0], confidence[1, 2, 2] = (255, 0, 102), 255
    first, second, third = measure(mask, segments, 0.25, voxels, confidence)
    inside = [voxels[at] for at in ((0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 0, 2))]
    assert (first.voxels, first.volume_ml) == (4, 1.0)
    assert first.mean_intensity == pytest.approx(sum(map(int, inside)) / 4)
    assert first.confidence == pytest.approx((1 + 0 + 0.4 + 0.2) / 4)
    assert (second.voxels, second.volume_ml) == (2, 0.5)
    assert second.mean_intensity == pytest.approx((int(voxels[1, 1, 2]) + int(voxels[1, 2, 2])) / 2)
    assert second.confidence == pytest.approx((0.2 + 1) / 2)
    assert third == Measurement(segments[2], 0, 0.0, None, None)
    assert [each.segment for each in (first, second, third)] == list(segments)


@pytest.mark.parametrize("given", [{}, {"voxels": 2}, {"confidence": 102}], ids=["neither", "image", "confidence"])
def test_what_nobody_gave_is_not_known(given: dict[str, int]) -> None:
    arrays = {name: np.full((2, 2, 2), value, np.uint8) for name, value in given.items()}
    found = measure(np.ones((2, 2, 2), np.uint8), make_segments(LABELS[:1]), 0.5, **arrays)
    assert found == (
        Measurement(
            make_segments(LABELS[:1])[0],
            8,
            4.0,
            2.0 if "voxels" in given else None,
            pytest.approx(0.4) if "confidence" in given else None,  # type: ignore[arg-type]
        ),
    )
