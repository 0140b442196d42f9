"""The specs that Triton configs carry in their `parameters`, read from a repository before any server runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from swinunet.foundation.errors import InputError
from swinunet.imaging.spec import SPEC_KEY, ModelSpec

CONFIG_FILE = "config.pbtxt"


def specs_in_repository(repository: Path, model: str | None = None) -> tuple[ModelSpec, ...]:
    """The specs of the models with one of ours, by name. model: only this one; none if it is not there.

    Raises InputError for a config that is broken, SpecError for a spec that is.
    """
    configs = sorted(repository.glob(f"*/{CONFIG_FILE}"))
    found = (_spec_in(path) for path in configs if model in (None, path.parent.name))
    return tuple(spec for spec in found if spec is not None)


def spec_of_config(path: Path) -> ModelSpec:
    """The spec in a Triton config. Raises InputError for a file that is none, SpecError for one without a spec."""
    return ModelSpec.from_json(_parameters(path)[SPEC_KEY].string_value, str(path))


def _spec_in(path: Path) -> ModelSpec | None:
    return spec_of_config(path) if SPEC_KEY in _parameters(path) else None


def _parameters(path: Path) -> Any:  # a protobuf map without stubs
    try:
        return text_format.Parse(path.read_bytes(), ModelConfig()).parameters
    except (OSError, text_format.ParseError):
        raise InputError(f"{path}: no readable Triton config; export the model again") from None
