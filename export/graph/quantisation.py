"""int8 for the CPU engines, calibrated on real slices: NNCF for OpenVINO, QDQ for ONNX Runtime and TensorRT.

    openvino_int8.xml, .bin   8-bit matrix products and convolutions, the rest float32
    model_int8.onnx           the same as QuantizeLinear and DequantizeLinear: symmetric int8, weights per channel

Accuracy-controlled: while labels differ from the float32 graph's by more than MAX_INT8_DICE_DROP, parts go back to
float32. The promotion gate judges against the reference labels afterwards.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from swinunet.export.file_names import GRAPH_FILE, INT8_GRAPH_FILE, OPENVINO_INT8_FILE
from swinunet.export.tolerances import MAX_INT8_DICE_DROP
from swinunet.foundation.errors import InputError, ParityError
from swinunet.foundation.files import written_aside
from swinunet.foundation.progress import Say, say_nothing

CALIBRATION_SLICES = 48
VALIDATION_SLICES = 16
_FLOAT_SHARES = (0, 1 / 8, 1 / 4, 1 / 2)  # of the products, nearest the output, to try in float32
_PRODUCTS = ["Conv", "Gemm", "MatMul"]
_BLOCK = 8  # neighbouring slices look alike, so they stay on the same side of a split


def split_slices(slices: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of a set of slices, float16 [N, C, H, W]: to calibrate on, and to judge by. The same for a seed.

    Raises InputError if there are too few to split.
    """
    blocks = [np.arange(start, min(start + _BLOCK, len(slices))) for start in range(0, len(slices), _BLOCK)]
    if len(blocks) < 2:
        raise InputError(f"{len(slices)} slices are too few for int8, which wants more than {_BLOCK}; give more --data")
    order = np.random.default_rng(seed).permutation(len(blocks))
    halves = (np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :]))
    first, second = (slices[np.concatenate([blocks[index] for index in half])] for half in halves)
    return first, second


def quantise_openvino(
    folder: Path, calibration: np.ndarray, max_dice_drop: float = MAX_INT8_DICE_DROP, say: Say = say_nothing
) -> float:
    """Write openvino_int8.xml and .bin beside model.onnx; returns the Dice of its labels against float32's.

    calibration: float16 [N, C, H, W], none of the slices that the result will be judged by. max_dice_drop: 1 takes what
    comes, for speed measured on weights that segment nothing. say: is told the Dice of each graph that is tried.
    Raises InputError if the slices are not the graph's, ParityError if no int8 graph is close enough.
    """
    import nncf
    import openvino

    _check(folder / GRAPH_FILE, calibration)
    shown, validation = _apart(calibration)
    labels = _labels(folder / GRAPH_FILE, validation)
    # By image, because NNCF asks for subsets in an order of its own.
    expected = {image.tobytes(): right for image, right in zip(validation, labels, strict=True)}

    def agreement(compiled: Any, images: Iterable[np.ndarray]) -> tuple[float, None]:
        port, asked = compiled.output("labels"), list(images)
        answers = np.concatenate([compiled({"image": image})[port].copy() for image in asked])
        found = dice(answers, np.stack([expected[image.tobytes()] for image in asked]))
        if len(asked) == len(validation):  # NNCF asks for single slices, too, to rank what it could restore
            say(_tried("openvino-int8", found, max_dice_drop))
        return found, None

    say(f"openvino-int8: NNCF calibrates on {len(shown)} slices")
    with _quiet():
        quantised = nncf.quantize_with_accuracy_control(
            openvino.Core().read_model(folder / GRAPH_FILE),
            nncf.Dataset(list(_single(shown))),
            nncf.Dataset(list(_single(validation))),
            agreement,
            max_drop=max_dice_drop,
            subset_size=len(shown),
            model_type=nncf.ModelType.TRANSFORMER,
        )
    compiled = openvino.compile_model(quantised, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found, _ = agreement(compiled, _single(validation))
    _accept(found, max_dice_drop, "NNCF's int8 graph")
    path = folder / OPENVINO_INT8_FILE
    with tempfile.TemporaryDirectory(dir=folder, prefix=".int8.") as aside:  # two files that belong together
        openvino.save_model(quantised, Path(aside) / path.name, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            (Path(aside) / path.name).with_suffix(suffix).replace(path.with_suffix(suffix))
    return found


def quantise_onnxruntime(
    folder: Path, calibration: np.ndarray, max_dice_drop: float = MAX_INT8_DICE_DROP, say: Say = say_nothing
) -> float:
    """Write model_int8.onnx beside model.onnx; returns the Dice of its labels against float32's.

    Arguments and errors are those of `quantise_openvino`.
    """
    source = folder / GRAPH_FILE
    _check(source, calibration)
    shown, validation = _apart(calibration)
    expected = _labels(source, validation)
    products = [node.name for node in onnx.load(str(source)).graph.node if node.op_type in _PRODUCTS]
    found = 0.0
    with written_aside(folder / INT8_GRAPH_FILE) as aside:
        for share in _FLOAT_SHARES:
            in_float = products[len(products) - int(share * len(products)) :]
            say(f"onnxruntime-int8: {len(products) - len(in_float)} of {len(products)} products in int8")
            with _quiet():
                _quantise_static(source, aside, shown, in_float)
            found = dice(_labels(aside, validation), expected)
            say(_tried("onnxruntime-int8", found, max_dice_drop))
            if found >= 1 - max_dice_drop:
                break
        _accept(found, max_dice_drop, "ONNX Runtime's int8 graph")
    return found


def dice(labels: np.ndarray, expected: np.ndarray) -> float:
    """Mean Dice over the foreground classes that either has; 1 where neither has any. Both uint8 [N, H, W]."""
    scores = []
    for index in np.union1d(labels, expected):
        if index > 0:
            ours, theirs = labels == index, expected == index
            scores.append(2 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum()))
    return float(np.mean(scores)) if scores else 1.0


def _tried(engine: str, found: float, max_dice_drop: float) -> str:
    return f"{engine}: Dice {found:.4f} with float32 on slices held back (wanted {1 - max_dice_drop:g})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars that NNCF draws and the advice that both libraries log."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _quantise_static(source: Path, target: Path, slices: np.ndarray, in_float: list[str]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        source,
        target,
        _Reader(slices),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_PRODUCTS,
        nodes_to_exclude=in_float,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        # What TensorRT reads: symmetric, and no bias in int32.
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )


class _Reader:
    """Calibration slices one at a time, as ONNX Runtime's calibrator asks for them."""

    def __init__(self, slices: np.ndarray) -> None:
        self._images = _single(slices)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None at the end."""
        image = next(self._images, None)
        return None if image is None else {"image": image}


def _single(slices: np.ndarray) -> Iterator[np.ndarray]:
    return (slices[index : index + 1] for index in range(len(slices)))


def _apart(calibration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slices to calibrate on, and others to decide by which parts stay in float32."""
    shown, validation = split_slices(calibration)
    return _spread(shown, CALIBRATION_SLICES), _spread(validation, VALIDATION_SLICES)


def _spread(slices: np.ndarray, count: int) -> np.ndarray:
    return slices[np.unique(np.linspace(0, len(slices) - 1, count).round().astype(int))]


def _labels(path: Path, slices: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["labels"], {"image": image})[0] for image in _single(slices)])


def _check(path: Path, slices: np.ndarray) -> None:
    [image] = onnx.load(str(path), load_external_data=False).graph.input
    expected = [size.dim_value for size in image.type.tensor_type.shape.dim][1:]
    if slices.dtype != np.float16 or list(slices.shape[1:]) != expected:
        raise InputError(
            f"calibration slices are {slices.dtype} {list(slices.shape)}, but {path.name} takes float16 "
            f"[N, {str(expected)[1:]}; give --data of the model's own kind (channels, size)"
        )


def _accept(found: float, max_dice_drop: float, what: str) -> None:
    if found < 1 - max_dice_drop:
        raise ParityError(
            f"{what} agrees with float32 to a Dice of {found:.4f} on the calibration slices, expected at least "
            f"{1 - max_dice_drop:g}; calibrate on more or other slices (--data), or serve bf16"
        )
