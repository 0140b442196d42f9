"""The spec in the metadata of an ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx

from swinunet.foundation.errors import InputError
from swinunet.imaging import SPEC_KEY, ModelSpec


def put_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Make `spec` the only metadata of `model`."""
    onnx.helper.set_model_props(model, {SPEC_KEY: spec.to_json()})


def spec_in(model: onnx.ModelProto, where: str) -> ModelSpec | None:
    """The spec that `model` carries, or None. where: names the file in a message. Raises SpecError for a broken one."""
    text = _metadata(model).get(SPEC_KEY)
    return None if text is None else ModelSpec.from_json(text, where)


def read_spec(path: Path) -> ModelSpec:
    """The spec in the ONNX file at `path`. Raises InputError for a file that is no ONNX, SpecError for one without."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; export the model again") from None
    except Exception as error:  # protobuf raises its own
        raise InputError(f"{path} is not a readable ONNX file ({type(error).__name__}); export it again") from None
    return ModelSpec.from_json(_metadata(model).get(SPEC_KEY, ""), str(path))


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}
