"""What an ONNX artefact must look like before it is run: the wire contract, its precision, its own checkpoint."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
from onnx import TensorProto

from swinunet.export.graph.onnx_spec import spec_in
from swinunet.foundation.errors import ParityError, SpecError
from swinunet.imaging import ModelSpec

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")


def require_wire_contract(path: Path, spec: ModelSpec, stored: str) -> None:
    """Raises ParityError if the graph at `path` does not have the spec's inputs and outputs, or was made for another.

    stored: element type that most of its weights must have; empty for any.
    """
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf raises its own
        raise ParityError(f"{path.name} is not a readable ONNX file ({type(error).__name__})") from None
    tensors = {value.name: _typed_shape(value) for value in (*model.graph.input, *model.graph.output)}
    for name, expected in _expected(spec).items():
        if tensors.get(name) != expected:
            raise ParityError(
                f"{path.name} has {name} {tensors.get(name, 'nowhere')}, its model's spec wants {expected}"
            )
    try:
        carried = spec_in(model, path.name)
    except SpecError as error:
        raise ParityError(str(error)) from None
    if carried is not None and _identity(carried) != _identity(spec):
        raise ParityError(f"{path.name} was exported from another checkpoint or as another version")
    found = _stored(model)
    if stored and found != stored:
        raise ParityError(f"the weights of {path.name} are {found}, expected {stored}")


def _expected(spec: ModelSpec) -> dict[str, str]:
    height, width = spec.input_size
    return {
        "image": f"FLOAT16 [batch, {spec.in_channels}, {height}, {width}]",
        "labels": f"UINT8 [batch, {height}, {width}]",
        "probabilities": f"FLOAT16 [batch, {spec.num_classes}, {height}, {width}]",
    }


def _typed_shape(value: onnx.ValueInfoProto) -> str:
    """Type and shape, such as `FLOAT16 [batch, 3, 64, 64]`; any name of a first axis without a number is `batch`."""
    tensor = value.type.tensor_type
    sizes = [str(size.dim_value) if size.HasField("dim_value") else size.dim_param or "?" for size in tensor.shape.dim]
    if sizes and not sizes[0].isdigit():
        sizes[0] = "batch"
    return f"{TensorProto.DataType.Name(tensor.elem_type)} [{', '.join(sizes)}]"


def _identity(spec: ModelSpec) -> tuple[str, int, str]:
    return spec.name, spec.version, spec.provenance.checkpoint_sha256


def _stored(model: onnx.ModelProto) -> str:
    """The element type of most floating-point constants, counted by element."""
    counts: Counter[str] = Counter()
    for tensor in model.graph.initializer:
        elements = 1
        for size in tensor.dims:
            elements *= size
        counts[TensorProto.DataType.Name(tensor.data_type)] += elements
    floats = {name: count for name, count in counts.items() if name in _FLOATS}
    return max(floats, key=lambda name: floats[name], default="nothing")
