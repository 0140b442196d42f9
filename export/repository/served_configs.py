"""The two configs of a model, for one of its versions, and the choice of the engine that the CPU config runs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from swinunet.export.gate.rows import DEFAULT_SERVED, ROWS, Row
from swinunet.export.repository.triton_config import CpuEngine, CpuPrecision, cpu_config, gpu_config
from swinunet.foundation.errors import InputError
from swinunet.foundation.files import write_whole
from swinunet.imaging import ModelSpec

GPU_CONFIG, CPU_CONFIG = "config.pbtxt", "configs/cpu.pbtxt"


@dataclass(frozen=True)
class Configs:
    """Text of config.pbtxt and configs/cpu.pbtxt. row: what the latter runs."""

    gpu: str
    cpu: str
    row: Row

    def write(self, model: Path) -> None:
        """Write both into a model's folder, each whole; each names the version it serves. Raises OutputError."""
        (model / CPU_CONFIG).parent.mkdir(parents=True, exist_ok=True)
        write_whole(model / GPU_CONFIG, self.gpu.encode())
        write_whole(model / CPU_CONFIG, self.cpu.encode())


def make_configs(spec: ModelSpec, serve: str = DEFAULT_SERVED) -> Configs:
    """The configs of a version. serve: name of the row that the CPU config runs. Raises InputError for another name."""
    known = {row.name: row for row in ROWS if _as_served(row) is not None}
    if serve not in known:
        raise InputError(f"the CPU config cannot serve {serve!r}; choose one of {', '.join(known)}")
    engine, precision = cast(tuple[CpuEngine, CpuPrecision], _as_served(known[serve]))
    return Configs(gpu_config(spec), cpu_config(spec, engine, precision=precision), known[serve])


def recorded_choice(version: Path) -> str:
    """The row that a version was put to service with, as its gate.json says; the default where it says nothing."""
    try:
        return str(json.loads((version / "gate.json").read_text())["served"])
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
    said = (_parameter(cpu, "engine"), _parameter(cpu, "precision"))
    row = next((row for row in ROWS if _as_served(row) == said), None)
    if row is None:
        raise InputError(f"{model / CPU_CONFIG} serves {' '.join(said)}, which the gate cannot judge; export it again")
    return Configs(gpu, cpu, row)


def _as_served(row: Row) -> tuple[str, str] | None:
    """Engine and precision in the words of the CPU config; None for a row that it has no words for."""
    precision = "f32" if row.precision == "fp32" else row.precision
    known = row.loader in get_args(CpuEngine) and precision in get_args(CpuPrecision)
    return (row.loader, precision) if known else None


def _parameter(text: str, key: str) -> str:
    found = re.search(rf'key: "{key}", value \{{ string_value: "([^"]*)" \}}', text)
    return found[1] if found else "?"
