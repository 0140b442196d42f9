"""Masks of made-up engines on small volumes: every figure by counting."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from small_model import SMALL_SPEC

from swinunet.export.gate.masks import MaskFigures, StructureFigures, compare_masks
from swinunet.imaging import ModelSpec, Volume
from swinunet.training.metrics.case_scores import score_case
from swinunet.training.metrics.statistics import Estimate

AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])  # a voxel is 0.01 ml
SHAPE = (10, 10, 4)


def box(first: int, second: int | None = None) -> np.ndarray:
    """A bar of the first structure, 4 x 4 x 2 voxels from `first` on, and one of the second one."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[first : first + 4, 1:5, 1:3] = 1
    if second is not None:
        mask[second : second + 4, 6:9, 1:3] = 2
    return mask


@dataclass(frozen=True)
class MadeCase:
    """A case whose engines answer with whole masks, which they find under the case's name."""

    name: str
    native_labels: Volume

    def predict(self, ask: Callable[[str, int], np.ndarray], batch: int) -> np.ndarray:
        return ask(self.name, batch)


@dataclass(frozen=True)
class MadeEvidence:
    labels: Sequence[np.ndarray]
    labelled: bool = True
    spec: ModelSpec = SMALL_SPEC

    @property
    def count(self) -> int:
        return len(self.labels)

    def cases(self) -> Iterator[MadeCase]:
        for at, labels in enumerate(self.labels):
            yield MadeCase(str(at), Volume(labels, AFFINE))


def answers(*masks: np.ndarray) -> Callable[[str, int], np.ndarray]:
    def ask(name: str, batch: int) -> np.ndarray:
        assert batch == 8
        return masks[int(name)]

    return ask


def compared(evidence: MadeEvidence, checkpoint: Sequence[np.ndarray], **engines: Sequence[np.ndarray]):
    asked = {name: answers(*masks) for name, masks in engines.items()}
    return compare_masks(asked, answers(*checkpoint), evidence)  # type: ignore[arg-type]


def test_every_figure_is_that_of_counting() -> None:
    """The engine's first structure is one voxel off in case 0, and nothing else; the checkpoint is right."""
    labels = [box(1, 1), box(2)]
    found = compared(MadeEvidence(labels), labels, engine=[box(2, 1), box(2)])["engine"]
    assert isinstance(found, MaskFigures)
    assert (found.cases, found.labelled) == (2, True)
    assert found.flipped == pytest.approx(2 * 4 * 2 / (2 * 400))
    first, second = found.structures
    assert (first.name, second.name) == ("above 0.5", "above 1.5")
    assert first.dice == pytest.approx((0.75 + 1) / 2)  # 24 of 32 voxels are shared
    assert first.dice_change.mean == pytest.approx(-0.125)
    assert (first.dice_change.low, first.dice_change.high) == (pytest.approx(-0.25), 0)
    hd95_mm = score_case(box(2, 1), Volume(labels[0], AFFINE), 3)[0].hd95_mm
    assert hd95_mm == 1
    assert first.hd95_mm == pytest.approx(hd95_mm / 2)
    assert first.hd95_change_mm == pytest.approx(hd95_mm / 2)
    assert first.dice_with_checkpoint == pytest.approx(0.875)
    assert first.hd95_with_checkpoint_mm == pytest.approx(hd95_mm / 2)
    assert first.volume_ml == pytest.approx(0.64)
    assert first.volume_change_ml == 0
    assert first.volume_change == 0
    assert second == StructureFigures("above 1.5", 1.0, Estimate(0.0), 0.0, 0.0, 1.0, 0.0, pytest.approx(0.24), 0.0)


def test_an_engine_is_compared_with_the_labels_and_with_the_checkpoint_apart() -> None:
    """The checkpoint is one voxel off; one engine repeats it, another is right where it is not."""
    labels, checkpoint = [box(1)], [box(2)]
    found = compared(MadeEvidence(labels), checkpoint, same=checkpoint, better=labels)
    same, better = (found[name].structures[0] for name in ("same", "better"))  # type: ignore[union-attr]
    assert (same.dice, same.dice_change.mean, same.dice_with_checkpoint) == (0.75, 0, 1)
    assert (better.dice, better.dice_change.mean, better.dice_with_checkpoint) == (1, 0.25, 0.75)
    assert (same.hd95_change_mm, better.hd95_change_mm) == (0, -1)
    assert (better.hd95_mm, better.hd95_with_checkpoint_mm) == (0, 1)
    assert better.dice_change == Estimate(0.25)  # no interval over one case
    assert (found["same"].flipped, found["better"].flipped) == (0, 16 / 400)  # type: ignore[union-attr]


def test_changes_of_volume_do_not_cancel() -> None:
    """One case loses a slice of 16 voxels, the other gains one."""
    small, large = box(1), box(1)
    small[:, :, 2], large[:, :, 3] = 0, large[:, :, 2]
    found = compared(MadeEvidence([box(1), box(1)]), [box(1), box(1)], engine=[small, large])["engine"]
    assert isinstance(found, MaskFigures)
    structure = found.structures[0]
    assert structure.volume_ml == pytest.approx(0.64)
    assert structure.volume_change_ml == pytest.approx(0.32)
    assert structure.volume_change == pytest.approx(0.5)


def test_a_structure_that_nobody_has_is_left_out_and_one_of_the_engine_alone_is_infinite() -> None:
    found = compared(MadeEvidence([box(1)]), [box(1)], without=[box(1)], invents=[box(1, 1)])
    _, absent = found["without"].structures  # type: ignore[union-attr]
    assert absent == StructureFigures("above 1.5", None, Estimate(None), None, None, None, None, 0.0, 0.0)
    assert absent.volume_change is None
    _, invented = found["invents"].structures  # type: ignore[union-attr]
    assert invented.dice == invented.dice_with_checkpoint == 0
    assert invented.dice_change == Estimate(None)  # the checkpoint has no Dice to compare with
    assert invented.volume_change == math.inf


def test_without_labels_only_the_checkpoint_is_compared_with() -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    found = compared(MadeEvidence([nothing], labelled=False), [box(1)], engine=[box(2)])["engine"]
    assert isinstance(found, MaskFigures)
    assert not found.labelled
    first = found.structures[0]
    assert (first.dice, first.hd95_mm, first.hd95_change_mm, first.dice_change) == (None, None, None, Estimate(None))
    assert (first.dice_with_checkpoint, first.hd95_with_checkpoint_mm) == (0.75, 1)


def test_an_engine_that_raises_is_left_out_from_there_on_and_said_so() -> None:
    broken, asked, said = OSError("no more memory"), [], []

    def fails(name: str, batch: int) -> np.ndarray:
        asked.append(name)
        if name == "1":
            raise broken
        return box(1)

    evidence = MadeEvidence([box(1)] * 4)
    engines = {"fails": fails, "works": answers(*[box(1)] * 4)}
    found = compare_masks(engines, answers(*[box(1)] * 4), evidence, said.append)  # type: ignore[arg-type]
    assert found["fails"] is broken
    assert asked == ["0", "1"]
    assert isinstance(found["works"], MaskFigures)
    assert found["works"].cases == 4
    assert said == [
        "gate: masks of 2 engines, case 1 of 4", "gate: masks of 2 engines, case 2 of 4",
        "gate: masks of 1 engines, case 3 of 4", "gate: masks of 1 engines, case 4 of 4",
    ]  # fmt: skip
    assert list(found) == ["fails", "works"]
