"""How far an engine may be from its checkpoint: every limit of the export, each with the source of its number.

"Shipped model" is swin_unet_hippocampus as it stood when the number was set, on its validation cases; "chosen" means
that no measurement stands behind the number.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_LOGIT_ERROR = 1e-3
"""Absolute error of float32 logits, where an engine shows them.

Measured: noise is 5e-6. Of the 162 constants of the shipped model's graph, each off by 5 %, this finds the 155 that
change its output: masks of -100 do not, nor do the three matrices right before a LayerNorm.
"""
TIE_MARGIN = 2e-3
"""Two classes closer than this in probability are a tie, and either label is right. Four steps of float16 above 0.5."""

MAX_DICE_DROP = 0.002
"""Loss of Dice of any structure, mean over the cases. Chosen; the shipped model's engines in bf16 lose below 0.0001."""
MAX_VOLUME_CHANGE = 0.01
"""Summed absolute change of the cases' volumes over their summed volume, of any structure. Chosen; the shipped model's
engines in bf16 change 0.001."""
MAX_INT8_DICE_DROP = 0.005
"""Loss of Dice, mean over classes, of an int8 graph's labels against the float32 graph's, on slices held back from
calibration; beyond it, parts of the graph go back to float32. Chosen; wider than MAX_DICE_DROP because it compares with
the float32 graph on a few slices, and the gate judges the same graph against the reference labels afterwards."""


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change, over all slices of a batch.

    max_probability, mean_probability: absolute error of `probabilities`. differing_labels: share of pixels whose
    labels differ; ties are excused where it is 0.
    """

    max_probability: float
    mean_probability: float
    differing_labels: float


TOLERANCES = {
    "fp32": Tolerance(
        max_probability=1e-3,  # two steps of float16 above 0.5, 4.9e-4 each; engines only sum in another order
        mean_probability=1e-4,  # chosen
        differing_labels=0.0,  # beyond ties
    ),
    "fp16": Tolerance(
        max_probability=0.02,  # shipped model 0.0029; a matrix off by 5 % mostly shows more than 0.027
        mean_probability=5e-4,  # shipped model 2.0e-6; a network in doubt at every pixel 1.8e-4; a step of float16
        differing_labels=3e-4,  # shipped model 0
    ),
    "bf16": Tolerance(
        max_probability=0.1,  # shipped model 0.042; larger networks drift more
        mean_probability=3e-4,  # shipped model 3.8e-5
        differing_labels=1e-3,  # shipped model 3.5e-5
    ),
    "int8": Tolerance(  # only finds a broken graph; its masks are judged by MAX_DICE_DROP and MAX_VOLUME_CHANGE
        max_probability=1.0,  # no limit: it moves borders, and the shipped model shows 0.53
        mean_probability=1e-3,  # shipped model 2.0e-4 on ONNX Runtime, half of it on OpenVINO; swapped classes 1.3e-2
        differing_labels=1.5e-3,  # shipped model 2.9e-4; swapped classes 2.0e-2
    ),
}

MAX_LAYER_DRIFT = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.25}
"""Largest change of a layer's output, as a share of its largest value. Chosen: float32 graphs of one exporter run the
same kernels in the same order, so theirs is far above rounding and far below what a wrong weight does."""
