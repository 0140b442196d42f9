"""Quality flags: each limit from both sides, and the words for people."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from result_samples import LABELS

from swinunet.client.results.quality import Flag, judge_quality
from swinunet.client.segments import Measurement, make_segments


def measured(volume_ml: float = 2.0, confidence: float | None = 0.9, seen: tuple[float, float] | None = None):
    (segment,) = make_segments([dataclasses.replace(LABELS[0], volume_ml=seen)])
    return Measurement(segment, int(volume_ml * 1000), volume_ml, None, confidence)


def flags(mask: np.ndarray, measurement: Measurement, boxes=()) -> tuple[Flag, ...]:
    (quality,) = judge_quality(mask, [measurement], boxes)
    return quality.flags


NOWHERE = np.zeros((8, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("volume_ml", "kind"), [(1.49, "volume_low"), (1.5, None), (2.0, None), (2.75, None), (2.76, "volume_high")]
)
def test_a_volume_is_flagged_beyond_what_training_saw(volume_ml: float, kind: str | None) -> None:
    found = flags(NOWHERE, measured(volume_ml, seen=(1.5, 2.75)))
    detail = f"{volume_ml:.2f} ml; in training 1.50 to 2.75 ml"
    assert found == (() if kind is None else (Flag(kind, detail),))  # type: ignore[arg-type]


@pytest.mark.parametrize(("confidence", "flagged"), [(0.799, True), (0.8, False), (None, False)])
def test_a_probability_is_flagged_below_its_limit(confidence: float | None, flagged: bool) -> None:
    found = flags(NOWHERE, measured(confidence=confidence))
    assert found == ((Flag("low_confidence", "mean probability 0.80, expected 0.8 or more"),) if flagged else ())


def test_four_pieces_are_many_and_the_largest_is_told() -> None:
    mask = NOWHERE.copy()
    mask[1:3, 1:3, 1], mask[5, 5, 5], mask[5, 1, 5] = 1, 1, 1
    assert flags(mask, measured()) == ()
    mask[1, 5, 5] = 1
    mask[1, 6, 6] = 1  # touches the last one at an edge
    assert flags(mask, measured()) == (Flag("many_components", "4 separate pieces, the largest holds 50%"),)


def test_faces_are_counted_of_the_field_of_view_or_of_all_boxes() -> None:
    mask = NOWHERE.copy()
    mask[0, 7, 3] = 1
    found = flags(mask, measured())
    assert found == (Flag("cut", "touches 2 of 6 faces of the field of view: part of it may lie outside"),)
    box = (slice(0, 4), slice(4, 8), slice(2, 4))
    found = flags(mask, measured(), [box])
    assert found == (Flag("cut", "touches 3 of 6 faces of the box: part of it may lie outside"),)


def test_flags_come_in_one_order_and_what_was_not_judged_is_said() -> None:
    mask = NOWHERE.copy()
    mask[::3, ::3, ::3] = 1
    (quality,) = judge_quality(mask, [measured(9.0, 0.5, (1.0, 2.0))], [])
    assert [flag.kind for flag in quality.flags] == ["volume_high", "low_confidence", "many_components", "cut"]
    assert quality.not_judged == ()
    (quality,) = judge_quality(mask, [measured(confidence=None)], [])
    assert quality.not_judged == ("volume", "confidence")
    (quality,) = judge_quality(NOWHERE, [measured(0.0, None)], [])
    assert quality.not_judged == ("volume",)
