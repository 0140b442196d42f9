"""The spec that a Triton config carries in its `parameters`, read from the file, before any server runs."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from swinunet.foundation.errors import InputError
from swinunet.imaging import SPEC_KEY, ModelSpec


def spec_of_config(path: Path) -> ModelSpec:
    """The spec in a Triton config. Raises InputError for a file that is none, SpecError for one without a spec."""
    try:
        config = text_format.Parse(path.read_bytes(), ModelConfig())
    except (OSError, text_format.ParseError):
        raise InputError(f"{path}: no readable Triton config; export the model again") from None
    return ModelSpec.from_json(config.parameters[SPEC_KEY].string_value, str(path))
