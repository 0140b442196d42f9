"""The specs of the models that may be asked: from the Triton that serves them, or from a repository's configs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from swinunet.foundation.errors import InputError
from swinunet.imaging import SPEC_KEY, ModelSpec


def specs_in_repository(repository: Path) -> dict[str, ModelSpec]:
    """The spec of each of our models in a Triton model repository, by name.

    Raises InputError for a config that is broken or a folder without a model, SpecError for a broken spec.
    """
    found = {}
    for config in sorted(repository.glob("*/config.pbtxt")):
        try:
            parameters = text_format.Parse(config.read_bytes(), ModelConfig()).parameters
        except (OSError, text_format.ParseError):
            raise InputError(f"{config}: no readable Triton config; export the model again") from None
        if SPEC_KEY in parameters:
            found[config.parent.name] = ModelSpec.from_json(parameters[SPEC_KEY].string_value, str(config))
    if not found:
        raise InputError(f"{repository}: no model of ours in it; expected a folder with config.pbtxt for each")
    return found


def require_models(specs: Mapping[str, ModelSpec], names: tuple[str, ...], place: str) -> None:
    """Raise InputError if a model that a route names is not there."""
    for name in names:
        if name not in specs:
            raise InputError(f"{place} has no model {name!r}; it has {', '.join(specs) or 'none'}")
