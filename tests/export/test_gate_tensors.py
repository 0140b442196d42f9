"""The gate's figures of tensors against numpy's, and each of their limits from both sides."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from swinunet.export.gate.tensors import BATCHES, BatchFigures, WireRunner, compare, feeds, run, torch_runner
from swinunet.export.graph.onnx_graph import LOGITS
from swinunet.foundation.errors import ParityError

ALLOWED = SimpleNamespace(max_probability=0.02, mean_probability=5e-4, differing_labels=3e-4)
EXACT = SimpleNamespace(max_probability=0.02, mean_probability=5e-4, differing_labels=0.0)
RIGHT = BatchFigures(3, 0.02, 5e-4, 1e-3, 100_000, 30, 0)  # all at their limits


def outputs(image: np.ndarray) -> dict[str, np.ndarray]:
    """Three classes; brightness decides, and every probability is a whole number of 1/64."""
    first = np.clip(np.rint(image[:, 0].astype(np.float32) * 32 + 32), 2, 60)
    logits = np.stack([first, 62 - first, 0 * first + 2], axis=1) / 64
    return {
        "labels": logits.argmax(axis=1).astype(np.uint8),
        "probabilities": logits.astype(np.float16),
        LOGITS: logits.astype(np.float32),
    }


def images() -> list[dict[str, np.ndarray]]:
    return feeds(np.random.default_rng(0).uniform(-1, 1, (20, 1, 8, 8)).astype(np.float16))


def figures(change) -> list[BatchFigures]:
    """An engine that answers as `outputs`, changed in place by `change(found, batch)`."""

    def answer(image: np.ndarray) -> dict[str, np.ndarray]:
        found = outputs(image)
        change(found, len(image))
        return found

    fed = images()
    return compare(run(WireRunner("engine", answer), fed), run(WireRunner("reference", outputs), fed))


def test_batches_are_of_other_sizes_than_the_exported_one_and_of_slices_spread_over_all() -> None:
    slices = np.arange(100, dtype=np.float16).reshape(100, 1, 1, 1)
    fed = [each["image"] for each in feeds(slices)]
    assert tuple(len(each) for each in fed) == BATCHES == (1, 3, 8, 16)
    assert all(each.flags.c_contiguous and each.dtype == np.float16 for each in fed)
    for each in fed:
        places = each.ravel().astype(int)
        expected = np.linspace(0, 99, len(places) + 2)[1:-1]  # inner points: first and last slices may be empty
        assert (np.abs(places - expected) < 1).all()
    assert [len(each["image"]) for each in feeds(slices[:2])] == [1, 3, 8, 16]


def test_the_same_outputs_have_no_error() -> None:
    for batch, found in zip(BATCHES, figures(lambda found, batch: None), strict=True):
        assert found == BatchFigures(batch, 0.0, 0.0, 0.0, batch * 64, 0, 0)


def test_errors_are_the_largest_and_the_mean_of_all() -> None:
    def change(found: dict[str, np.ndarray], batch: int) -> None:
        found["probabilities"][-1, 1, 2, 3] -= np.float16(1 / 64)
        found["probabilities"][-1, 2, 2, 3] += np.float16(3 / 64)
        found[LOGITS][-1, 0, 0, 0] += 0.25

    for batch, found in zip(BATCHES, figures(change), strict=True):
        assert found.max_probability_error == pytest.approx(3 / 64)
        assert found.mean_probability_error == pytest.approx(4 / 64 / (batch * 3 * 64), rel=1e-3)
        assert found.max_logit_error == pytest.approx(0.25)
        assert (found.differing_labels, found.beyond_ties) == (0, 0)


def test_labels_that_differ_where_two_classes_tie_are_counted_apart() -> None:
    """Of the reference, at brightness 31/64 both classes have the same probability: a tie."""

    def change(found: dict[str, np.ndarray], batch: int) -> None:
        found["labels"][:] = 2

    fed = images()
    for each, found in zip(fed, figures(change), strict=True):
        top = np.sort(outputs(each["image"])["probabilities"].astype(np.float64), axis=1)[:, -2:]
        ties = int((np.diff(top, axis=1) < 2e-3).sum())
        assert found.differing_labels == found.labels
        assert found.beyond_ties == found.labels - ties
    assert any(found.beyond_ties < found.differing_labels for found in figures(change))


def test_an_engine_without_logits_is_judged_without_them() -> None:
    assert all(found.max_logit_error is None for found in figures(lambda found, batch: found.pop(LOGITS)))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("labels", lambda array: array.astype(np.int64), r"labels are int64 \[1, 8, 8\] at batch 1, expected uint8"),
        ("labels", lambda array: array[:, None], r"labels are uint8 \[1, 1, 8, 8\] at batch 1, expected uint8 \[1, 8"),
        ("probabilities", lambda array: array.astype(np.float32), r"probabilities are float32 \[1, 3, 8, 8\]"),
        ("probabilities", lambda array: array[:, :2], r"probabilities are float16 \[1, 2, 8, 8\] at batch 1"),
    ],
)
def test_outputs_of_another_shape_or_type_are_refused(name: str, change, says: str) -> None:
    with pytest.raises(ParityError, match=says):
        figures(lambda found, batch: found.update({name: change(found[name])}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_probability_that_is_no_number_is_enough(value: float) -> None:
    def change(found: dict[str, np.ndarray], batch: int) -> None:
        if batch == 16:
            found["probabilities"][:8, 0, :, :] = value

    with pytest.raises(ParityError, match=r"16\.7% of the probabilities at batch 16 are not finite"):
        figures(change)


def test_figures_at_their_limits_pass() -> None:
    assert RIGHT.failures(ALLOWED) == []  # type: ignore[arg-type]
    assert dataclasses.replace(RIGHT, max_logit_error=None).failures(ALLOWED) == []  # type: ignore[arg-type]
    assert RIGHT.failures(EXACT) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("max_probability_error", 0.021, "largest probability error 0.021 at batch 3 (allowed 0.02)"),
        ("mean_probability_error", 6e-4, "mean probability error 0.0006 at batch 3 (allowed 0.0005)"),
        ("max_logit_error", 1.1e-3, "largest logit error 0.0011 at batch 3 (allowed 0.001)"),
        ("differing_labels", 31, "share of labels that differ 0.00031 at batch 3 (allowed 0.0003)"),
    ],
)
def test_one_figure_beyond_its_limit_fails_and_so_does_nan(field: str, value: float, says: str) -> None:
    assert dataclasses.replace(RIGHT, **{field: value}).failures(ALLOWED) == [says]  # type: ignore[arg-type]
    (reason,) = dataclasses.replace(RIGHT, **{field: math.nan}).failures(ALLOWED)  # type: ignore[arg-type]
    assert reason.startswith(says.partition(" at batch")[0].rpartition(" ")[0] + " nan")


def test_where_no_label_may_differ_ties_are_excused() -> None:
    """Then the share has no say, however large, and one label beyond a tie is one too many."""
    ties = dataclasses.replace(RIGHT, differing_labels=90_000)
    assert ties.failures(EXACT) == []  # type: ignore[arg-type]
    (reason,) = dataclasses.replace(ties, beyond_ties=1).failures(EXACT)  # type: ignore[arg-type]
    assert reason == "labels that differ and are no ties 1 at batch 3 (allowed 0)"
    assert dataclasses.replace(RIGHT, beyond_ties=50).failures(ALLOWED) == []  # type: ignore[arg-type]


def test_the_reference_is_the_network_in_float32() -> None:
    class Linear(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            assert image.dtype == torch.float32
            assert torch.is_inference_mode_enabled()
            return torch.cat([image, 2 * image, 1 - image], dim=1)

    fed = images()
    found = run(torch_runner(Linear()), fed)  # type: ignore[arg-type]
    for each, outcome in zip(fed, found, strict=True):
        image = each["image"].astype(np.float64)
        logits = np.concatenate([image, 2 * image, 1 - image], axis=1)
        odds = np.exp(logits)
        np.testing.assert_allclose(outcome[LOGITS], logits, atol=1e-6)
        np.testing.assert_allclose(outcome["probabilities"], odds / odds.sum(axis=1, keepdims=True), atol=1e-3)
        np.testing.assert_array_equal(outcome["labels"], logits.argmax(axis=1))
        assert outcome["labels"].dtype == np.uint8
        assert outcome["probabilities"].dtype == np.float16
