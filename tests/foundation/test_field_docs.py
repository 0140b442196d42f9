"""The docstring under a dataclass's field is read as text for help."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest

from swinunet.foundation.field_docs import field_docs
from swinunet.training.loop.settings import Augmentation, TrainSettings


@dataclass
class Oven:
    """A class docstring belongs to no field."""

    shared: ClassVar[int] = 1
    heat_c: float = 180.0
    """Heat of the oven,
    in degrees Celsius."""
    door: str = "closed"
    timer_s: int = 0
    """Seconds until it turns off."""

    def bake(self) -> None:
        """Of a method."""


def test_the_docstring_under_each_field_is_one_line_of_text() -> None:
    assert field_docs(Oven) == {
        "heat_c": "Heat of the oven, in degrees Celsius.",
        "timer_s": "Seconds until it turns off.",
    }


@pytest.mark.parametrize("settings", [TrainSettings, Augmentation])
def test_every_setting_of_a_training_run_is_explained(settings: type) -> None:
    docs = field_docs(settings)
    assert docs.keys() == {field.name for field in dataclasses.fields(settings)}
    for name, text in docs.items():
        assert text.endswith("."), f"{name}: {text}"
        assert text[0].isupper(), f"{name}: {text}"
        assert 20 < len(text) <= 230, f"{name}: {len(text)} characters"
