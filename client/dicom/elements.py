"""Values of a data set by keyword, without the detours that `Dataset.get` takes: a folder has ten thousand headers."""

from __future__ import annotations

import itertools
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
    """The value as a short text up to its first control character, several joined by "/"; empty if it is absent.

    What follows a control character may be the next element, a patient's name, if the length field is damaged; for the
    same reason nothing is shown of values that a damaged VR makes bytes, names or sequences.
    """
    value = value_of(dataset, key)
    values = value if isinstance(value, MultiValue) else [value]
    text = "/".join(str(one) for one in values if isinstance(one, str | int | float))
    return "".join(itertools.takewhile(str.isprintable, text)).strip()[:64]
