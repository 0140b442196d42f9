"""The configs of a model, for one of its versions, and the choice of the engine that the CPU config runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swinunet.export.engines.registry import DEFAULT_SERVED, Engine, choose_served, served_engines
from swinunet.export.file_names import GATE_JSON_FILE
from swinunet.export.repository.triton_config import cpu_config, default_config, openvino_config, tensorrt_config
from swinunet.foundation.errors import InputError
from swinunet.foundation.files import write_whole
from swinunet.imaging import ModelSpec
from swinunet.serving.tuned import TUNED_CONFIG, TUNED_RECORD

DEFAULT_CONFIG, CPU_CONFIG = "config.pbtxt", "configs/cpu.pbtxt"


@dataclass(frozen=True)
class Configs:
    """texts: of each config, by its place in the model's folder. engine: what the CPU config runs."""

    texts: Mapping[str, str]
    engine: Engine

    def write(self, model: Path) -> None:
        """Write all into a model's folder, each whole; each names the version it serves. Raises OutputError."""
        for name, text in self.texts.items():
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(model / name, text.encode())
        for name in (TUNED_CONFIG, TUNED_RECORD):  # measured of one version; the next is tuned anew
            (model / name).unlink(missing_ok=True)


def make_configs(spec: ModelSpec, serve: str = DEFAULT_SERVED) -> Configs:
    """The configs of a version. serve: the engine that the CPU config runs. Raises InputError for others."""
    engine = choose_served(serve)
    texts = {
        DEFAULT_CONFIG: default_config(spec),
        "configs/tensorrt.pbtxt": tensorrt_config(spec),
        "configs/openvino.pbtxt": openvino_config(spec),
        CPU_CONFIG: cpu_config(spec, engine.library.name, precision=engine.served_precision),
    }
    return Configs(texts, engine)


def recorded_choice(version: Path) -> str:
    """The engine that a version was exported to be served with, by its gate.json; the default where it names none."""
    try:
        return str(json.loads((version / GATE_JSON_FILE).read_text())["served"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_SERVED


def read_configs(model: Path, version: int) -> Configs | None:
    """The configs that lie in a model's folder; None if there are none, or they serve another version.

    Raises InputError for a CPU config with an engine or precision that the gate does not know.
    """
    if not (model / CPU_CONFIG).is_file() or not (model / DEFAULT_CONFIG).is_file():
        return None
    texts = {name: (model / name).read_text() for name in (DEFAULT_CONFIG, CPU_CONFIG)}
    cpu = texts[CPU_CONFIG]
    served = re.search(r"version_policy \{ specific \{ versions: \[ (\d+) \]", cpu)
    if served and int(served[1]) != version:
        return None
    library, precision = _parameter(cpu, "engine"), _parameter(cpu, "precision")
    for engine in served_engines():
        if (engine.library.name, engine.served_precision) == (library, precision):
            return Configs(texts, engine)
    raise InputError(f"{model / CPU_CONFIG} serves {library} {precision}, which the gate cannot judge; export it again")


def _parameter(text: str, key: str) -> str:
    found = re.search(rf'key: "{key}", value \{{ string_value: "([^"]*)" \}}', text)
    return found[1] if found else "?"
