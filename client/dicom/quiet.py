"""Libraries that read hostile files stay silent: pydicom quotes values in its warnings, libjpeg writes to stderr."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_LIBRARIES = ("pydicom", "libjpeg", "openjpeg", "pylibjpeg")
_STDERR = 2
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """No warning and no log record of pydicom or its codecs goes anywhere while the block runs."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def stderr_kept() -> Iterator[BinaryIO]:
    """A file that takes what C libraries write to standard error, which shows nothing meanwhile."""
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as kept:
        shown = os.dup(_STDERR)
        os.dup2(kept.fileno(), _STDERR)
        try:
            yield kept
        finally:
            os.dup2(shown, _STDERR)
            os.close(shown)
