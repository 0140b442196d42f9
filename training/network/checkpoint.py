"""Checkpoints: one .safetensors file with the weights, the network's configuration and the model's spec."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from swinunet.foundation.errors import CheckpointError, InputError
from swinunet.foundation.files import write_whole
from swinunet.imaging.spec import SPEC_KEY, ModelSpec
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig

CONFIG_KEY = "swinunet_config"  # metadata: the SwinUNetConfig as JSON
_OF_THE_DATA = (
    "patch_embed.proj.weight",
    "head.weight",
    "detail_entry.0.weight",
    "detail_head.classes.weight",
    "detail_head.classes.bias",
)

_CONFIG: TypeAdapter[SwinUNetConfig] = TypeAdapter(SwinUNetConfig)


def save_checkpoint(path: Path, model: SwinUNet, spec: ModelSpec | None) -> None:
    """Write `model` and `spec` to `path`, whole or not at all.

    spec: None for weights that are not yet a model for anything (as from `swinunet import`).
    Raises CheckpointError if the spec describes another network, OutputError if the file cannot be written.
    """
    metadata = {CONFIG_KEY: json.dumps(dataclasses.asdict(model.config))}
    if spec is not None:
        _check_spec(path, spec, model.config)
        metadata[SPEC_KEY] = spec.to_json()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_whole(path, save(weights, metadata))  # save_file would make it readable to us alone


def load_checkpoint(path: Path) -> tuple[SwinUNet, ModelSpec | None]:
    """Read what `save_checkpoint` wrote: the network on the CPU, in evaluation mode, and its spec if it has one.

    Raises CheckpointError if the file is missing, broken, not one of ours, or its parts do not fit each other;
    SpecError if its spec cannot be read.
    """
    weights, metadata = _read(path)
    if CONFIG_KEY not in metadata:
        raise CheckpointError(
            f"{path}: a safetensors file, but no checkpoint of this software (no {CONFIG_KEY!r} in its metadata); "
            "for published weights use `swinunet import`"
        )
    config = _config_from_json(path, metadata[CONFIG_KEY])
    _check_weights(path, weights, config)
    spec = ModelSpec.from_json(metadata[SPEC_KEY], str(path)) if SPEC_KEY in metadata else None
    if spec is not None:
        _check_spec(path, spec, config)
    model = SwinUNet(config)
    model.load_state_dict(weights)
    return model.eval(), spec


def read_config(path: Path) -> SwinUNetConfig:
    """The network that a checkpoint holds weights of. Raises CheckpointError as `load_checkpoint` does."""
    return load_checkpoint(path)[0].config


def read_spec(path: Path) -> ModelSpec:
    """The spec in a checkpoint. Raises CheckpointError if it is none or has none, SpecError if it cannot be read."""
    _, metadata = _read(path)
    if SPEC_KEY not in metadata:
        raise CheckpointError(f"{path}: holds no model spec; name a checkpoint that is a model")
    return ModelSpec.from_json(metadata[SPEC_KEY], str(path))


def start_from(path: Path, network: SwinUNet) -> list[str]:
    """Give `network` the weights of a checkpoint. Returns the names of tensors that stay as they are.

    Only the patch embedding and the head may be of other shapes: those follow the data's channels and classes.
    Raises CheckpointError if another tensor does not fit.
    """
    source, _ = load_checkpoint(path)
    weights, own = source.state_dict(), network.state_dict()
    other = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    wrong = sorted({name for name in other if name not in _OF_THE_DATA} | (weights.keys() - own.keys()))
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} tensors do not fit the recipe's network, {wrong[0]} being the first; "
            "start from a checkpoint of the same recipe"
        )
    network.load_state_dict({name: tensor for name, tensor in weights.items() if name not in other}, strict=False)
    return other


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a checkpoint (.safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a complete safetensors file ({error}); for published weights use `swinunet import`"
        ) from None


def _config_from_json(path: Path, text: str) -> SwinUNetConfig:
    try:
        return _CONFIG.validate_json(text)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        reason = f"{where}: {detail['msg']}"
    except InputError as error:
        reason = str(error)
    raise CheckpointError(
        f"{path}: its network configuration cannot be used ({reason}); "
        "update this software, or write the checkpoint again"
    )


def _check_weights(path: Path, weights: dict[str, Tensor], config: SwinUNetConfig) -> None:
    """Every tensor there, none more, of the right shape and finite. Built on the meta device: costs no memory."""
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in SwinUNet(config).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        first = f"{wrong[0]} is {found.get(wrong[0], 'missing')}, expected {expected.get(wrong[0], 'no such tensor')}"
        raise CheckpointError(
            f"{path}: {len(wrong)} of {len(expected)} tensors do not fit its network configuration ({first}); "
            "write the checkpoint again"
        )
    if broken := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(
            f"{path}: {broken[0]} holds NaN or infinite values, as after a training run that diverged; "
            "use an earlier checkpoint"
        )


def _check_spec(path: Path, spec: ModelSpec, config: SwinUNetConfig) -> None:
    described = (spec.in_channels, tuple(spec.input_size), spec.num_classes)
    built = (config.in_channels, tuple(config.input_size), config.num_classes)
    if described != built:
        raise CheckpointError(
            f"{path}: the spec describes a model of (channels, input size, classes) {described}, "
            f"the network is built for {built}"
        )
