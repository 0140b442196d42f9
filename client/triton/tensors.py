"""Whether the tensors that a server declares for a model are those that its spec speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swinunet.client.triton.limits import BATCH
from swinunet.foundation.errors import SpecError
from swinunet.imaging import ModelSpec


def require_tensors(spec: ModelSpec, config: Any, origin: str) -> None:
    """Compare the tensors of a Triton model config with the spec in its parameters; -1 is any size.

    The batch may stand before them as -1 where the config has no `max_batch_size`, as Triton's OpenVINO backend wants.
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
        wanted = expected.get(tensor.name, ())
        found = tuple(tensor.dims)[1:] if _has_batch(tensor, wanted, config) else tuple(tensor.dims)
        if wanted and (len(found) != len(wanted) or any(a not in (-1, b) for a, b in zip(found, wanted, strict=True))):
            raise SpecError(
                f"{origin}: the server's tensor {tensor.name} is {_sizes(found)}, by the model's spec it is "
                f"{_sizes(wanted)}; export the model again"
            )


def largest_batch(config: Any) -> int:
    """Slices that the server takes in one request; 0 where its config has no place for a batch.

    Where the batch stands in the tensors' dimensions, any is taken: then `BATCH`, what a request has at most.
    """
    in_dims = not config.max_batch_size and any(
        len(tensor.dims) == 4 and tensor.dims[0] == -1 for tensor in config.input
    )
    return BATCH if in_dims else int(config.max_batch_size)


def _has_batch(tensor: Any, wanted: Sequence[int], config: Any) -> bool:
    """Whether -1 stands before the `wanted` dimensions."""
    return not config.max_batch_size and len(tensor.dims) == len(wanted) + 1 and tensor.dims[0] == -1


def _sizes(dims: tuple[int, ...]) -> str:
    return " x ".join(map(str, dims))
