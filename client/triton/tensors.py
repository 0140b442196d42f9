"""Whether the tensors that a server declares for a model are those that its spec speaks of."""

from __future__ import annotations

from typing import Any

from swinunet.foundation.errors import SpecError
from swinunet.imaging import ModelSpec


def require_tensors(spec: ModelSpec, config: Any, origin: str) -> None:
    """Compare the tensors of a Triton model config with the spec in its parameters; -1 is any size.

    config: inference.ModelConfig, a protobuf without stubs. origin: what errors call it. Raises SpecError if a tensor's
    dimensions contradict the spec: one of the two is of another model.
    """
    height, width = spec.input_size
    expected = {
        "image": (spec.in_channels, height, width),
        "labels": (height, width),
        "probabilities": (spec.num_classes, height, width),
    }
    for tensor in (*config.input, *config.output):
        found, wanted = tuple(tensor.dims), expected.get(tensor.name, ())
        if wanted and (len(found) != len(wanted) or any(a not in (-1, b) for a, b in zip(found, wanted, strict=True))):
            raise SpecError(
                f"{origin}: the server's tensor {tensor.name} is {_sizes(found)}, by the model's spec it is "
                f"{_sizes(wanted)}; export the model again"
            )


def _sizes(dims: tuple[int, ...]) -> str:
    return " x ".join(map(str, dims))
