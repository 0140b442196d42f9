"""The two configs of a model, for one of its versions, and the choice of the engine that the CPU config runs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from swinunet.export.engines.registry import DEFAULT_SERVED, Engine, served_engines
from swinunet.export.file_names import GATE_JSON_FILE
from swinunet.export.repository.triton_config import cpu_config, gpu_config
from swinunet.foundation.errors import InputError
from swinunet.foundation.files import write_whole
from swinunet.imaging import ModelSpec

GPU_CONFIG, CPU_CONFIG = "config.pbtxt", "configs/cpu.pbtxt"


@dataclass(frozen=True)
class Configs:
    """Text of config.pbtxt and configs/cpu.pbtxt. engine: what the latter runs."""

    gpu: str
    cpu: str
    engine: Engine

    def write(self, model: Path) -> None:
        """Write both into a model's folder, each whole; each names the version it serves. Raises OutputError."""
        (model / CPU_CONFIG).parent.mkdir(parents=True, exist_ok=True)
        write_whole(model / GPU_CONFIG, self.gpu.encode())
        write_whole(model / CPU_CONFIG, self.cpu.encode())


def make_configs(spec: ModelSpec, serve: str = DEFAULT_SERVED) -> Configs:
    """The configs of a version. serve: the engine that the CPU config runs. Raises InputError for others."""
    known = {engine.name: engine for engine in served_engines()}
    if serve not in known:
        raise InputError(f"the CPU config cannot serve {serve!r}; choose one of {', '.join(known)}")
    engine = known[serve]
    cpu = cpu_config(spec, engine.library.name, precision=engine.served_precision)
    return Configs(gpu_config(spec), cpu, engine)


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
    if not (model / CPU_CONFIG).is_file() or not (model / GPU_CONFIG).is_file():
        return None
    gpu, cpu = ((model / name).read_text() for name in (GPU_CONFIG, CPU_CONFIG))
    served = re.search(r"version_policy \{ specific \{ versions: \[ (\d+) \]", cpu)
    if served and int(served[1]) != version:
        return None
    library, precision = _parameter(cpu, "engine"), _parameter(cpu, "precision")
    for engine in served_engines():
        if (engine.library.name, engine.served_precision) == (library, precision):
            return Configs(gpu, cpu, engine)
    raise InputError(f"{model / CPU_CONFIG} serves {library} {precision}, which the gate cannot judge; export it again")


def _parameter(text: str, key: str) -> str:
    found = re.search(rf'key: "{key}", value \{{ string_value: "([^"]*)" \}}', text)
    return found[1] if found else "?"
