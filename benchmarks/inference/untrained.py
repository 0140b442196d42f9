"""A recipe's network as a model version, without training: what speed is measured on where there are no weights."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from swinunet.benchmarks.inference.model_version import ModelVersion, find_version, spec_name
from swinunet.benchmarks.inference.settings import Engine
from swinunet.export.file_names import FP16_GRAPH_FILE, GRAPH_FILE
from swinunet.export.graph.fp16 import write_fp16
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.graph.quantisation import QuantisationLimits, quantise_onnxruntime, quantise_openvino
from swinunet.export.repository.served_configs import make_configs
from swinunet.export.repository.version_files import fill_version
from swinunet.export.repository.versions import staged_version
from swinunet.export.sample_slices import sample_slices
from swinunet.imaging import Code, Label, ModelSpec, ZScore
from swinunet.training.network.checkpoint import save_checkpoint
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

CLASSES = 9  # background and eight more, as in the paper's Synapse experiments (2105.05537, section 4.1)
_SEED = 0
_SLICES = 64
_FITTED_SLICES = 4
_RIDGE = 1e-2
_COLOURS = ((230, 80, 60), (70, 150, 240), (80, 180, 90), (240, 180, 60), (160, 90, 200), (90, 200, 200))


def export_untrained(name: str, repository: Path, engines: Collection[Engine] = ()) -> ModelVersion:
    """`untrained_network`, exported into `repository`, with the int8 graphs that `engines` run.

    The gate is left out, and int8 taken as it comes: the weights segment nothing. Raises InputError for an unknown
    recipe.
    """
    network, spec, slices = untrained_network(name)
    repository.mkdir(parents=True, exist_ok=True)
    checkpoint = repository / "checkpoint.safetensors"
    save_checkpoint(checkpoint, network, spec)
    with staged_version(repository, spec, make_configs(spec)) as folder:
        export_onnx(network, spec, folder / GRAPH_FILE)
        write_fp16(folder / GRAPH_FILE, folder / FP16_GRAPH_FILE)
        keys = {engine.key for engine in engines}
        if "onnxruntime-int8" in keys:
            quantise_onnxruntime(folder, slices, QuantisationLimits(dice_drop=1))
        if "openvino-int8" in keys:
            quantise_openvino(folder, slices, QuantisationLimits(dice_drop=1))
        fill_version(folder, network, spec, checkpoint)
    return find_version(repository, spec.name)


def untrained_network(name: str) -> tuple[SwinUNet, ModelSpec, np.ndarray]:
    """Recipe `name` with seeded random weights, its spec, and slices of the MNI152 brain, float16 [N, 1, H, W].

    Only the last layer is fitted, by least squares, to eight bands of brightness in the brain: random logits would be
    ties that any rounding turns, and labels could not be compared. Raises InputError for an unknown recipe.
    """
    config = recipe(name).build(1, CLASSES)
    spec = _spec(name, config.input_size)
    slices = _spread(sample_slices(spec, None), _SLICES)
    torch.manual_seed(_SEED)
    network = SwinUNet(config).eval()
    _fit_head(network, slices)
    return network, spec, slices


def bands(slices: np.ndarray) -> np.ndarray:
    """Eight bands of brightness, darkest first, over a background of zero: [N, 1, H, W] to labels uint8 [N, H, W]."""
    image = slices[:, 0].astype(np.float32)
    background = image.min()
    edges = np.quantile(image[image > background], np.linspace(0, 1, CLASSES)[1:-1])
    return np.where(image > background, 1 + np.digitize(image, edges), 0).astype(np.uint8)


def _fit_head(network: SwinUNet, slices: np.ndarray) -> None:
    """Least squares, ridged, from the decoder's features of a few slices to the bands."""
    chosen = _spread(slices, _FITTED_SLICES)
    labels = torch.from_numpy(bands(chosen)).long().flatten()
    features: list[torch.Tensor] = []
    watch = network.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].double()))
    with torch.inference_mode():
        network(torch.from_numpy(chosen).float())
    watch.remove()
    found = features[0].flatten(0, -2)  # pixels, embed_dim
    wanted = torch.nn.functional.one_hot(labels, CLASSES).double()
    gram = found.T @ found
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    with torch.no_grad():
        network.head.weight.copy_(torch.linalg.solve(gram, found.T @ wanted).T)


def _spread(slices: np.ndarray, wanted: int) -> np.ndarray:
    """`wanted` slices spread evenly, the outermost left out."""
    return slices[np.linspace(0, len(slices) - 1, wanted + 2).astype(int)[1:-1]]


def _spec(name: str, size: tuple[int, int]) -> ModelSpec:
    names = [f"band {index}" for index in range(1, CLASSES)]
    code = Code("85756007", "SCT", "Tissue")
    labels = [Label(index, each, _COLOURS[index % len(_COLOURS)], code) for index, each in enumerate(names, 1)]
    return ModelSpec(
        name=spec_name(name),
        version=1,
        modality="MR",
        body_part="BRAIN",
        plane="axial",
        context_slices=1,
        context_step_mm=1.0,
        input_size=size,
        spacing_mm=None,
        intensity=ZScore(),
        labels=tuple(labels),
    )
