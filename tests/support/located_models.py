"""A served locator and a model for crops whose answers are arithmetic on the drawn heads of `drawn_head`.

The locator sees slices normalised by the window 0..300 to -1..1: what is above 0.2 (180) is a structure, the patient's
left one in the image's right half, as radiologists look at coronal slices; what is above -0.5 (75) is brain. Where both
are, the structure wins from 0.28 on. The model for crops calls everything above 0.2 its structure.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from swinunet.export.repository import triton_config
from swinunet.imaging import SPEC_KEY, Code, Label, ModelSpec, Volume, Window
from swinunet.imaging.box_spec import Boxes, LocatedBox, Locating

CODE = Code("5366008", "SCT", "Hippocampus")
LOCATOR = ModelSpec(
    name="finder",
    version=1,
    modality="MR",
    body_part="BRAIN",
    plane="coronal",
    context_slices=1,
    context_step_mm=2.0,
    input_size=(64, 64),
    spacing_mm=(2.0, 2.0),
    intensity=Window(0.0, 300.0),
    labels=(
        Label(1, "Left thing", (230, 80, 60), CODE),
        Label(2, "Right thing", (70, 150, 240), CODE),
        Label(3, "Rest of the brain", (200, 200, 160), CODE),
    ),
    locating=Locating("brain", (150.0, 2400.0), (0.3, 12.0), 0.6, (20.0, 90.0)),
)
CROPPED = ModelSpec(
    name="cropped",
    version=2,
    modality="MR",
    body_part="BRAIN",
    plane="axial",
    context_slices=1,
    context_step_mm=2.0,
    input_size=(32, 32),
    spacing_mm=(1.5, 1.5),
    intensity=Window(0.0, 300.0),
    labels=(Label(1, "thing", (230, 80, 60), CODE),),
    boxes=Boxes("finder", (LocatedBox("Left thing", "left"), LocatedBox("Right thing", "right")), 5.0, (2.0, 9.0)),
)
CENTRES_MM = {"left": np.array([20.0, 8.0, -6.0]), "right": np.array([-20.0, 8.0, -6.0])}
HALF_MM = np.array([7.0, 11.0, 6.0])


def drawn_head(without: tuple[str, ...] = ()) -> Volume:
    """A ball of brain of 42 mm, value 100, with a block of 250 on each side; 2 mm, axes along L, P, S."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -48.0
    places = np.stack(np.meshgrid(*[np.arange(49) * 2.0 - 48.0] * 3, indexing="ij"), axis=-1)
    voxels = 100.0 * (np.linalg.norm(places, axis=-1) < 42)
    for side, centre in CENTRES_MM.items():
        if side not in without:
            voxels[(np.abs(places - centre) <= HALF_MM).all(axis=-1)] = 250.0
    return Volume(voxels.astype(np.float32), affine)


def write_located_repository(root: Path, *specs: ModelSpec) -> Path:
    """These of the two models, each with its own graph, in Triton's layout under `root`, which is returned."""
    for spec in specs or (LOCATOR, CROPPED):
        model = root / spec.name
        version = model / str(spec.version)
        (model / "configs").mkdir(parents=True)
        version.mkdir()
        (model / "config.pbtxt").write_text(triton_config.default_config(spec))
        (model / "configs" / "cpu.pbtxt").write_text(triton_config.cpu_config(spec, "onnxruntime"))
        shutil.copyfile(Path(triton_config.__file__).with_name("python_backend_model.py"), version / "model.py")
        _write_graph(version / "model.onnx", spec)
        image, labels = _canary(spec)
        np.savez_compressed(version / "canary.npz", image=image, labels=labels)
    return root


def _write_graph(path: Path, spec: ModelSpec) -> None:
    """Logits: 0 for background, slope x (image - threshold) for each class in its columns."""
    height, width = spec.input_size
    scale, shift = np.zeros((2, 1, spec.num_classes, height, width), np.float32)
    for index, threshold, columns in _rules(spec):
        slope = 40.0 if threshold < 0 else 400.0  # where both are above their thresholds, the structure wins
        shift[0, index] = -1000.0
        scale[0, index, :, columns], shift[0, index, :, columns] = slope, -slope * threshold
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
        helper.make_node("Cast", ["softmax"], ["probabilities"], to=TensorProto.FLOAT16),
    ]
    graph = helper.make_graph(
        nodes,
        spec.name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT16, ["batch", 1, height, width])],
        [
            helper.make_tensor_value_info("labels", TensorProto.UINT8, ["batch", height, width]),
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT16, ["batch", spec.num_classes, height, width]
            ),
        ],
        [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(shift, "shift")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {SPEC_KEY: spec.to_json()})
    onnx.save(model, str(path))


def _rules(spec: ModelSpec) -> list[tuple[int, float, slice]]:
    """Class, threshold and columns of each label; of two classes above their thresholds the steeper sum wins."""
    width = spec.input_size[1]
    if spec.locating is None:
        return [(1, 0.2, slice(0, width))]
    return [(1, 0.2, slice(width // 2, width)), (2, 0.2, slice(0, width // 2)), (3, -0.5, slice(0, width))]


def _canary(spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """A slice of brain with a bright block in each half, and its labels by the rules above, worked out in NumPy."""
    height, width = spec.input_size
    image = np.full((2, 1, height, width), -1.0, np.float16)
    image[:, :, 4:-4, 4:-4] = -0.3
    image[:, :, 8:16, 8:12] = image[:, :, 8:16, -12:-8] = 0.9
    labels = np.where(image[:, 0] > -0.5, 3 if spec.locating else 0, 0).astype(np.uint8)
    bright = image[:, 0] > 0.2
    labels[:, :, width // 2 :][bright[:, :, width // 2 :]] = 1
    labels[:, :, : width // 2][bright[:, :, : width // 2]] = 2 if spec.locating else 1
    return image, labels


def renamed(spec: ModelSpec, **changes: object) -> ModelSpec:
    """The spec with other values."""
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]
