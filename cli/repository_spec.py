"""What a model in a repository says it takes, in its Triton config, before any server runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swinunet.imaging import ModelSpec


def spec_in_repository(repository: Path, model: str | None = None) -> ModelSpec | None:
    """The spec of a model, or of the only one; None where there is none, or no single one.

    Raises InputError for a config that is broken, SpecError for one without a spec.
    """
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from swinunet.foundation.errors import InputError
    from swinunet.imaging import SPEC_KEY, ModelSpec

    configs = list(repository.glob(f"{model or '*'}/config.pbtxt"))
    if len(configs) != 1:
        return None
    try:
        parameters = text_format.Parse(configs[0].read_bytes(), ModelConfig()).parameters
    except (OSError, text_format.ParseError):
        raise InputError(f"{configs[0]}: no readable Triton config; export the model again, or give --spec") from None
    return ModelSpec.from_json(parameters[SPEC_KEY].string_value, str(configs[0]))
