"""Values of a data set by keyword, without the detours that `Dataset.get` takes: a folder has ten thousand headers."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from swinunet.client.dicom.sources import FaultError

_LARGEST = 1e12  # of any number about geometry or rescaling


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


def number_of(dataset: Dataset, keyword: str) -> float | None:
    """The one number of an attribute, as `numbers_of` has it."""
    numbers = numbers_of(dataset, keyword, 1)
    return numbers[0] if numbers else None


def numbers_of(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` numbers of a size that can be squared, or None if the attribute is absent or empty.

    Raises FaultError for anything else.
    """
    value = value_of(dataset, keyword)
    if value is None or value == "":
        return None
    numbers = tuple(float(part) for part in (value if isinstance(value, list | MultiValue) else [value]))
    if len(numbers) != count or not all(abs(number) <= _LARGEST for number in numbers):
        raise FaultError(f"its {keyword} is not {count} finite numbers up to {_LARGEST:g}")
    return numbers
