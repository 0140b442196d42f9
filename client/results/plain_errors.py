"""Libraries quote DICOM values in their errors; nothing that a patient's header says may pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from pydicom.dataset import Dataset

_SHORTEST = 3  # characters of a value that would be missed


def plain_reason(error: Exception, headers: Sequence[Dataset]) -> str:
    """An exception's type and first line; the type alone where the line quotes a value of a header."""
    kind, line = type(error).__name__, str(error).partition("\n")[0][:120]
    quoted = not line or any(value in line for header in headers for value in _values(header))
    return kind if quoted else f"{kind}: {line}"


def _values(header: Dataset) -> Iterator[str]:
    """Text of the header's top level, but for UIDs and codes that say nothing of a person."""
    for tag in header.keys():  # noqa: SIM118  iterating a Dataset decodes its values
        with suppress(ValueError, TypeError, OverflowError, NotImplementedError):  # a value that cannot be decoded
            element = header[tag]
            if element.VR not in ("UI", "CS", "SQ", "US", "IS", "DS") and len(text := str(element.value)) >= _SHORTEST:
                yield text
