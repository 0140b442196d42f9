"""Connected pieces, labelled a slab at a time, are those that scipy finds in the whole mask at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from swinunet.imaging import components
from swinunet.imaging.components import Pieces, keep_largest
from swinunet.imaging.slices import in_memory_order

_NEIGHBOURS = np.ones((3, 3, 3))


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Up to three values [I, J, K], sparse or dense, in any order of axes in memory."""
    shape, order = draw(st.tuples(*[st.integers(1, 11)] * 3)), draw(st.permutations(range(3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    found = rng.integers(0, 4, shape) * (rng.random(shape) < draw(st.floats(0, 1)))
    return np.ascontiguousarray(found.astype(np.uint8).transpose(order)).transpose(np.argsort(order))


@given(mask=masks(), slab_voxels=st.integers(1, 300))
@settings(max_examples=150, deadline=None)
def test_pieces_are_those_of_the_whole_mask(mask: np.ndarray, slab_voxels: int) -> None:
    expected = [
        (value, int(size))
        for value in (1, 2, 3)
        for size in np.bincount(ndimage.label(mask == value, _NEIGHBOURS)[0].ravel())[1:]
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "_SLAB_VOXELS", slab_voxels)
        pieces = Pieces(mask)
    assert sorted(zip(pieces.values.tolist(), pieces.sizes.tolist(), strict=True)) == sorted(expected)


@given(mask=masks(), slab_voxels=st.integers(1, 300))
@settings(max_examples=150, deadline=None)
def test_the_largest_piece_stays(mask: np.ndarray, slab_voxels: int) -> None:
    stack = in_memory_order(mask)
    labels, _ = ndimage.label(stack > 0, _NEIGHBOURS)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # argmax: of pieces of one size the first
    expected = np.where(labels == sizes.argmax(), stack, 0) if sizes.any() else stack.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "_SLAB_VOXELS", slab_voxels)
        assert keep_largest(mask) == sizes.sum() - sizes.max()
    np.testing.assert_array_equal(stack, expected)
