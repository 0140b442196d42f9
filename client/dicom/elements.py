"""Values of a data set by keyword, without the detours that `Dataset.get` takes: a folder has ten thousand headers."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag


@cache
def tag_of(key: str | int) -> BaseTag:
    """The tag of a keyword or a number."""
    return Tag(key)


def value_of(dataset: Dataset, key: str | int) -> Any:
    """The value of an attribute, None if it is absent. Raises whatever pydicom raises for one it cannot convert."""
    tag = tag_of(key)
    return dataset[tag].value if tag in dataset.keys() else None  # noqa: SIM118  `in dataset` is slow


def text_of(dataset: Dataset, key: str | int) -> str:
    """The value as a short text without control characters, several joined by "/"; empty if it is absent."""
    value = value_of(dataset, key)
    text = "/".join(map(str, value)) if isinstance(value, MultiValue) else "" if value is None else str(value)
    text = text if text.isprintable() else "".join(letter for letter in text if letter.isprintable())
    return text.strip()[:64]
