"""The engines that the gate judges, and what each precision is allowed. A further engine is one more row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swinunet.foundation.errors import InputError

REFERENCE = "pytorch-fp32"
SERVED = "served"  # the verdict on the version in a real Triton
# Where an engine shows its logits, float32 only; noise is 5e-6. Of the shipped graph's 162 constants, each off by 5 %,
# this finds the 155 that change its output: masks of -100 do not, nor the three matrices right before a LayerNorm.
MAX_LOGIT_ERROR = 1e-3
TIE_MARGIN = 2e-3  # two classes closer than this in probability are a tie, and either label is right
MAX_DICE_DROP = 0.002  # of any structure's mean over the cases
MAX_VOLUME_CHANGE = 0.01  # of any structure: summed absolute change of the cases over their summed volume


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change, over all slices of a batch.

    max_probability, mean_probability: absolute error of `probabilities`. differing_labels: share of pixels whose
    labels differ; ties are excused where it is 0.
    """

    max_probability: float
    mean_probability: float
    differing_labels: float


# fp32: engines only sum in another order, and float16 probabilities above 0.5 are 4.9e-4 apart: two steps.
# The others, as largest and mean error and share of labels, by what the shipped model shows on its validation cases:
# bf16 0.042, 3.8e-5, 3.5e-5; larger networks drift more.
# fp16 0.0029, 2.0e-6, 0; three bits more than bf16. Its mean may be one step of float16 above 0.5: that is what a
# network pays whose every pixel is in doubt (1.8e-4). A matrix off by 5 % mostly shows a largest error above 0.027.
# int8 0.53, 2.0e-4, 2.9e-4 (ONNX Runtime; OpenVINO half of it). It moves borders, so the largest error says nothing;
# classes swapped show 1.3e-2 and 2.0e-2. This only finds a broken graph, the clinic judges the rest.
TOLERANCES = {
    "fp32": Tolerance(1e-3, 1e-4, 0.0),
    "fp16": Tolerance(0.02, 5e-4, 3e-4),
    "bf16": Tolerance(0.1, 3e-4, 1e-3),
    "int8": Tolerance(1.0, 1e-3, 1.5e-3),
}


@dataclass(frozen=True)
class Row:
    """loader, precision: as `export/engines/` knows them. artefact: the file of the version folder that it runs.

    stored: element type of most weights in an ONNX artefact, by ONNX's name. needed: a version is not promoted without
    it; other engines are left out when they fail, together with an artefact of their own.
    """

    name: str
    loader: str
    precision: str
    artefact: str
    stored: str = ""
    needed: bool = False

    @property
    def tolerance(self) -> Tolerance:
        """What this row's precision is allowed."""
        return tolerance_of(self.precision)


ROWS = (
    Row("onnxruntime-fp32", "onnxruntime", "fp32", "model.onnx", "FLOAT", needed=True),
    Row("openvino-f32", "openvino", "f32", "model.onnx", "FLOAT"),
    Row("openvino-bf16", "openvino", "bf16", "model.onnx", "FLOAT"),
    Row("onnxruntime-fp16", "onnxruntime", "fp16", "model_fp16.onnx", "FLOAT16"),
    Row("onnxruntime-int8", "onnxruntime", "int8", "model_int8.onnx"),
    Row("openvino-int8", "openvino", "int8", "openvino_int8.xml"),
    Row("tensorrt-fp16", "tensorrt", "fp16", "model.plan"),
)
DEFAULT_SERVED = "openvino-f32"  # what configs/cpu.pbtxt runs: the one place to change it


def tolerance_of(precision: str) -> Tolerance:
    """The tolerance of a precision, by any engine's name for it."""
    return TOLERANCES["fp32" if precision == "f32" else precision]


def choose_rows(names: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these names; an engine's own name stands for all its precisions. Raises InputError for others."""
    chosen: list[Row] = []
    for name in names:
        found = [row for row in ROWS if name in (row.name, row.loader)]
        if not found:
            engines = ", ".join(dict.fromkeys(row.loader for row in ROWS))
            raise InputError(
                f"no engine is named {name!r}; choose from {engines} (every precision), or one of "
                f"{', '.join(row.name for row in ROWS)}"
            )
        chosen += found
    return tuple(dict.fromkeys(chosen))


def rows_in(folder: Path, asked: Sequence[Row]) -> tuple[Row, ...]:
    """The rows to judge in a version folder: those whose artefact is there, and only `asked` and needed ones of them.

    Raises InputError if the artefact of none of an asked engine's precisions is there.
    """
    there = [row for row in ROWS if (folder / row.artefact).is_file()]
    for loader in dict.fromkeys(row.loader for row in asked):
        missing = [row.artefact for row in asked if row.loader == loader and row not in there]
        if missing and not any(row in there for row in asked if row.loader == loader):
            raise InputError(
                f"{loader} was asked for, but {' and '.join(missing)} is not in this version; export one that has it "
                f"(--engine {' --engine '.join(row.name for row in asked if row.loader == loader)})"
            )
    return tuple(row for row in there if not asked or row in asked or row.needed)
