"""A model card says what is true of its model, and a shipped card is what would be written today."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from located_models import CROPPED, LOCATOR
from small_model import SMALL_SPEC

from swinunet.export.repository.model_card import model_card
from swinunet.export.repository.version_files import read_checkpoint
from swinunet.imaging import ModelSpec, Window
from swinunet.imaging.repository_specs import specs_in_repository
from swinunet.training.network.recipes import recipe

HEART = replace(SMALL_SPEC, name="heart", plane="acquired", larger_slices="middle", spacing_mm=(1.5, 1.5))


def card_of(spec: ModelSpec) -> str:
    return model_card(spec, recipe("tiny").build(spec.in_channels, spec.num_classes))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (LOCATOR, "It finds the boxes of other models in a whole brain"),
        (CROPPED, "Trained on crops around the organ: finder finds its boxes, with a margin of 5 mm"),
        (HEART, "It takes whole images as they come; of slices larger than its input it reads the middle."),
        (replace(SMALL_SPEC, spacing_mm=None), "each slice stretched to its input"),
        (replace(SMALL_SPEC, spacing_mm=(2.0, 1.5)), "images whose slices fit 64 x 48 mm"),
    ],
    ids=["locator", "crops", "middle", "stretched", "whole"],
)
def test_it_says_where_the_model_looks_and_only_that(spec: ModelSpec, said: str) -> None:
    card = card_of(spec)
    assert said in card
    assert ("Trained on crops" in card) == (spec is CROPPED)


def test_slices_are_described_as_they_are_read() -> None:
    heart = card_of(HEART)
    assert "acquired (as they were taken) slices of 32 x 32 pixels at 1.5 x 1.5 mm, each slice by itself" in heart
    assert "3 neighbouring slices 1 mm apart" in card_of(replace(SMALL_SPEC, context_slices=3))
    scaled = replace(SMALL_SPEC, intensity=Window(-125, 275, scaled_to=(0, 1)))
    assert "window -125 to 275, scaled to 0..1" in card_of(scaled)


def test_shipped_cards_are_what_would_be_written_today(repository: Path) -> None:
    """Notes of a training may follow."""
    specs = specs_in_repository(repository)
    if not specs:
        pytest.skip("no shipped model")
    for spec in specs:
        folder = repository / spec.name / str(spec.version)
        network, trained = read_checkpoint(folder / "checkpoint.safetensors", spec.version)
        assert (folder / "MODEL_CARD.md").read_text().startswith(model_card(trained, network.config))
