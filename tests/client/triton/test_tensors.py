"""The tensors of a server's model config against the spec in its parameters."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from small_model import SMALL_SPEC
from tritonclient.grpc.model_config_pb2 import ModelConfig

from swinunet.client.triton.tensors import largest_batch, require_tensors
from swinunet.foundation.errors import SpecError

HEIGHT, WIDTH = SMALL_SPEC.input_size
DIMS = {
    "image": [SMALL_SPEC.in_channels, HEIGHT, WIDTH],
    "labels": [HEIGHT, WIDTH],
    "probabilities": [SMALL_SPEC.num_classes, HEIGHT, WIDTH],
}


def config(max_batch_size: int = 0, **changes: list[int]) -> ModelConfig:
    dims = DIMS | changes
    return text_format.Parse(
        f'max_batch_size: {max_batch_size} input {{ name: "image" dims: {dims["image"]} }} '
        + " ".join(f'output {{ name: "{name}" dims: {dims[name]} }}' for name in ("labels", "probabilities")),
        ModelConfig(),
    )


def test_tensors_that_the_spec_speaks_of_pass() -> None:
    require_tensors(SMALL_SPEC, config(), "here")
    require_tensors(SMALL_SPEC, config(image=[-1, HEIGHT, WIDTH], labels=[-1, -1]), "here")


@pytest.mark.parametrize(("name", "at"), [(name, at) for name, dims in DIMS.items() for at in range(len(dims))])
@pytest.mark.parametrize("change", [1, -1])
def test_one_dimension_that_contradicts_it_is_refused(name: str, at: int, change: int) -> None:
    found = list(DIMS[name])
    found[at] += change if found[at] + change > 0 else 2
    sizes = " x ".join(map(str, found))
    with pytest.raises(SpecError, match=f"^here: the server's tensor {name} is {sizes}, by the model's spec it is"):
        require_tensors(SMALL_SPEC, config(**{name: found}), "here")


@pytest.mark.parametrize("found", [[HEIGHT], [1, 1, HEIGHT, WIDTH], []])
def test_another_number_of_dimensions_is_refused(found: list[int]) -> None:
    with pytest.raises(SpecError, match="export the model again"):
        require_tensors(SMALL_SPEC, config(labels=found), "here")


WITH_BATCH = {name: [-1, *dims] for name, dims in DIMS.items()}


def test_the_batch_may_stand_before_them_where_triton_forms_none() -> None:
    require_tensors(SMALL_SPEC, config(**WITH_BATCH), "here")
    with pytest.raises(SpecError, match="export the model again"):
        require_tensors(SMALL_SPEC, config(max_batch_size=16, **WITH_BATCH), "here")


def test_how_many_slices_a_request_may_have() -> None:
    assert largest_batch(config(max_batch_size=16)) == 16
    assert largest_batch(config(**WITH_BATCH)) == 8
    assert largest_batch(config()) == 0
    assert largest_batch(ModelConfig()) == 0
