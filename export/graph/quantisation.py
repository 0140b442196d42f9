"""int8 for the CPU engines, calibrated on real slices: NNCF for OpenVINO, QDQ for ONNX Runtime and TensorRT.

    openvino_int8.xml, .bin   8-bit matrix products and convolutions, the rest float32
    model_int8.onnx           the same as QuantizeLinear and DequantizeLinear: symmetric int8, weights per channel

Weights have 7 bits: a processor without VNNI adds two products of 8 bits in 16 bits, which saturates if both factors
have all 8 (Intel, "Lower numerical precision deep learning inference and training", 2018); with 7 it cannot. On the
shipped model 8 bits would gain little: Dice with float32 0.9925 instead of 0.9904 with every product in int8 (ONNX
Runtime, slices held back). gate.json still says which processor has judged, and `serving` refuses another kind.

Accuracy-controlled: while labels differ from the float32 graph's by more than MAX_INT8_DICE_DROP, the products nearest
the output go back to float32, for at most `QuantisationLimits.tries` and `.seconds`. NNCF's own accuracy control is not
used: it has no bound on time, and returns the graph of its last step, however much worse that is than an earlier one.
The promotion gate judges against the reference labels afterwards.
"""

from __future__ import annotations

import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
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
from swinunet.serving.processor import has_bf16, this_processor

CALIBRATION_SLICES = 48
VALIDATION_SLICES = 16
_FLOAT_SHARES = (0, 1 / 8, 1 / 4, 1 / 2)  # of the products, nearest the output, to try in float32
_PRODUCTS = ["Conv", "Gemm", "MatMul"]
_OPENVINO_PRODUCTS = ("Convolution", "MatMul")
_BLOCK = 8  # neighbouring slices look alike, so they stay on the same side of a split


@dataclass(frozen=True)
class QuantisationLimits:
    """When to stop looking for an int8 graph that is close enough.

    dice_drop: the largest loss of Dice against float32; 1 takes what comes, for speed measured on weights that segment
    nothing. tries: graphs, each with more of its products in float32. seconds: no try begins later than this.
    """

    dice_drop: float = MAX_INT8_DICE_DROP
    tries: int = len(_FLOAT_SHARES)
    seconds: float = 1800.0


DEFAULT_LIMITS = QuantisationLimits()


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
    folder: Path,
    calibration: np.ndarray,
    limits: QuantisationLimits = DEFAULT_LIMITS,
    say: Say = say_nothing,
) -> float:
    """Write openvino_int8.xml and .bin beside model.onnx; returns the Dice of its labels against float32's.

    calibration: float16 [N, C, H, W], none of the slices that the result will be judged by. say: is told of each graph
    that is tried, and its Dice. Raises InputError if the slices are not the graph's, ParityError if no int8 graph is
    close enough within the limits.
    """
    import openvino

    source = folder / GRAPH_FILE
    _check(source, calibration)
    shown, validation = _apart(calibration)
    read = openvino.Core().read_model
    products = [op.get_friendly_name() for op in read(source).get_ordered_ops() if _is_product(op)]
    path = folder / OPENVINO_INT8_FILE
    with tempfile.TemporaryDirectory(dir=folder, prefix=".int8.") as made:  # two files that belong together
        aside = Path(made) / path.name

        def attempt(in_float: list[str]) -> np.ndarray:
            quantised = _quantise_nncf(read(source), shown, in_float)
            openvino.save_model(quantised, aside, compress_to_fp16=False)
            return _labels_openvino(quantised, validation)

        expected = _labels(source, validation)
        found = _search("openvino-int8", products, attempt, expected, limits, say)
        for suffix in (".bin", ".xml"):
            aside.with_suffix(suffix).replace(path.with_suffix(suffix))
    return found


def quantise_onnxruntime(
    folder: Path,
    calibration: np.ndarray,
    limits: QuantisationLimits = DEFAULT_LIMITS,
    say: Say = say_nothing,
) -> float:
    """Write model_int8.onnx beside model.onnx; returns the Dice of its labels against float32's.

    Arguments and errors are those of `quantise_openvino`.
    """
    source = folder / GRAPH_FILE
    _check(source, calibration)
    shown, validation = _apart(calibration)
    products = [node.name for node in onnx.load(str(source)).graph.node if node.op_type in _PRODUCTS]
    with written_aside(folder / INT8_GRAPH_FILE) as aside:

        def attempt(in_float: list[str]) -> np.ndarray:
            _quantise_static(source, aside, shown, in_float)
            return _labels(aside, validation)

        expected = _labels(source, validation)
        return _search("onnxruntime-int8", products, attempt, expected, limits, say)


def _search(
    engine: str,
    products: Sequence[str],
    attempt: Callable[[list[str]], np.ndarray],
    expected: np.ndarray,
    limits: QuantisationLimits,
    say: Say,
) -> float:
    """The Dice of the first graph that is close enough.

    products: names of the matrix products and convolutions, from input to output. attempt: makes the graph whose named
    products are in float32, and returns its labels, uint8 [N, H, W]. Raises ParityError if the limits come first.
    """
    began, best, wanted, stopped = time.monotonic(), 0.0, 1 - limits.dice_drop, "no more tries are allowed"
    shares = _FLOAT_SHARES[: limits.tries]
    for number, share in enumerate(shares, start=1):
        if number > 1 and time.monotonic() - began > limits.seconds:
            stopped = f"{limits.seconds / 60:g} minutes are over"
            break
        in_float = list(products[len(products) - int(share * len(products)) :])
        in_words = f"{len(products) - len(in_float)} of {len(products)} products in int8"
        say(f"{engine}: try {number} of at most {len(shares)}, {in_words}")
        with _quiet():
            found = dice(attempt(in_float), expected)
        best = max(best, found)
        say(f"{engine}: Dice {found:.4f} with float32 on slices held back (wanted {wanted:g})")
        if found >= wanted:
            return found
    raise ParityError(
        f"the best graph for {engine} agrees with float32 to a Dice of {best:.4f} on slices held back from the "
        f"calibration, expected at least {wanted:g}, and {stopped}; calibrate on more or other slices (--data), or "
        f"serve {fastest_float(this_processor())}"
    )


def fastest_float(processor: frozenset[str]) -> str:
    """The engine to fall back on: the fastest without int8 on a processor with these instruction sets."""
    return "openvino-bf16" if has_bf16(processor) else "openvino-f32"


def dice(labels: np.ndarray, expected: np.ndarray) -> float:
    """Mean Dice over the foreground classes that either has; 1 where neither has any. Both uint8 [N, H, W]."""
    scores = []
    for index in np.union1d(labels, expected):
        if index > 0:
            ours, theirs = labels == index, expected == index
            scores.append(2 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum()))
    return float(np.mean(scores)) if scores else 1.0


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
        reduce_range=True,
        # What TensorRT reads: symmetric, and no bias in int32.
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )


def _is_product(operation: Any) -> bool:
    return operation.get_type_name() in _OPENVINO_PRODUCTS


def _quantise_nncf(graph: Any, slices: np.ndarray, in_float: list[str]) -> Any:
    import nncf

    return nncf.quantize(
        graph,
        nncf.Dataset(list(_single(slices))),
        subset_size=len(slices),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=in_float) if in_float else None,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
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


def _labels_openvino(graph: Any, slices: np.ndarray) -> np.ndarray:
    import openvino

    compiled = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    port = compiled.output("labels")
    return np.concatenate([compiled({"image": image})[port].copy() for image in _single(slices)])


def _check(path: Path, slices: np.ndarray) -> None:
    [image] = onnx.load(str(path), load_external_data=False).graph.input
    expected = [size.dim_value for size in image.type.tensor_type.shape.dim][1:]
    if slices.dtype != np.float16 or list(slices.shape[1:]) != expected:
        raise InputError(
            f"calibration slices are {slices.dtype} {list(slices.shape)}, but {path.name} takes float16 "
            f"[N, {str(expected)[1:]}; give --data of the model's own kind (channels, size)"
        )
