"""Nothing is reported to anybody: the libraries that would tell their makers of their use are silenced first.

OpenVINO and NNCF   send an event to an analytics host as they are imported, and keep an identifier in ~/intel; without
                    the package `openvino_telemetry` they send nothing
ONNX Runtime        keeps an identifier and unsent events in ~/.cache/Microsoft, and sends them from its own threads

`swinunet/__init__.py` calls this, so it has happened before any part of this software imports a library. The served
`model.py` stands alone and does the same for itself.
"""

from __future__ import annotations

import os
import sys

SILENCED_BY_VARIABLE = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
SILENCED_BY_ABSENCE = ("openvino_telemetry",)


def switch_off_telemetry() -> None:
    """Switch it off in this process and, by the environment, in those that it starts."""
    os.environ.update(SILENCED_BY_VARIABLE)
    for package in SILENCED_BY_ABSENCE:
        sys.modules[package] = None  # type: ignore[assignment]  # importing it now raises ModuleNotFoundError
