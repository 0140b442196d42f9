"""Libraries that read hostile files stay silent: pydicom quotes values in its warnings, libjpeg writes to stderr."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_LIBRARIES = ("pydicom", "libjpeg", "openjpeg", "pylibjpeg", "highdicom", "dicomanonymizer")
_STDERR = 2
_ONE_AT_A_TIME = threading.RLock()  # filters and file descriptors belong to the process


@contextmanager
def quiet() -> Iterator[None]:
    """No warning and no log record of the DICOM libraries goes anywhere while the block runs. Keep it short."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def with_complaints(function: Callable[[], T]) -> tuple[T, list[bytes]]:
    """What `function` returns, and the lines that C code in it wrote to standard error; none of them is shown.

    For a process that has no other threads: what they write would count as well.
    """
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as kept:
        shown = os.dup(_STDERR)
        os.dup2(kept.fileno(), _STDERR)
        try:
            result = function()
        finally:
            os.dup2(shown, _STDERR)
            os.close(shown)
        kept.seek(0)
        return result, kept.read().splitlines()
