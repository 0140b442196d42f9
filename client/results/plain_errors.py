"""Libraries quote DICOM values in their errors, warnings and logs; nothing that a patient's header says may pass."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pydicom.dataset import Dataset

_LOGGERS = ("highdicom", "pydicom", "dicomanonymizer")
_LOCK = threading.RLock()  # filters and levels belong to the process: two threads would restore each other's
_SHORTEST = 3  # characters of a value that would be missed


def plain_reason(error: Exception, headers: Sequence[Dataset]) -> str:
    """An exception's type and first line; the type alone where the line quotes a value of a header."""
    kind, line = type(error).__name__, str(error).partition("\n")[0][:120]
    quoted = not line or any(value in line for header in headers for value in _values(header))
    return kind if quoted else f"{kind}: {line}"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No warnings, and no log messages of the DICOM libraries, inside the block; one thread at a time."""
    with _LOCK, warnings.catch_warnings():
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        levels = [logger.level for logger in loggers]
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _values(header: Dataset) -> Iterator[str]:
    """Text of the header's top level, but for UIDs and codes that say nothing of a person."""
    for tag in header.keys():  # noqa: SIM118  iterating a Dataset decodes its values
        with suppress(ValueError, TypeError, OverflowError, NotImplementedError):  # a value that cannot be decoded
            element = header[tag]
            if element.VR not in ("UI", "CS", "SQ", "US", "IS", "DS") and len(text := str(element.value)) >= _SHORTEST:
                yield text
