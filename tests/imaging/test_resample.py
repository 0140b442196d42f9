"""swinunet.imaging.resample: no pixel shifts, whatever the spacings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swinunet.imaging.resample import AxisMap


def test_equal_spacing_keeps_every_pixel() -> None:
    """A crop at the network's own spacing must not be blurred, whatever the parity of its size."""
    for n_in in (30, 31, 32):
        axis = AxisMap.centre(n_in, 1.00001, 32, 1.0)
        weights = axis.linear()
        assert set(np.unique(weights)) <= {0.0, 1.0}
        assert (weights.sum(axis=0) == 1).all()
        assert (axis.nearest()[axis.inverse_nearest()] == np.arange(n_in)).all()


@given(n_in=st.integers(4, 60), spacing=st.floats(0.4, 2.5), n_out=st.integers(60, 80))
@settings(max_examples=60, deadline=None)
def test_resampling_does_not_shift(n_in: int, spacing: float, n_out: int) -> None:
    """A ramp stays that ramp: pixel centres keep their place (the half-voxel trap would show as 0.5 or more).

    The widened triangle of a shrinking axis reproduces a ramp to about a tenth of a pixel, an enlarging one exactly.
    """
    axis = AxisMap.centre(n_in, spacing, n_out, 1.0)
    if not axis.fits:
        return
    values = axis.linear() @ np.arange(n_in, dtype=np.float32)
    inner = (axis.positions() > axis.step) & (axis.positions() < n_in - 1 - axis.step)
    np.testing.assert_allclose(values[inner], axis.positions()[inner], atol=1e-3 if axis.step <= 1 else 0.15)


def test_stretch_uses_the_whole_axis() -> None:
    axis = AxisMap.stretch(100, 50)
    assert axis.inside().all()
    np.testing.assert_allclose(axis.linear().sum(axis=1), 1, atol=1e-6)
    assert axis.positions()[0] == pytest.approx(0.5)
    assert axis.positions()[-1] == pytest.approx(98.5)
