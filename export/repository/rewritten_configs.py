"""Configs for a repository that is there already: written anew from the spec in the config of each model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swinunet.export.engines.registry import Engine
from swinunet.export.file_names import GATE_JSON_FILE
from swinunet.export.repository.served_configs import DEFAULT_CONFIG, make_configs, recorded_choice
from swinunet.export.repository.versions import locked
from swinunet.foundation.errors import InputError
from swinunet.imaging.repository_specs import spec_of_config


@dataclass(frozen=True)
class RewrittenConfigs:
    """A model whose configs were written: its name and version, and the engine that its CPU config runs."""

    model: str
    version: int
    engine: str


def rewrite_configs(repository: Path, name: str | None = None, serve: str | None = None) -> list[RewrittenConfigs]:
    """Write the configs of every model, or of the one of that name, for the version that it serves now.

    serve: the engine of the CPU config; None keeps the one that the version was exported with. A tuned config goes.
    Raises InputError for a repository without such a model, a config that cannot be read, or an engine that the
    version's gate has not passed; SpecError for a config without a spec; OutputError.
    """
    models = sorted(path.parent for path in repository.glob(f"{name or '*'}/{DEFAULT_CONFIG}"))
    if not models:
        wanted = f"no model {name!r}" if name else "no model"
        raise InputError(f"{repository} has {wanted} with a {DEFAULT_CONFIG}; export one first")
    specs = {model: spec_of_config(model / DEFAULT_CONFIG) for model in models}
    written = []
    with locked(repository):
        for model, spec in specs.items():
            version = model / str(spec.version)
            if not version.is_dir():
                raise InputError(f"{version} is missing, which {model / DEFAULT_CONFIG} serves; export it again")
            configs = make_configs(spec, serve or recorded_choice(version))
            if serve is not None:
                _require_passed(version, configs.engine)
            configs.write(model)
            written.append(RewrittenConfigs(spec.name, spec.version, configs.engine.name))
    return written


def _require_passed(version: Path, engine: Engine) -> None:
    """Raise InputError unless the gate of this version judged the engine and it passed."""
    try:
        judged: dict[str, Any] = {
            each["engine"]: each["status"] for each in json.loads((version / GATE_JSON_FILE).read_text())["verdicts"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        judged = {}
    if judged.get(engine.name) != "passed":
        passed = ", ".join(name for name, status in judged.items() if status == "passed") or "none"
        raise InputError(
            f"{version}: its gate has not passed {engine.name} (passed: {passed}); export it as a new version with "
            f"--serve-with {engine.name}"
        )
