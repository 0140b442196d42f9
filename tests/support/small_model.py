"""A served model whose answer is plain arithmetic, in a repository of its own that tests may break."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from swinunet.export.repository import triton_config
from swinunet.imaging import SPEC_KEY, Code, Label, ModelSpec, ZScore

CODE = Code("5366008", "SCT", "Hippocampus")
SMALL_SPEC = ModelSpec(
    name="small",
    version=1,
    modality="MR",
    body_part="BRAIN",
    plane="sagittal",
    context_slices=1,
    context_step_mm=1.0,
    input_size=(32, 32),
    spacing_mm=(1.0, 1.0),
    intensity=ZScore(),
    labels=(Label(1, "above 0.5", (230, 80, 60), CODE), Label(2, "above 1.5", (70, 150, 240), CODE)),
)


def write_small_repository(
    root: Path, engine: str = "openvino", spec: ModelSpec = SMALL_SPEC, **options: object
) -> Path:
    """`small` version 1 in Triton's layout under `root`, which is returned. spec: another meaning of its answers."""
    model = root / spec.name
    version = model / "1"
    (model / "configs").mkdir(parents=True)
    version.mkdir()
    (model / "config.pbtxt").write_text(triton_config.default_config(spec))
    (model / "configs" / "cpu.pbtxt").write_text(triton_config.cpu_config(spec, engine, **options))  # type: ignore[arg-type]
    shutil.copyfile(Path(triton_config.__file__).with_name("python_backend_model.py"), version / "model.py")
    _write_small_onnx(version / "model.onnx", spec)
    image = small_images(3)
    np.savez_compressed(version / "canary.npz", image=image, labels=small_labels(image))
    return root


def small_images(batch: int, seed: int = 0) -> np.ndarray:
    """Random float16 [B, 1, 32, 32] whose labels are about evenly spread."""
    return np.random.default_rng(seed).normal(1.0, 1.0, (batch, 1, 32, 32)).astype(np.float16)


def small_labels(image: np.ndarray) -> np.ndarray:
    """What `small` must answer: uint8 [B, H, W], 1 above 0.5 and 2 above 1.5."""
    return (image[:, 0] > 0.5).astype(np.uint8) + (image[:, 0] > 1.5)


def small_probabilities(image: np.ndarray) -> np.ndarray:
    """Softmax of the logits 0, x - 0.5 and 2x - 2: float32 [B, 3, H, W]."""
    x = image.astype(np.float32)
    exponentials = np.exp(np.concatenate([0 * x, x - 0.5, 2 * x - 2], axis=1))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _write_small_onnx(path: Path, spec: ModelSpec) -> None:
    weight = numpy_helper.from_array(np.array([0, 1, 2], np.float32).reshape(3, 1, 1, 1), "weight")
    bias = numpy_helper.from_array(np.array([0, -0.5, -2], np.float32), "bias")
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "weight", "bias"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
        helper.make_node("Cast", ["softmax"], ["probabilities"], to=TensorProto.FLOAT16),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT16, ["batch", 1, 32, 32])],
        [
            helper.make_tensor_value_info("labels", TensorProto.UINT8, ["batch", 32, 32]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT16, ["batch", 3, 32, 32]),
        ],
        [weight, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {SPEC_KEY: spec.to_json()})  # as export writes it
    onnx.save(model, str(path))
