"""In-plane resampling as two small matrices: `rows @ slice @ columns.T`.

Pixel centres lie at half-integers (the edges of input and output grid coincide), so nothing shifts by half a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AxisMap:
    """How one axis of `n_in` pixels lies on the network's axis of `n_out` pixels.

    step: input pixels per output pixel. offset: output index at which the input's first edge lies (padding before it).
    """

    n_in: int
    n_out: int
    step: float
    offset: int

    @staticmethod
    def stretch(n_in: int, n_out: int) -> AxisMap:
        """The whole input axis over the whole output axis."""
        return AxisMap(n_in, n_out, n_in / n_out, 0)

    @staticmethod
    def centre(n_in: int, spacing_in_mm: float, n_out: int, spacing_out_mm: float) -> AxisMap:
        """The input axis at another spacing, centred to a whole pixel in the output axis."""
        step = spacing_out_mm / spacing_in_mm
        if abs(step - 1) < 1e-3:  # header rounding: keep pixels exact
            step = 1.0
        return AxisMap(n_in, n_out, step, int(np.floor((n_out - n_in / step) / 2)))

    @property
    def fits(self) -> bool:
        """Whether the whole input lies on the output; otherwise its middle does."""
        return self.offset >= 0

    def positions(self) -> np.ndarray:
        """Input coordinate of each output pixel's centre: float64 [n_out], in input pixels."""
        return (np.arange(self.n_out) - self.offset + 0.5) * self.step - 0.5

    def linear(self) -> np.ndarray:
        """Input to output weights, float32 [n_out, n_in]: linear, widened when shrinking; rows of padding are zero."""
        weights = _triangle(self.positions(), self.n_in, max(self.step, 1.0))
        weights[~self.inside()] = 0
        return weights

    def inverse_linear(self) -> np.ndarray:
        """Output to input weights, float32 [n_in, n_out], for restoring smooth maps to the native grid."""
        back = (np.arange(self.n_in) + 0.5) / self.step - 0.5 + self.offset
        return _triangle(back, self.n_out, max(1.0 / self.step, 1.0))

    def inside(self) -> np.ndarray:
        """Which output pixels lie on the input, bool [n_out]; the rest is padding."""
        at = self.positions()
        return (at > -0.5 - 1e-6) & (at < self.n_in - 0.5 + 1e-6)

    def covered(self) -> np.ndarray:
        """Which input pixels lie on the output, bool [n_in]; all of them where the input fits."""
        back = (np.arange(self.n_in) + 0.5) / self.step - 0.5 + self.offset
        return (back > -0.5 - 1e-6) & (back < self.n_out - 0.5 + 1e-6)

    def nearest(self) -> np.ndarray:
        """Input index of each output pixel, int64 [n_out], clamped."""
        return np.clip(np.rint(self.positions()), 0, self.n_in - 1).astype(np.int64)

    def inverse_nearest(self) -> np.ndarray:
        """Output index of each input pixel, int64 [n_in], clamped: restores labels to the native grid."""
        back = (np.arange(self.n_in) + 0.5) / self.step - 0.5 + self.offset
        return np.clip(np.rint(back), 0, self.n_out - 1).astype(np.int64)


def _triangle(centres: np.ndarray, n: int, width: float) -> np.ndarray:
    """Triangle-filter weights, float32 [len(centres), n], each row summing to 1; edges replicate."""
    centres = np.clip(centres, 0, n - 1)
    weights = np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(n)[None, :]) / width)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
