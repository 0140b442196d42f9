"""The FP16 graph: TensorRT 11 builds strongly typed networks only, so the precision has to be in the ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxscript.optimizer
from onnxruntime.transformers.float16 import convert_float_to_float16

from swinunet.export.graph.attention_constants import put_tables_in_half, take_tables_out


def write_fp16(source: Path, target: Path) -> None:
    """Write the graph at `source` (as from `export_onnx`) to `target` with FP16 weights and activations.

    Every node that runs is FP16, the wire contract and the metadata stay as they are, and no cast is left but the
    labels' and those of attention biases, which engines compute when they load the graph.
    LayerNormalization keeps `stash_type` FLOAT, so its mean and variance are computed in FP32 (ONNX operators,
    LayerNormalization-17); casts to FP32 around Softmax changed no label on real slices and cost two nodes each.
    """
    model = onnx.load(str(source))
    tables = take_tables_out(model)
    half = convert_float_to_float16(model, op_block_list=[], disable_shape_infer=True)
    # What cast between the FP16 of the wire and FP32 now casts FP16 to FP16; the optimizer takes that out.
    half = onnxscript.optimizer.optimize(half)
    put_tables_in_half(half, tables)
    onnx.checker.check_model(half, full_check=True)
    onnx.save(half, str(target))
