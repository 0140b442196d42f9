"""Checkpoint to ONNX: the wire contract of DESIGN.md around the network, dynamic batch, the spec in the metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from swinunet.export.graph.attention_constants import store_as_tables
from swinunet.export.graph.folding import CHANGES, Change, fold
from swinunet.export.graph.onnx_spec import put_spec
from swinunet.imaging import ModelSpec
from swinunet.training.network.swin_unet import SwinUNet

OPSET = 20  # LayerNormalization is one node from 17 on
LOGITS = "logits"  # stays a named tensor inside the graph, so that parity can look at it


class WireContract(nn.Module):
    """The network as it is served: `image` float16 [B, C, H, W] in, `labels` and `probabilities` out."""

    def __init__(self, network: SwinUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Labels uint8 [B, H, W], probabilities float16 [B, K, H, W] and logits float32 [B, K, H, W]."""
        logits = self.network(image.float())
        labels = logits.argmax(dim=1).to(torch.uint8)
        return labels, logits.softmax(dim=1).half(), logits


def export_onnx(
    network: SwinUNet, spec: ModelSpec, path: Path, changes: Iterable[Change] = tuple(CHANGES.values())
) -> None:
    """Write the served graph of `network` to `path` (ONNX, float32 inside, fixed H and W, dynamic batch).

    changes: what is folded, all or the first few of `swinunet.export.graph.folding.CHANGES`.
    """
    image = torch.zeros(2, network.config.in_channels, *network.config.input_size, dtype=torch.float16)
    served = WireContract(fold(network, changes))
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            served,
            (image,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["labels", "probabilities", LOGITS],
            dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1, max=1024)}},
            verbose=False,
        )
    assert program is not None  # None only for dynamo=False
    model = program.model_proto
    kept = [output for output in model.graph.output if output.name != LOGITS]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    _forget_the_exporter(model)
    store_as_tables(model, served)
    put_spec(model, spec)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _forget_the_exporter(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes at each node and tensor: stack traces with paths of this machine, and 0.7 MB."""
    for noted in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del noted.metadata_props[:]
    for function in (*model.functions, *model.graph.initializer):
        del function.metadata_props[:]


def with_logits(path: Path, num_classes: int, input_size: tuple[int, int]) -> bytes:
    """The graph at `path` with its inner logits as one more output ([B, K, H, W] in its precision), serialised."""
    model = onnx.load(str(path))
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    element = next(value.type.tensor_type.elem_type for value in known if value.name == LOGITS)
    shape: list[str | int | None] = ["batch", num_classes, *input_size]
    model.graph.output.append(onnx.helper.make_tensor_value_info(LOGITS, element, shape))
    return model.SerializeToString()
