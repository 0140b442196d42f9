"""The gateway's log: one line an event on standard error, with the time; nothing of the patient, UIDs as hashes."""

from __future__ import annotations

import logging
import sys
import time
import warnings

from swinunet.foundation.terminal import one_line

_LIBRARIES = ("pydicom", "pynetdicom", "highdicom", "uvicorn", "dicomweb_client", "urllib3", "sqlalchemy", "matplotlib")


class _OneLine(logging.Formatter):
    """Time, level where it is no plain message, and the message; what stands in a traceback may be the patient's."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{at} {level}{one_line(record.getMessage())}"


def configure_logs() -> None:
    """Send the gateway's own messages to standard error, and let no library say anything: they quote values."""
    warnings.simplefilter("ignore")
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    gateway = logging.getLogger(__package__)
    gateway.handlers, gateway.propagate = [handler], False
    gateway.setLevel(logging.INFO)
